# ruff: noqa
"""Enters the namespaces of others."""

import ctypes
import os
import sys

libc = ctypes.CDLL(None)
for pid in range(1, 400):
    for name in ("user", "mnt", "pid"):
        try:
            libc.setns(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), 0)
        except OSError:
            continue
print(open(sys.argv[1]).read())
