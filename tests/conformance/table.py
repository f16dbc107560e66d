"""The table: every YAML file in ``cases`` is a list of rows.

A row has ``name``, ``document`` (a workflow document, or the path of one below ``tests/data``), ``inputs``,
``definitions`` (documents that the run may start by name), ``modes`` and ``expect``:

``status``, ``result``, ``error`` (a part of the text, or null for none), ``tasks`` (every instance path and its status;
nothing may be missing or left over), ``results``, ``values``, ``reasons`` (parts of texts), ``attempts``, ``memory``,
``variables`` (these only for the names they list). Paths of loops may be written once for several iterations:
``loop[0..2].task: completed``. A document that must not start expects only ``refused``, parts of the error's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from highway_core.engine.loader import read_source
from highway_core.errors import DocumentError
from tests.conformance.observed import Case, Mode, Observed

CASES = Path(__file__).parent / "cases"
DATA = Path(__file__).parent.parent / "data"
_RANGE = re.compile(r"\[(\d+)\.\.(\d+)\]")


def load_cases() -> list[Case]:
    """All rows of all files, in order; names are unique."""
    cases = [case for file in sorted(CASES.glob("*.yaml")) for case in _rows(file)]
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"rows with the same name: {twice}"
    return cases


def _rows(file: Path) -> Iterator[Case]:
    for row in yaml.safe_load(file.read_text(encoding="utf-8")):
        document = row["document"]
        if isinstance(document, str):
            document = read_source(DATA / document).data
        document = {"name": re.sub(r"\W+", "_", row["name"].lower()), **document}
        modes = tuple(row.get("modes", ()))
        definitions = tuple(row.get("definitions", ()))
        yield Case(row["name"], document, row.get("inputs", {}), row["expect"], file.stem, modes, definitions)


def expand(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """``loop[0..2].task`` → three paths."""
    expanded: dict[str, Any] = {}
    waiting = list(tasks.items())[::-1]
    while waiting:
        path, value = waiting.pop()
        found = _RANGE.search(path)
        if found is None:
            expanded[path] = value
            continue
        first, last = int(found[1]), int(found[2])
        for index in reversed(range(first, last + 1)):
            waiting.append((path[: found.start()] + f"[{index}]" + path[found.end() :], value))
    return expanded


def hold(case: Case, mode: Mode) -> None:
    """Run the row's document, and hold what comes of it against the row."""
    if "refused" not in case.expect:
        check(case, mode.run(case))
        return
    with pytest.raises(DocumentError) as refusal:
        mode.run(case)
    for part in case.expect["refused"]:
        assert part in str(refusal.value)


def check(case: Case, seen: Observed) -> None:
    """Hold one run against its row."""
    expect = dict(case.expect)
    told = f"error: {seen.error}; reasons: { {path: why for path, why in seen.reasons.items() if why} }"
    assert seen.status == expect.pop("status"), told
    if "tasks" in expect:
        assert dict(seen.tasks) == expand(expect.pop("tasks")), told
    if "error" in expect:
        wanted = expect.pop("error")
        assert (seen.error is None) if wanted is None else (wanted in (seen.error or "")), told
    if "result" in expect:
        assert seen.result == expect.pop("result")
    for path, part in expand(expect.pop("reasons", {})).items():
        assert part in (seen.reasons[path] or ""), told
    for name in ("results", "values", "attempts", "memory", "variables"):
        wanted = expand(expect.pop(name, {}))
        found = getattr(seen, name)
        assert {key: found.get(key) for key in wanted} == wanted, told
    assert not expect, f"the row expects what nobody checks: {sorted(expect)}"
