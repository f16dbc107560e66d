# ruff: noqa
"""Takes hold of the engine."""

import ctypes
import sys

libc = ctypes.CDLL(None)
pid = int(sys.argv[2])
if libc.ptrace(16, pid, 0, 0) == 0:
    print("attached", open(f"/proc/{pid}/mem", "rb"))
sys.exit(1)
