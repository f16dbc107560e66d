"""Large results of durable runs: how many are kept, which are let go, and that they come back when they are needed."""

from __future__ import annotations

import pytest

from highway_core.engine.durable.values import LargeResults, LargeValue, StoredValue, Values
from highway_core.errors import ConnectionLostError


class Database:
    """Results by path, and which of them were read."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.reads: list[str] = []
        self.is_away = False

    def __call__(self, run_id: str, path: str) -> str:
        if self.is_away:
            raise ConnectionLostError("The database is away.")
        self.reads.append(path)
        return self.texts[path]


def stored(results: LargeResults, path: str, text: str) -> LargeValue:
    value = LargeValue(results, "run", path, text.strip('"'))
    value.stored(text)
    return value


def test_what_was_used_longest_ago_is_let_go_and_read_again() -> None:
    database = Database(a='"aaaa"', b='"bbbb"', c='"cccc"')
    results = LargeResults(database, most=12)
    a, b = (stored(results, path, database.texts[path]) for path in "ab")
    assert a.read() == "aaaa"
    c = stored(results, "c", database.texts["c"])
    assert (a.read(), c.read(), database.reads) == ("aaaa", "cccc", [])
    assert (b.read(), database.reads) == ("bbbb", ["b"])
    assert (a.read(), database.reads) == ("aaaa", ["b", "a"])


def test_a_result_is_kept_until_it_is_stored() -> None:
    database = Database()
    results = LargeResults(database, most=1)
    first = LargeValue(results, "run", "first", "new")
    for name in "xyz":
        stored(results, name, '"xyz"')
    assert (first.read(), database.reads) == ("new", [])


def test_one_result_that_is_too_large_is_kept_for_those_who_need_it_next() -> None:
    database = Database(a='"' + 100 * "a" + '"')
    value = LargeValue(LargeResults(database, most=10), "run", "a")
    assert value.read() is value.read()
    assert database.reads == ["a"]


def test_many_small_pieces_weigh_more_than_their_text() -> None:
    database = Database(a="[" + ",".join("1" * 100) + "]")
    results = LargeResults(database, most=1_000)
    a = LargeValue(results, "run", "a")
    assert a.read() == [1] * 100
    stored(results, "b", '"b"')
    a.read()
    assert database.reads == ["a", "a"]


def test_a_database_that_is_away_spoils_nothing() -> None:
    database = Database(a='"a"')
    value = LargeValue(LargeResults(database), "run", "a")
    database.is_away = True
    with pytest.raises(ConnectionLostError):
        value.read()
    database.is_away = False
    assert value.read() == "a"


def test_to_see_what_stands_under_a_name_a_large_result_is_not_read() -> None:
    database = Database()
    values = Values()
    large = LargeValue(LargeResults(database), "run", "a")
    values["large"], values["small"], values["plain"] = large, StoredValue("[1]"), 2
    assert [values.peek(name) for name in ("large", "small", "plain", "none")] == [large, [1], 2, None]
    assert database.reads == []
