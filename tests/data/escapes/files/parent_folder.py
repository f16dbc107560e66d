# ruff: noqa
"""Upwards from the parent's working folder."""

import os
import sys

print(open(f"/proc/{os.getppid()}/cwd/{'../' * 20}{sys.argv[1]}").read())
