"""The project's own documents, as tests read them: blocks of code, tables, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from highway_core.cli.inputs import parse_var

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))

_FENCE = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_CELL_END = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_RULE = re.compile(r"\|(?: ?-+ ?\|)+")


@dataclass(frozen=True)
class Block:
    """One fenced block of code."""

    page: str
    line: int
    language: str
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it stands for: its first line is a comment with nothing but a path."""
        found = re.match(r"# (\S+\.\w+)\n", self.text)
        return found[1] if found else None

    @property
    def is_document(self) -> bool:
        """A whole workflow document; a part of one is marked ``fragment``."""
        return self.language == "yaml" and self.info != "fragment"

    @property
    def name(self) -> str:
        """Of a document: its workflow's name."""
        found = re.search(r"^name: (\S+)$", self.text, re.MULTILINE)
        assert found is not None, f"{self}: a document without a name"
        return found[1]

    @property
    def ends(self) -> str:
        """Of a document: the status of its run, as its comments say; completed if they say nothing."""
        found = re.search(r"^# Ends: (\w+)$", self.text, re.MULTILINE)
        return found[1] if found else "completed"

    @property
    def needs_docker(self) -> bool:
        return "# Needs: docker" in self.text

    @property
    def inputs(self) -> dict[str, object]:
        """Of a document: what the command in its comments gives it."""
        return dict(parse_var(found) for found in re.findall(r"^#.* --var (\S+)", self.text, re.MULTILINE))


Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table: the heading that it stands under, its head, and its rows."""

    heading: str
    head: Row
    rows: tuple[Row, ...]

    def names(self, column: int = 0) -> list[str]:
        """What stands in code in a column, all of it."""
        return [name for row in self.rows for name in _CODE.findall(row[column])]


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def blocks(page: str) -> tuple[Block, ...]:
    text = text_of(page)
    return tuple(
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], found[3])
        for found in _FENCE.finditer(text)
    )


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def in_code(page: str) -> list[str]:
    """What stands between single backquotes."""
    return _CODE.findall(prose(page))


@cache
def tables(page: str) -> tuple[Table, ...]:
    return tuple(_tables(prose(page)))


def _tables(text: str) -> Iterator[Table]:
    heading = ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif _RULE.fullmatch(line) and number and lines[number - 1].startswith("|"):
            rows = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(_cells(row))
            yield Table(heading, _cells(lines[number - 1]), tuple(rows))


def _cells(line: str) -> Row:
    return tuple(cell.strip() for cell in _CELL_END.split(line)[1:-1])


def table(page: str, *head: str, under: str | None = None) -> Table:
    """The one table with this head (its first cells), under the heading if one is given."""
    found = [one for one in tables(page) if one.head[: len(head)] == head and (under is None or one.heading == under)]
    assert len(found) == 1, f"{page}: {len(found)} tables with the head {head} under {under}"
    return found[0]


def headings(page: str, level: int) -> list[str]:
    return [found[2] for found in _HEADING.finditer(prose(page)) if len(found[1]) == level]


def anchors(page: str) -> set[str]:
    """What ``#…`` behind the page may name, as GitHub makes it of headings."""
    texts = [found[2].replace("`", "").lower() for found in _HEADING.finditer(prose(page))]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def links(page: str) -> list[str]:
    return _LINK.findall(prose(page))


def documents() -> list[Block]:
    """Every whole workflow document on any page."""
    return [block for page in PAGES for block in blocks(page) if block.is_document]
