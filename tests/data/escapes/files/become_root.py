# ruff: noqa
"""Takes root's rights back."""

import os
import sys

os.setuid(0)
os.setgroups([0])
print(open(sys.argv[1]).read())
