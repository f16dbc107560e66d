"""How things look as text: times, tables, values, and foreign text that must not control the terminal."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """``text`` with every control character but tab and newline shown as its escape."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def first_line(text: str, width: int) -> str:
    """The first line of ``text`` on at most ``width`` columns."""
    line, separator, _ = printable(text).strip().partition("\n")
    return f"{line[: width - 1]}…" if len(line) > width or separator else line


def indented(text: str, by: str) -> str:
    """``text`` with every line but the first indented."""
    return printable(text).strip().replace("\n", f"\n{by}")


def seconds_text(seconds: float) -> str:
    """``0.04 s``, ``1 m 05 s``, ``3 h 20 m``, ``2 d 04 h``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = int(seconds)
    if whole < 3_600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600:02} h"


def columns(rows: Sequence[Sequence[str]], indent: str = "   ") -> list[str]:
    """The rows as lines, each column as wide as its widest cell; the last one is not filled up."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(f"{indent}{'  '.join([*cells, row[-1]])}".rstrip())
    return lines


def counted(number: int, thing: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def own_command(*arguments: str) -> str:
    """This program with other arguments, as it would be typed."""
    program = sys.argv[0]
    name = Path(program).name
    start = ["python", program] if name.endswith(".py") else [name]
    return shlex.join([*start, *arguments])
