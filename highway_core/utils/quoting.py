"""Values placed into a command line that an author wrote, so that they stay values: every byte arrives, none is obeyed.

The author's text is read, never changed. From it follows how a value stands there, and so how it is written::

    grep {{word}} log          bare            grep 'it'\\''s' log
    echo 'Dear {{name}},'      single quotes   echo 'Dear it'\\''s,'
    echo "Dear {{name}},"      double quotes   echo "Dear "'it'\\''s'","

A ``$( … )`` inside any of them begins afresh, as the shell has it. Where no quoting is safe, or where shells disagree
on what the author's text means (a here-document, backquotes, ``${ … }``, right after ``$`` or ``\\``, …), a value is
refused with an :class:`ExpressionError` that says where it stands; an arithmetic expansion takes whole numbers. What is
refused depends on the author's text alone, so that a document can be checked before it runs, with ``ShellValue("0")``.

What the command does with a value that it has received is the author's: one that begins with ``-`` is still an option
unless ``--`` stands before it, and ``sh -c`` or ``eval`` read it once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby
from typing import assert_never

from highway_core.errors import ExpressionError

_WAY_OUT = 'Give it to the command as an environment variable (env of tools.shell.run) and write "$NAME" there.'
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_CASE = re.compile(r"case\s")
_BEFORE_A_WORD = frozenset(" \t\n;&|<>(")
"""After one of these a ``#`` begins a comment and ``case`` is a keyword."""


@dataclass(frozen=True, slots=True)
class ShellValue:
    """The text of a value that stands in a command."""

    text: str


def render_shell(parts: Sequence[str | ShellValue]) -> str:
    """The command for ``/bin/sh -c``: the strings as the author wrote them, the values quoted for where they stand."""
    return _render(parts, expansions=True)


def render_words(parts: Sequence[str | ShellValue]) -> str:
    """The same for a command that :func:`shlex.split` takes apart: there are quotes and ``\\``, and no ``$``."""
    return _render(parts, expansions=False)


def _render(parts: Sequence[str | ShellValue], *, expansions: bool) -> str:
    reader = _Reader(expansions=expansions)
    rendered: list[str] = []
    # Grouped, because what an author wrote in two strings side by side is one text: "<" "<EOF".
    for is_value, group in groupby(parts, lambda part: isinstance(part, ShellValue)):
        if is_value:
            rendered += [reader.place(part.text) for part in group if isinstance(part, ShellValue)]
        else:
            text = "".join(part for part in group if isinstance(part, str))
            reader.read(text)
            rendered.append(text)
    return "".join(rendered)


class _Kind(Enum):
    """What the text that is being read stands in."""

    BARE = auto()
    SINGLE = auto()
    DOUBLE = auto()
    COMMENT = auto()
    BACKQUOTE = auto()
    BRACES = auto()
    ARITHMETIC = auto()


@dataclass(slots=True)
class _Frame:
    kind: _Kind
    substitution: bool = False
    """A ``$( … )``, which its own ``)`` ends."""
    depth: int = 0
    """Parentheses that were opened in here."""


