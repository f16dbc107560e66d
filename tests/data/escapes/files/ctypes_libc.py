"""Calls the C library."""

import ctypes
import sys

libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(99)
if libc.read(libc.open(sys.argv[1].encode(), 0), buffer, 99) < 0:
    sys.exit(1)
print(buffer.value.decode())
