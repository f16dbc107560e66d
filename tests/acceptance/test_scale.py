"""Large and deep documents: they load, run and are stored in seconds, or are refused with one message."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.engine.graph import MAX_NESTING
from highway_core.engine.loader import Source, compile_document, read_text
from highway_core.errors import DocumentError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from tests.big_documents import (
    Document,
    chain,
    conditions,
    constant_conditions,
    dead_chain,
    fan_out,
    loop_over_items,
    loops_side_by_side,
    measured,
    named_by_the_last,
    nested_arms,
    nested_choices,
    nested_foreach,
    nested_mixture,
    nested_parallel,
    nested_parallel_by_id,
    nested_while,
    wrong_names,
)
from tests.driven import Driven, Watching

pytestmark = pytest.mark.slow

Build = Callable[[int], Document]

MOST_MEMORY = 300
"""Mebibytes for a run of 10,000 tasks, everything included."""

LIMITED = [nested_foreach, nested_while, nested_parallel, nested_parallel_by_id, nested_choices, nested_mixture]


@pytest.mark.parametrize(
    ("build", "size", "suffix", "rows"),
    [
        (chain, 1_000, ".yaml", {"completed": 1_000}),
        (chain, 10_000, ".yaml", {"completed": 10_000}),
        (fan_out, 10_000, ".json", {"completed": 10_002}),
        (loop_over_items, 10_000, ".json", {"completed": 10_002}),
        (dead_chain, 10_000, ".json", {"completed": 1, "skipped": 10_000}),
        (conditions, 3_000, ".json", {"completed": 6_000, "skipped": 3_000}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)) if not isinstance(value, dict) else "",
)
def test_a_large_run_ends_and_is_stored_in_little_memory(
    build: Build, size: int, suffix: str, rows: dict[str, int], tmp_path: Path, record_property: Any
) -> None:
    seen = measured(build, size, tmp_path, suffix)
    record_property("seen", seen)
    assert (seen.status, seen.rows) == ("completed", rows)
    assert seen.memory < MOST_MEMORY, seen


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (chain, 250),
        (fan_out, 250),
        (dead_chain, 250),
        (conditions, 250),
        (constant_conditions, 200),
        (named_by_the_last, 150),
        (loops_side_by_side, 600),
        (wrong_names, 150),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_loading_grows_with_the_document_and_not_with_its_square(build: Build, size: int) -> None:
    """Sixteen times the size takes about 18 times as long, and would take 256 times as long if it were the square."""
    small, large = (min(_seconds_to_load(build(size * times)) for _ in range(3)) for times in (1, 16))
    assert large < 40 * small, f"{small:.3f} s, and {large:.3f} s for sixteen times as much"


def test_taking_up_a_run_grows_with_it_and_not_with_its_square() -> None:
    small, large = (min(_seconds_to_take_up(size) for _ in range(2)) for size in (200, 1_600))
    assert large < 25 * small, f"{small:.3f} s, and {large:.3f} s for eight times as much"


def _seconds_to_take_up(loops: int) -> float:
    """Of a run that was interrupted when so many loops were open, until they all are again."""
    nap = {"task_id": "nap", "operator_type": "wait", "wait_for": "PT1H"}
    inner = {"task_id": "inner", "operator_type": "foreach", "items": [1], "loop_body": [nap]}
    outer = {"operator_type": "foreach", "items": list(range(loops)), "parallel": True, "loop_body": [inner]}
    store = InMemoryPersistenceManager()
    _run_until_all_wait(outer, loops, store)
    gc.collect()
    started = time.process_time()
    _run_until_all_wait(outer, loops, store)
    return time.process_time() - started


def _run_until_all_wait(outer: dict[str, Any], loops: int, store: InMemoryPersistenceManager) -> None:
    waiting = count(1)

    def interrupt(path: str, status: str) -> None:
        if status == "WAITING_FOR_TIMER" and next(waiting) == loops:
            run.orchestrator.interrupt("the test")

    run = Driven({"each": outer}, store=store, listener=Watching(interrupt))
    assert run.run().status is RunStatus.CANCELLED


def _seconds_to_load(document: Document) -> float:
    """Of this process alone, so that a busy machine makes no difference, and without collecting what tests left."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        try:
            compile_document(Source(document, "big"))
        except DocumentError as error:
            assert len(error.problems) == len(document["tasks"])
        return time.process_time() - started
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("build", "depth"),
    [
        *((build, 50) for build in (*LIMITED, nested_arms)),
        *((build, MAX_NESTING) for build in (*LIMITED, nested_arms)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_operators_nest_as_deep_as_the_limit(build: Build, depth: int) -> None:
    store = InMemoryPersistenceManager()
    told = run_workflow(build(depth), "r", persistence_manager=store, settings=Settings())
    assert (told["status"], told["error"]) == ("completed", None)
    saved = store.load_run("r")
    assert saved is not None
    (innermost,) = [row for path, row in saved.tasks.items() if path.rpartition(".")[2] == "inside"]
    assert innermost.status.value == "completed"


@pytest.mark.parametrize("build", LIMITED, ids=lambda build: build.__name__)
def test_one_deeper_is_refused_with_one_message(build: Build) -> None:
    with pytest.raises(DocumentError) as refusal:
        compile_document(Source(build(MAX_NESTING + 1), "deep"))
    (problem,) = refusal.value.problems
    assert problem.message == f"operators nest deeper than {MAX_NESTING}, the limit"
    assert problem.place.startswith("tasks.")


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "name: deep\ntasks: " + "[" * DEEP + "]" * DEEP,
        "name: deep\ntasks: " + "{a: " * DEEP + "}" * DEEP,
        "name: deep\ntasks:\n" + "- " * DEEP + "x",
        "\n".join(" " * n + "a:" for n in range(2_000)),
        '{"name": "deep", "tasks": ' + "[" * DEEP + "]" * DEEP + "}",
        '{"name": "deep", "tasks": ' + '{"a": ' * DEEP + "1" + "}" * DEEP + "}",
    ],
    ids=["lists", "mappings", "block lists", "block mappings", "JSON lists", "JSON objects"],
)
def test_a_text_that_nests_for_ever_is_refused_with_one_message(text: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        compile_document(read_text(text))
    (problem,) = refusal.value.problems
    assert len(str(problem)) < 1_000


def test_keys_that_nest_for_ever_are_refused() -> None:
    with pytest.raises(DocumentError) as refusal:
        compile_document(read_text("name: deep\ntasks:\n" + "? " * DEEP + "x"))
    assert len(refusal.value.problems) < 200


@pytest.mark.parametrize("field", ["args", "kwargs"])
def test_an_argument_that_nests_too_deep_is_refused_with_one_message(field: str) -> None:
    value: Any = "x"
    for _ in range(500):
        value = [value]
    task = {"operator_type": "task", "function": "tools.log.info", field: value if field == "args" else {"x": value}}
    with pytest.raises(DocumentError, match="nested deeper than"):
        compile_document(Source({"name": "deep", "tasks": {"a": task}}, "deep"))


def test_an_expression_that_nests_for_ever_is_refused_with_one_message() -> None:
    check = {"operator_type": "condition", "condition": "(" * 4_000 + "1" + ")" * 4_000}
    with pytest.raises(DocumentError) as refusal:
        compile_document(Source({"name": "deep", "tasks": {"check": check}}, "deep"))
    assert len(refusal.value.problems) == 1
