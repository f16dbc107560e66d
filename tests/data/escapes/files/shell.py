# ruff: noqa
"""Asks another program."""

import subprocess
import sys

sys.exit(subprocess.run(["cat", sys.argv[1]]).returncode)
