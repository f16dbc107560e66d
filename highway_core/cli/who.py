"""Who is at the command line, as records name them."""

from __future__ import annotations

import getpass


def logged_in() -> str:
    """``cli:`` and the user's name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"
