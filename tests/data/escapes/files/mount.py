# ruff: noqa
"""Mounts what is outside."""

import os
import subprocess
import sys

os.mkdir("outside")
subprocess.run(["mount", "--bind", "/", "outside"])
print(open(f"outside{sys.argv[1]}").read())
