"""``matches_regex`` with Python's own patterns, and without the hour that some of them take.

A pattern is matched from the start of the text, as ``re.match`` does; ``$`` binds the end. Python's engine can
backtrack for ever on patterns such as ``(a+)+$``, and cannot be interrupted inside a thread. So the work is bounded
first, from the pattern's text: with *k* repeats outside of any repeated group, a text of *n* characters takes at most
about n^k steps. What stays below MAX_STEPS runs here, in microseconds; everything else runs in a process of its own
that is killed after TIMEOUT seconds, which fails the guard with that reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from typing import Final

from highway_core.errors import ExpressionError

MAX_PATTERN: Final = 1_000
"""The longest pattern, in characters."""
MAX_TEXT: Final = 100_000
"""The longest text that is matched, in characters."""
MAX_STEPS: Final = 2_000_000
TIMEOUT: Final = 5.0
"""Seconds."""

_PROGRAM: Final = "import json, re, sys; p, t = json.load(sys.stdin); print(int(re.match(p, t) is not None))"
_PIECE: Final = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\]   # an escape, a class of characters
      | \(\?(?::|=|!|<[=!]|P<\w+>|[aimsu]+\)) | (?P<special>\(\?) | (?P<close>\)) | \(
      | (?P<repeat>[*+]|\{\d*,\d*\}|\{\d+\}) | (?P<choice>[?|])
    """,
    re.VERBOSE | re.DOTALL,
)


def matches(pattern: str, text: str) -> bool:
    """Whether ``pattern`` matches at the start of ``text``; ExpressionError if it is broken, too long or too slow."""
    if len(pattern) > MAX_PATTERN or len(text) > MAX_TEXT:
        raise ExpressionError(
            f"matches_regex takes patterns of {MAX_PATTERN:,} and texts of {MAX_TEXT:,} characters; "
            f"these have {len(pattern):,} and {len(text):,}."
        )
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ExpressionError(f"The pattern {pattern!r} cannot be used: {error}") from error
    repeats, choices = _shape(pattern)
    if repeats is not None and (len(text) + 1) ** repeats * 2**choices <= MAX_STEPS:
        return compiled.match(text) is not None
    return _matches_elsewhere(pattern, text)


@lru_cache(maxsize=256)
def _shape(pattern: str) -> tuple[int | None, int]:
    """How many repeats and two-way choices the pattern has; None if a repeated group or a rare construct is in it."""
    repeats = choices = 0
    after_group = False
    for piece in _PIECE.finditer(pattern):
        kind = piece.lastgroup
        if kind == "special" or re.match(r"\\[1-9]", piece[0]):
            return None, 0
        if kind == "repeat":
            if after_group and pattern[piece.start() - 1] == ")":
                return None, 0
            repeats += not piece[0][1:-1].isdigit()
        choices += kind == "choice"
        after_group = kind == "close"
    return repeats, choices


def _matches_elsewhere(pattern: str, text: str) -> bool:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    try:
        answer = subprocess.run(  # noqa: S603 - our own interpreter and program; the pattern is data on stdin
            command, input=json.dumps([pattern, text]), capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise ExpressionError(f"The pattern {pattern!r} took longer than {TIMEOUT:g} s on this text.") from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise ExpressionError(f"The pattern {pattern!r} could not be matched: {error}") from error
    return answer.stdout.strip() == "1"
