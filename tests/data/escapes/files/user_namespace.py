# ruff: noqa
"""Becomes root of a user namespace of its own, and mounts from there."""

import subprocess
import sys

script = 'mount -t proc p /proc; mkdir -p /tmp/m; mount --rbind / /tmp/m; cat "/tmp/m$1" "/proc/1/root$1" "$1"'
sys.exit(subprocess.run(["unshare", "-Urmpf", "sh", "-c", script, "sh", sys.argv[1]]).returncode)
