# ruff: noqa
"""Asks a program that root lends its rights."""

import subprocess
import sys

for program in (["su", "-c", f"cat {sys.argv[1]}"], ["sudo", "-n", "cat", sys.argv[1]]):
    try:
        print(subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout)
    except OSError:
        continue
sys.exit(1)
