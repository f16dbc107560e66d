"""Runs inside the sandbox, as ``python -c <this text>``: takes away what is left to take, then becomes the program.

``argv``: JSON ``{"limits": {name: value}, "uid": number or null}``, then the program and its arguments. Standard
library only: nothing else is there for sure.
"""

from __future__ import annotations

import json
import os
import resource
import sys


def main() -> None:
    task = json.loads(sys.argv[1])
    for name, value in task["limits"].items():
        which = getattr(resource, name, None)
        if which is not None:
            hard = resource.getrlimit(which)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (most, most))
    if task["uid"] is not None:
        os.setgroups([])
        os.setgid(task["uid"])
        os.setuid(task["uid"])
    program = sys.argv[2:]
    try:
        os.execvp(program[0], program)  # noqa: S606 - this is what it is for
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