class _Reader:
    """Follows the author's text, character by character, and knows at every moment what a value there stands in."""

    def __init__(self, *, expansions: bool) -> None:
        self._expansions = expansions
        self._frames = [_Frame(_Kind.BARE)]
        self._new_word = True
        self._pending = ""
        """The ``$`` or ``\\`` that the text read so far ends with, and that would act on what comes next."""
        self._unclear = ""
        """Why nothing more can be said of where a value stands."""
        self._rules: dict[_Kind, Callable[[str, int], int]] = {
            _Kind.BARE: self._bare if expansions else self._bare_word,
            _Kind.SINGLE: self._single,
            _Kind.DOUBLE: self._double,
            _Kind.COMMENT: self._comment,
            _Kind.BACKQUOTE: self._backquote,
            _Kind.BRACES: self._braces,
            _Kind.ARITHMETIC: self._arithmetic,
        }

    def read(self, text: str) -> None:
        """Take in what the author wrote between two values."""
        index = 0
        while index < len(text) and not self._unclear:
            index = self._rules[self._frames[-1].kind](text, index)

    def place(self, value: str) -> str:
        """``value`` as it is written here."""
        _check_text(value)
        self._check_place(value)
        self._new_word = False
        self._pending = ""
        quoted = "'" + value.replace("'", "'\\''") + "'"
        match self._frames[-1].kind:
            case _Kind.BARE:
                return quoted
            case _Kind.SINGLE:
                return quoted[1:-1]
            case _Kind.DOUBLE:
                return f'"{quoted}"'
            case _Kind.COMMENT:
                return quoted.replace("\n", " ")
            case _Kind.ARITHMETIC:
                return f"({value})" if value.startswith("-") else value
            case _Kind.BACKQUOTE | _Kind.BRACES as refused:
                raise AssertionError(refused)
            case other:
                assert_never(other)

    def _check_place(self, value: str) -> None:
        where = self._refused_place(value)
        if where:
            raise ExpressionError(f"A value cannot be placed {where}, because it could not be kept a value. {_WAY_OUT}")

    def _refused_place(self, value: str) -> str:
        kind = self._frames[-1].kind
        if self._unclear:
            return self._unclear
        if self._pending == "\\":
            return "right after a backslash"
        if self._pending == "$" and kind is not _Kind.DOUBLE:
            return "right after a $"
        around = self._kinds_here()
        if _Kind.BACKQUOTE in around:
            return "inside backquotes (use $( … ) instead)"
        if _Kind.BRACES in around:
            return "inside ${ … }"
        if _Kind.ARITHMETIC in around and not (kind is _Kind.ARITHMETIC and _WHOLE_NUMBER.fullmatch(value)):
            return "inside $(( … )) unless it is a whole number"
        return ""

    def _kinds_here(self) -> set[_Kind]:
        """What stands around this place, out to the next ``$( … )`` or the whole command."""
        kinds: set[_Kind] = set()
        for frame in reversed(self._frames):
            kinds.add(frame.kind)
            if frame.kind is _Kind.BARE:
                break
        return kinds

    def _bare(self, text: str, index: int) -> int:
        character = text[index]
        if character in "'\"`":
            return self._open(_Kind.BACKQUOTE if character == "`" else _quotes(character), index + 1)
        if character in "\\$":
            return self._escape(text, index) if character == "\\" else self._dollar(text, index)
        if character in "()":
            return self._parenthesis(text, index)
        if self._new_word and character == "#":
            return self._open(_Kind.COMMENT, index + 1)
        if text.startswith("<<", index):
            self._unclear = "after a here-document (<<)"
        elif self._new_word and self._frames[-1].substitution and _CASE.match(text, index):
            self._unclear = "after a case inside $( … )"
        self._new_word = character in _BEFORE_A_WORD
        return index + 1

    def _bare_word(self, text: str, index: int) -> int:
        character = text[index]
        if character == "\\":
            return self._escape(text, index)
        if character in "'\"":
            return self._open(_quotes(character), index + 1)
        return index + 1

    def _single(self, text: str, index: int) -> int:
        end = text.find("'", index)
        return len(text) if end < 0 else self._close(end + 1)

    def _double(self, text: str, index: int) -> int:
        character = text[index]
        if character == "\\":
            return self._escape(text, index)
        if character == '"':
            return self._close(index + 1)
        if self._expansions and character == "`":
            return self._open(_Kind.BACKQUOTE, index + 1)
        if self._expansions and character == "$":
            return self._dollar(text, index)
        return index + 1

    def _comment(self, text: str, index: int) -> int:
        end = text.find("\n", index)
        return len(text) if end < 0 else self._close(end)

    def _backquote(self, text: str, index: int) -> int:
        if text[index] == "\\":
            return self._escape(text, index)
        return self._close(index + 1) if text[index] == "`" else index + 1

    def _braces(self, text: str, index: int) -> int:
        character = text[index]
        if character == "\\":
            return self._escape(text, index)
        if character == "}":
            return self._close(index + 1)
        if character == "$":
            return self._dollar(text, index)
        if character in "'\"" and _Kind.DOUBLE in self._kinds_here():
            self._unclear = "after quotes inside ${ … } inside double quotes"
        elif character in "'\"`":
            return self._open(_Kind.BACKQUOTE if character == "`" else _quotes(character), index + 1)
        return index + 1

    def _arithmetic(self, text: str, index: int) -> int:
        frame = self._frames[-1]
        character = text[index]
        if character in "\\$":
            return self._escape(text, index) if character == "\\" else self._dollar(text, index)
        if character == ")" and not frame.depth and text.startswith("))", index):
            return self._close(index + 2)
        if character in "'\"`" or (character == ")" and not frame.depth):
            self._unclear = "after a $(( that may be no arithmetic"
        elif character in "()":
            frame.depth += 1 if character == "(" else -1
        return index + 1

    def _dollar(self, text: str, index: int) -> int:
        self._new_word = False
        following = text[index + 1 : index + 2]
        if not following:
            self._pending = "$"
        elif text.startswith("((", index + 1):
            return self._open(_Kind.ARITHMETIC, index + 3)
        elif following == "(":
            self._frames.append(_Frame(_Kind.BARE, substitution=True))
            self._new_word = True
            return index + 2
        elif following == "{":
            return self._open(_Kind.BRACES, index + 2)
        elif following == "[" or (following == "'" and self._frames[-1].kind is _Kind.BARE):
            self._unclear = f"after ${following}, which shells read differently"
        return index + 2 if following and following in "$#?!@*-" else index + 1

    def _parenthesis(self, text: str, index: int) -> int:
        frame = self._frames[-1]
        if text.startswith("((", index):
            self._unclear = "after (("
        elif text.startswith("(", index) and text[index - 1 : index] == "=":
            # After an error in one bash goes on at the next line: a value's, perhaps.
            self._unclear = "after an array (=( … ))"
        if text[index] == ")" and frame.substitution and not frame.depth:
            return self._close(index + 1)
        frame.depth = max(0, frame.depth + (1 if text[index] == "(" else -1))
        self._new_word = True
        return index + 1

    def _escape(self, text: str, index: int) -> int:
        if index + 1 == len(text):
            self._pending = "\\"
            return index + 1
        if text[index + 1] != "\n":
            self._new_word = False
        elif index and text[index - 1] in "$<(=":
            self._unclear = "after an operator that a line break (\\) cuts in two"
        return index + 2

    def _open(self, kind: _Kind, index: int) -> int:
        self._frames.append(_Frame(kind))
        self._new_word = False
        return index

    def _close(self, index: int) -> int:
        self._frames.pop()
        self._new_word = False
        return index


def _quotes(character: str) -> _Kind:
    return _Kind.SINGLE if character == "'" else _Kind.DOUBLE


def _check_text(value: str) -> None:
    if "\0" in value:
        raise ExpressionError("A value with a NUL character cannot be given to a command.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ExpressionError("A value with half a surrogate pair cannot be given to a command.")
