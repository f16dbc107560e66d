"""Builds plain data from the events of a YAML parser, in one loop that does not recurse.

What is open lies on a stack. A mapping takes nodes in turn as key and value; a key that cannot be used is noted and its
value read and dropped, so that one pass finds every problem. An anchor is kept with the size and height of its node:
an alias adds them to the counts before anything is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

import yaml

from highway_core.engine.source_document import (
    EMPTY,
    MAX_DEPTH,
    MAX_NODES,
    TOP_HINT,
    Complaints,
    Located,
    shortened,
)
from highway_core.engine.yaml_scalars import STANDARD_TAG, is_scalar_tag, plain_value, refused_tag, tagged_value
from highway_core.utils.json_values import UNSTORABLE

# The parser of libyaml is ten times as fast; PyYAML's own makes the same events where that is missing.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAGS_OF_MAPPINGS = frozenset({None, "!", f"{STANDARD_TAG}map"})
_TAGS_OF_LISTS = frozenset({None, "!", f"{STANDARD_TAG}seq"})
_COMPLEX_KEY = "a key must be a text, not a mapping or a list"


class _Key(Enum):
    """What a mapping holds in the place of a key that is no text."""

    MERGE = "<<"
    """The value is a mapping to merge."""
    REFUSED = "…"
    """The value is dropped: its key was refused."""
    COMPLEX = "?"
    """What is being read was written as a key; a refused value comes after it."""


_Children = Mapping[str | int, Located]


@dataclass(slots=True)
class OpenNode:
    """A mapping or list that is being read; in a mapping, ``key`` waits for its value."""

    value: Any
    offset: int
    anchor: str | None
    nodes_before: int
    height: int = 1
    key: str | _Key | None = None
    key_offset: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    merges: list[_Anchored] = field(default_factory=list)
    children: dict[str | int, Located] = field(default_factory=dict)

    def wants_key(self) -> bool:
        return self.key is None and type(self.value) is dict


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A finished node that aliases may repeat; ``text`` is a scalar as it is written."""

    value: Any
    nodes: int = 1
    height: int = 0
    children: _Children | None = None
    text: str | None = None


