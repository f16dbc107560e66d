# ruff: noqa
"""Through a link in a folder that may be written."""

import os
import sys

os.symlink(sys.argv[1], "link")
print(open("link").read())
