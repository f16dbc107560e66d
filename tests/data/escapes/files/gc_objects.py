"""Finds the function among all objects."""

import gc
import sys

functions = [one for one in gc.get_objects() if getattr(one, "__name__", "") == "read_text" and callable(one)]
import pathlib  # noqa: E402

print((functions or [pathlib.Path.read_text])[0](pathlib.Path(sys.argv[1])))
