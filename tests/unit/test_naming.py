"""Names of containers and networks, and the nearest right name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from highway_core.utils.naming import did_you_mean, generate_safe_container_name, generate_unique_identifier, nearest

ANY_NAME = st.text(max_size=120)


def test_an_identifier_is_the_base_and_eight_hex_digits() -> None:
    assert re.fullmatch(r"net_[0-9a-f]{8}", generate_unique_identifier("net", "run-1"))


def test_an_identifier_belongs_to_its_base_and_its_run() -> None:
    assert generate_unique_identifier("net", "run-1") == generate_unique_identifier("net", "run-1")
    assert generate_unique_identifier("net", "run-1") != generate_unique_identifier("net", "run-2")
    assert generate_unique_identifier("ab", "c")[-8:] != generate_unique_identifier("a", "bc")[-8:]


@given(ANY_NAME, ANY_NAME)
def test_a_container_name_is_one_that_docker_takes(name: str, run_id: str) -> None:
    made = generate_safe_container_name(name, run_id)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", made)
    assert made == generate_safe_container_name(name, run_id)


@given(ANY_NAME, ANY_NAME)
def test_two_names_of_one_run_never_share_a_container_name(one: str, other: str) -> None:
    same = generate_safe_container_name(one, "run") == generate_safe_container_name(other, "run")
    assert same == (one == other)


def test_iterations_of_one_task_have_container_names_of_their_own() -> None:
    names = {generate_safe_container_name(f"process_users[{i}].fetch", "run") for i in range(1000)}
    assert len(names) == 1000


def test_the_hash_survives_the_cut_of_a_long_name() -> None:
    long = "step_" + "x" * 200
    names = {generate_safe_container_name(f"{long}{i}", "run") for i in range(100)}
    assert len(names) == 100
    assert all(len(name) == 63 and name.startswith("step_xxx") for name in names)


def test_a_name_without_a_usable_character_still_gets_one() -> None:
    assert re.fullmatch(r"task_[0-9a-f]{12}", generate_safe_container_name("…/…", "run"))


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("tools.log.inof", ["tools.log.info", "tools.log.error", "tools.fetch.get"], "tools.log.info"),
        ("fetch_usr", ["fetch_user", "store_user"], "fetch_user"),
        ("Fetch-User", ["fetch_use", "fetch_user"], "fetch_user"),
        ("retry_polcy", ["retry_policy", "timeout_policy"], "retry_policy"),
        ("zebra", ["fetch_user", "store_user"], None),
        ("anything", [], None),
        ("", ["a"], None),
        ("x" * 101, ["x" * 100], None),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant(name: str, candidates: list[str], expected: str | None) -> None:
    assert nearest(name, iter(candidates)) == expected


def test_the_nearest_of_ten_thousand_names_is_found() -> None:
    candidates = [f"task_{i}" for i in range(10_000)]
    assert nearest("tsk_9876", candidates) == "task_9876"


@given(st.text(min_size=1, max_size=100), st.lists(st.text(max_size=20), max_size=300))
def test_a_name_that_exists_is_its_own_nearest(name: str, others: list[str]) -> None:
    found = nearest(name, [name, *others])
    assert found == name


def test_the_hint_asks_or_is_empty() -> None:
    assert did_you_mean("wiat", ["wait", "task"]) == "did you mean 'wait'?"
    assert did_you_mean("zebra", ["wait", "task"]) == ""
