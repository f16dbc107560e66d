"""A module behind a function that was handed over."""

import sys
from os.path import join

print(join.__globals__["os"].popen(f"cat {sys.argv[1]}").read())
