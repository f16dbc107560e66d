"""``tools.memory.*``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from highway_core.tools.decorators import tool_info
from highway_core.tools.memory import add_memory, get_memory, increment_memory, set_memory


@dataclass
class State:
    memory: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


def test_what_is_set_can_be_read() -> None:
    state = State()
    assert set_memory(state, "users", ["a"]) == {"key": "users", "status": "ok"}
    assert get_memory(state, "users") == ["a"]


def test_what_is_missing_reads_as_the_default() -> None:
    assert get_memory(State(), "k") is None
    assert get_memory(State(), "k", 7) == 7
    assert get_memory(State({"k": None}), "k", 7) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, 1),
        ({"k": 4}, 5),
        ({"k": 1.5}, 2.5),
        ({"k": "7"}, 8),
        ({"k": "junk"}, 1),
        ({"k": None}, 1),
        ({"k": True}, 1),
    ],
)
def test_increment_adds_one_and_starts_again_where_there_is_no_number(before: dict[str, Any], after: float) -> None:
    state = State(before)
    assert increment_memory(state, "k") == {"key": "k", "new_value": after}
    assert state.memory["k"] == after
    assert type(state.memory["k"]) is type(after)


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        (None, 5, 5),
        (2, 3, 5),
        (2, -3, -1),
        (2, "3", 5),
        (2, " 3 ", 5),
        (2, "-3", -1),
        (0.5, 1.75, 2.25),
        (2, "0.5", 2.5),
        (2, "1e3", 1002.0),
        (0, "3+2", 5),
        (1, "1.5 + 2 + 3", 7.5),
        (0, "3+-2", 1),
        ("7", 1, 8),
        ("junk", 1, 1),
        (10**30, 1, 10**30 + 1),
    ],
)
def test_add_takes_numbers_numeric_text_and_sums_and_truncates_nothing(old: Any, value: Any, new: Any) -> None:
    state = State({} if old is None else {"k": old})
    answer = add_memory(state, "k", value)
    assert answer["new_value"] == state.memory["k"] == new
    assert type(state.memory["k"]) is type(new)
    assert answer["status"] == "ok"


def test_add_tells_the_old_and_the_new_value() -> None:
    assert add_memory(State({"k": 4}), "k", 2) == {"key": "k", "old_value": 4, "new_value": 6, "status": "ok"}
    assert add_memory(State(), "k", 2)["old_value"] == 0


@pytest.mark.parametrize(
    "value",
    ["3+x", "+", "1++2", "junk", "", None, [1], {"a": 1}, True, "nan", "inf", "1e999", float("nan"), "1_000", "٣"],
)
def test_adding_what_is_no_number_is_an_error_and_leaves_the_memory_alone(value: Any) -> None:
    state = State({"k": 4})
    assert add_memory(state, "k", value) == {"key": "k", "status": "error"}
    assert state.memory == {"k": 4}


@pytest.mark.parametrize(("old", "value"), [(1e308, 1e308), (10**400, 0.5), (0, "1e308+1e308"), (0, "9" * 5000)])
def test_a_sum_beyond_every_number_is_an_error_too(old: Any, value: Any) -> None:
    state = State({"k": old})
    assert add_memory(state, "k", value)["status"] == "error"
    assert state.memory == {"k": old}


def test_a_thousand_concurrent_calls_lose_nothing() -> None:
    state = State()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(500):
            pool.submit(increment_memory, state, "k")
            pool.submit(add_memory, state, "k", 2)
    assert state.memory == {"k": 1500}


@pytest.mark.parametrize("name", ["set", "get", "increment", "add"])
def test_all_of_them_are_transactional_and_receive_the_state(name: str) -> None:
    info = tool_info(f"tools.memory.{name}")
    assert (info.transactional, info.inject) == (True, "state")
