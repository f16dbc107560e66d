"""Names that Highway makes (of containers, networks, …) and the nearest right name for one that is wrong."""

from __future__ import annotations

import difflib
import hashlib
import heapq
import re
from collections.abc import Iterable

_LONGEST_CONTAINER_NAME = 63
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_-]+")
_LONGEST_GUESS = 100
_MOST_COMPARED = 200


def generate_unique_identifier(base: str, wf_id: str) -> str:
    """``base``, an underscore and 8 hex digits of the hash of ``base`` and the run ``wf_id``; the same each time."""
    return f"{base}_{_digest(base, wf_id)[:8]}"


def generate_safe_container_name(name: str, wf_id: str) -> str:
    """A name that Docker takes (lower case, ``a-z 0-9 _ -``, at most 63 characters) for ``name`` in the run ``wf_id``.

    The hash stands at the end and is made from the whole name, so two long names that begin alike, or two loop
    iterations of one task (``poll[1].check``, ``poll[2].check``), never share a container name.
    """
    ending = f"_{_digest(name, wf_id)[:12]}"
    readable = _NOT_IN_A_NAME.sub("-", name[:_LONGEST_CONTAINER_NAME].lower()).strip("-_") or "task"
    return readable[: _LONGEST_CONTAINER_NAME - len(ending)] + ending


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that somebody who wrote ``name`` most likely meant, or None.

    With thousands of candidates only the ones that share most pairs of letters are compared in full: the full
    comparison takes tens of microseconds each, and a document can hold thousands of wrong names.
    """
    if not name or len(name) > _LONGEST_GUESS:
        return None
    usable = [candidate for candidate in candidates if len(candidate) <= _LONGEST_GUESS]
    plain = _plain(name)
    for candidate in usable:
        if _plain(candidate) == plain:
            return candidate
    if len(usable) > _MOST_COMPARED:
        pairs = _pairs(name)
        usable = heapq.nlargest(_MOST_COMPARED, usable, key=lambda candidate: len(pairs & _pairs(candidate)))
    found = difflib.get_close_matches(name, usable, n=1)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``did you mean 'x'?`` with the nearest of ``candidates``, or an empty text; fits ``Problem.hint``."""
    found = nearest(name, candidates)
    return f"did you mean '{found}'?" if found is not None else ""


def _digest(name: str, wf_id: str) -> str:
    # A NUL between the two, so that ("ab", "c") and ("a", "bc") differ.
    text = f"{wf_id}\0{name}".encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def _pairs(name: str) -> set[str]:
    return {name[i : i + 2] for i in range(len(name) - 1)}