class Builder:
    """Builds the data of one document from the parser's events; ``locating`` also keeps where everything stands."""

    def __init__(self, text: str, source: str, *, locating: bool) -> None:
        self._text = text
        self._locating = locating
        self._complaints = Complaints(source, text)
        self._stack: list[OpenNode] = []
        self._anchors: dict[str, OpenNode | _Anchored] = {}
        self._nodes = 0
        self._documents = 0
        self._top: OpenNode | None = None

    def located(self) -> Located:
        top = self.read()
        return Located(top.offset, top.children)

    def read(self) -> OpenNode:
        """The mapping at the top."""
        parser = _Parser(self._text)
        try:
            self._consume(parser.get_event)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # The latter two from PyYAML's own parser, for an escape such as ``\UFFFFFFFF``.
            self._refuse_syntax(error)
        finally:
            parser.dispose()
        if self._top is None:
            self._complaints.stop(EMPTY, 0, hint=TOP_HINT)
        self._complaints.raise_any()
        return self._top

    def _consume(self, next_event: Any) -> None:
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceStartEvent: self._open_list,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._start_document,
        }
        event = next_event()
        while type(event) is not yaml.StreamEndEvent:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
            event = next_event()

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop("a second document begins here", event, "a file holds one workflow")

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        if not self._stack:
            empty = text == "" and event.implicit[0]
            self._stop(EMPTY if empty else f"the document is the text {shortened(text)!r}", event, TOP_HINT)
        if event.style == '"' and UNSTORABLE.search(text):
            self._complain("an escape stands for NUL or half a surrogate pair, which cannot be stored", event)
        top = self._stack[-1]
        if top.wants_key():
            if event.tag and not is_scalar_tag(event.tag):
                self._complain(refused_tag(event.tag), event)
            self._key(top, event, text)
            value: Any = text
        else:
            value = self._value(event, text)
            self._count(1, event)
            self._put(top, value, event.start_mark.index, None)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, text=text)

    def _value(self, event: Any, text: str) -> Any:
        try:
            if event.tag:
                return tagged_value(event.tag, text)
            return plain_value(text) if event.implicit[0] else text
        except ValueError as error:
            self._complain(str(error), event)
            return None

    def _key(self, top: OpenNode, event: Any, text: str) -> None:
        offset = event.start_mark.index
        first = top.seen.setdefault(text, offset)
        if first != offset:
            line = self._complaints.line(first)
            self._complain(f"the key {shortened(text)!r} is there twice, first on line {line}", event, text)
            top.key = _Key.REFUSED
        elif text == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not event.tag:
            top.key = _Key.MERGE
        else:
            top.key = text
            top.key_offset = offset

    def _open_mapping(self, event: Any) -> None:
        self._open(event, {}, _TAGS_OF_MAPPINGS)

    def _open_list(self, event: Any) -> None:
        if not self._stack:
            self._stop("the document is a list", event, TOP_HINT)
        self._open(event, [], _TAGS_OF_LISTS)

    def _open(self, event: Any, value: Any, tags: frozenset[str | None]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._stop(f"nested more than {MAX_DEPTH} levels deep", event)
        if event.tag not in tags:
            self._complain(refused_tag(event.tag), event)
        if self._stack and self._stack[-1].wants_key():
            self._complain(_COMPLEX_KEY, event)
            self._stack[-1].key = _Key.COMPLEX
        opened = OpenNode(value, event.start_mark.index, event.anchor, self._nodes)
        self._count(1, event)
        if event.anchor:
            self._anchors[event.anchor] = opened
        self._stack.append(opened)

    def _close(self, _event: Any) -> None:
        done = self._stack.pop()
        if done.merges:
            _merge(done)
        if done.anchor and self._anchors[done.anchor] is done:
            nodes = self._nodes - done.nodes_before
            self._anchors[done.anchor] = _Anchored(done.value, nodes, done.height, done.children)
        if self._stack:
            top = self._stack[-1]
            top.height = max(top.height, done.height + 1)
            self._put(top, done.value, done.offset, done.children)
        else:
            self._top = done

    def _alias(self, event: Any) -> None:
        anchored = self._anchors.get(event.anchor)
        name = f"the alias *{shortened(event.anchor)}"
        if anchored is None:
            self._stop(f"{name} has no anchor before it", event)
        if isinstance(anchored, OpenNode):
            self._stop(f"{name} stands inside what it repeats", event)
        top = self._stack[-1]
        if top.wants_key():
            self._alias_as_key(top, event, anchored)
            return
        if len(self._stack) + anchored.height > MAX_DEPTH:
            self._stop(f"nested more than {MAX_DEPTH} levels deep in what {name} repeats", event)
        self._count(anchored.nodes, event)
        top.height = max(top.height, anchored.height + 1)
        self._put(top, _copy(anchored.value), event.start_mark.index, anchored.children)

    def _alias_as_key(self, top: OpenNode, event: Any, anchored: _Anchored) -> None:
        if anchored.text is not None:
            self._key(top, event, anchored.text)
        else:
            self._complain(_COMPLEX_KEY, event)
            top.key = _Key.REFUSED

    def _put(self, top: OpenNode, value: Any, offset: int, children: _Children | None) -> None:
        if type(top.value) is list:
            if self._locating:
                top.children[len(top.value)] = Located(offset, children)
            top.value.append(value)
            return
        key, top.key = top.key, None
        if isinstance(key, str):
            top.value[key] = value
            if self._locating:
                top.children[key] = Located(top.key_offset, children)
        elif key is _Key.MERGE:
            self._note_merge(top, value, offset, children)
        elif key is _Key.COMPLEX:
            top.key = _Key.REFUSED

    def _note_merge(self, top: OpenNode, value: Any, offset: int, children: _Children | None) -> None:
        if isinstance(value, dict):
            top.merges.append(_Anchored(value, children=children))
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            inner = [children[i].children if children else None for i in range(len(value))]
            top.merges += [_Anchored(item, children=found) for item, found in zip(value, inner, strict=True)]
        else:
            self._complaints.add("<< takes a mapping or a list of mappings", offset, [*self._place(), "<<"])

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(f"more than {MAX_NODES:,} values, those counted that aliases repeat", event)

    def _place(self) -> list[str | int]:
        place: list[str | int] = []
        for opened in self._stack:
            if isinstance(opened.value, list):
                place.append(len(opened.value))
            elif opened.key is not None:
                place.append(opened.key if isinstance(opened.key, str) else opened.key.value)
        return place

    def _complain(self, message: str, event: Any, *step: str) -> None:
        self._complaints.add(message, event.start_mark.index, [*self._place(), *step])

    def _stop(self, message: str, event: Any, hint: str = "") -> NoReturn:
        self._complaints.stop(message, event.start_mark.index, self._place(), hint)

    def _refuse_syntax(self, error: Exception) -> NoReturn:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        offset = mark.index if mark else 0
        message = " ".join(part for part in (getattr(error, "problem", ""), getattr(error, "context", "")) if part)
        line_start = self._text.rfind("\n", 0, offset) + 1
        hint = "indent with spaces: YAML takes no tabs there" if "\t" in self._text[line_start : offset + 1] else ""
        self._complaints.stop(f"this is not YAML: {message or error}", offset, self._place(), hint)


def _merge(node: OpenNode) -> None:
    """Put what is merged under the keys that the mapping has itself; of two merged mappings the first wins."""
    value: dict[str, Any] = {}
    children: dict[str | int, Located] = {}
    for merged in reversed(node.merges):
        value |= merged.value
        children |= merged.children or {}
    node.value = value | node.value
    node.children = children | node.children


def _copy(value: Any) -> Any:
    """A copy for an alias, so that a later change in one place of the data does not appear in another."""
    holder = [value]
    unfinished: list[Any] = [holder]
    while unfinished:
        node = unfinished.pop()
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(item, dict | list):
                node[key] = item.copy()
                unfinished.append(node[key])
    return holder[0]
