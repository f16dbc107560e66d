# ruff: noqa
"""Simply opens it."""

import sys

print(open(sys.argv[1]).read())
