# ruff: noqa
"""Makes the disk's device and mounts it."""

import os
import stat
import sys

for minor in range(3):
    os.mknod(f"disk{minor}", 0o600 | stat.S_IFBLK, os.makedev(254, minor))
    print(open(f"disk{minor}", "rb").read(4096))
