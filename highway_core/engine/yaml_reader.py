"""A strict and bounded YAML reader, for documents that nobody has checked yet.

**Strict.** ``yaml.safe_load`` keeps the last of two equal keys, reads ``no`` as False, ``1:30`` as 90, ``012`` as 10
and ``2030-01-31`` as a date. Here a key stands once, and plain scalars follow the core rules of YAML 1.2: only
``true``/``false`` are booleans, ``null``, ``~`` and nothing are null, numbers are decimal, ``0x…``, ``0o…``, with a
fraction, ``.inf`` or ``.nan``; all else is the text that it looks like, times and dates too. Two numbers of YAML 1.2
stay text, because PyYAML, with which highway-dsl writes, leaves such *strings* without quotes: ``012`` and ``1e3`` (an
account number; a commit called ``12e5678``, which would become infinity). ``1.0e3`` is a number. A key is always the
text that is written there (``1:``, ``yes:``), since the document becomes JSON and cases are compared as text.

**Bounded.** Data is built from the parser's events in one loop that does not recurse. Depth, size and the number of
nodes are capped, and an alias counts as often as it repeats, so a bomb of a few hundred bytes is refused before it
goes off. Aliases and merge keys (``<<``) themselves are wanted: highway-dsl writes anchors for shared objects.

Everything that is wrong is raised as one DocumentError, with ``file:line:column``.
"""

from __future__ import annotations

import re

from highway_core.engine.json_reader import read_json
from highway_core.engine.source_document import Complaints, SourceDocument, decoded
from highway_core.engine.yaml_builder import Builder

__all__ = ["SourceDocument", "read_json", "read_yaml"]

_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# libyaml compares each %TAG directive with all before it: a file of nothing else would take hours.
_TAG_DIRECTIVE = re.compile(r"(?:\A|[\n\r\x85\u2028\u2029])%TAG")
_MAX_TAG_DIRECTIVES = 100


def read_yaml(text: str | bytes, source: str = "<text>") -> SourceDocument:
    """Read one YAML document whose top is a mapping; DocumentError lists everything that is wrong with it."""
    text = decoded(text, source, _FORBIDDEN)
    for count, found in enumerate(_TAG_DIRECTIVE.finditer(text), start=1):
        if count > _MAX_TAG_DIRECTIVES:
            Complaints(source, text).stop(f"more than {_MAX_TAG_DIRECTIVES} %TAG directives", found.end() - 4)
    data = Builder(text, source, locating=False).read().value
    return SourceDocument(source, text, data, Builder(text, source, locating=True).located)
