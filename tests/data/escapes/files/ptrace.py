# ruff: noqa
"""Takes hold of the parent."""

import ctypes
import os
import sys

libc = ctypes.CDLL(None)
for pid in {os.getppid(), 1, int(sys.argv[2])}:
    if libc.ptrace(16, pid, 0, 0) == 0:
        print("attached", open(f"/proc/{pid}/mem", "rb"))
sys.exit(1)
