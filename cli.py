"""Highway's command line.

    python cli.py run examples/hello.yaml

Once installed, ``highway run …`` is the same. ``--help`` says the rest; the code is in ``highway_core.cli``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:  # it is there unless Python was told not to trust its script's folder (-P)
    sys.path.insert(0, _HERE)

from highway_core.cli.entry import execute, leave  # noqa: E402 - found through the line above


def main() -> NoReturn:
    """Carry out the command that this process was started with, and end the process."""
    leave(execute(sys.argv[1:]))


def load_workflow_from_python(path: str) -> Any:
    """The ``highway_dsl.Workflow`` that a Python file (``flow.py``, ``flow.py:name``) builds."""
    return import_module("highway_core.cli.given_files").load_workflow_from_python(path)


if __name__ == "__main__":
    main()
