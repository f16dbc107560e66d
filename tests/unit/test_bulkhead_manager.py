"""The bulkheads of an engine: which one bounds which tool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.errors import ConfigError
from highway_core.tools.bulkhead import (
    BulkheadConfig,
    BulkheadManager,
    get_default_manager,
    set_default_manager,
    shutdown_default_manager,
    with_bulkhead,
    with_bulkhead_async,
)
from highway_core.tools.decorators import ToolInfo


@pytest.fixture
def manager() -> Iterator[BulkheadManager]:
    with BulkheadManager() as made:
        yield made


def info(name: str, bulkhead: BulkheadConfig | None = None) -> ToolInfo:
    return ToolInfo(name, print, bulkhead=bulkhead)


def settings(**bulkheads: Any) -> Settings:
    return Settings(bulkheads={name.replace("__", "."): value for name, value in bulkheads.items()})


def test_a_tool_that_nobody_bounded_has_no_bulkhead(manager: BulkheadManager) -> None:
    assert manager.for_tool(info("tools.log.info"), Settings()) is None
    assert manager.for_tool(info("tools.log.info"), settings(tools__fetch__get={})) is None


def test_the_decorators_bounds_are_used(manager: BulkheadManager) -> None:
    bulkhead = manager.for_tool(info("a.b", BulkheadConfig("shared", max_concurrent_calls=2)), Settings())
    assert bulkhead is not None
    assert (bulkhead.name, bulkhead.config.max_concurrent_calls) == ("shared", 2)
    assert manager.for_tool(info("a.c", BulkheadConfig("shared")), Settings()) is bulkhead


def test_the_tools_of_a_group_share_one_bulkhead(manager: BulkheadManager) -> None:
    bounds = Settings(bulkheads={"tools.fetch.*": {"max_concurrent_calls": 4}})
    get, post = (manager.for_tool(info(name), bounds) for name in ("tools.fetch.get", "tools.fetch.post"))
    assert get is post
    assert get is not None
    assert get.config.max_concurrent_calls == 4
    assert manager.for_tool(info("tools.fetcher.get"), bounds) is None


def test_the_longest_prefix_wins(manager: BulkheadManager) -> None:
    bounds = Settings(bulkheads={"tools.*": {}, "tools.fetch.*": {}})
    bulkhead = manager.for_tool(info("tools.fetch.get"), bounds)
    assert bulkhead is not None
    assert bulkhead.name == "tools.fetch.*"


def test_the_own_name_beats_the_decorator_and_the_decorator_beats_a_group(manager: BulkheadManager) -> None:
    decorated = info("a.b", BulkheadConfig("from decorator"))
    by_group = manager.for_tool(decorated, Settings(bulkheads={"a.*": {}}))
    by_name = manager.for_tool(decorated, Settings(bulkheads={"a.*": {}, "a.b": {}}))
    assert by_group is not None
    assert by_name is not None
    assert (by_group.name, by_name.name) == ("from decorator", "a.b")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"max_calls": 3}, "has no field 'max_calls'; it takes max_concurrent_calls"),
        ({"max_concurrent_calls": 0}, "max_concurrent_calls must be at least 1, not 0"),
        ({"max_concurrent_calls": "5"}, "max_concurrent_calls must be at least 1, not '5'"),
        ({"max_queue_size": -1}, "max_queue_size must be at least 0"),
        ({"timeout_seconds": 0}, "timeout_seconds must be above zero"),
        ({"wait_timeout_seconds": "PT5S"}, "wait_timeout_seconds must be above zero"),
        ({"isolation_duration": None}, "isolation_duration must be a number of seconds"),
        ({"circuit_breaker_enabled": "yes"}, "circuit_breaker_enabled must be true or false"),
        ([1], "must be a JSON object"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(manager: BulkheadManager, values: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        manager.for_tool(info("a.b"), Settings(bulkheads={"a.b": values}))
    assert "HIGHWAY_BULKHEADS" in str(caught.value)
    assert "'a.b'" in str(caught.value)
    assert complaint in str(caught.value)


def test_a_name_is_created_once(manager: BulkheadManager) -> None:
    made = manager.create_bulkhead(BulkheadConfig("x"))
    assert manager.get_bulkhead("x") is made
    assert manager.get_or_create_bulkhead(BulkheadConfig("x")) is made
    assert manager.get_bulkhead("y") is None
    with pytest.raises(ValueError, match="'x' already exists"):
        manager.create_bulkhead(BulkheadConfig("x"))


def test_calls_by_name(manager: BulkheadManager) -> None:
    manager.create_bulkhead(BulkheadConfig("x"))
    assert manager.execute_in_bulkhead("x", lambda: 1).result(10).result == 1
    with pytest.raises(ValueError, match="'y' does not exist; there are: x"):
        manager.execute_in_bulkhead("y", lambda: 1)
    assert manager.get_all_stats()["x"]["successful_executions"] == 1
    assert manager.get_health_status() == {"x": True}


def test_nothing_is_created_after_the_shutdown_which_may_come_twice(manager: BulkheadManager) -> None:
    manager.create_bulkhead(BulkheadConfig("x"))
    manager.shutdown_all()
    manager.shutdown_all()
    assert manager.get_health_status() == {"x": False}
    with pytest.raises(RuntimeError, match="'y' cannot be created"):
        manager.create_bulkhead(BulkheadConfig("y"))


def test_all_bulkheads_share_the_time_of_one_shutdown(manager: BulkheadManager) -> None:
    release = threading.Event()
    for number in range(4):
        manager.create_bulkhead(BulkheadConfig(f"b{number}")).execute(release.wait, 10)
    started = time.monotonic()
    manager.shutdown_all(timeout=0.3)
    taken = time.monotonic() - started
    release.set()
    assert 0.3 <= taken < 0.9  # one after the other would be 1.2


def test_a_decorated_function_calls_through_the_named_bulkhead(manager: BulkheadManager) -> None:
    @with_bulkhead("x", manager)
    def double(number: int) -> int:
        return 2 * number

    @with_bulkhead_async("x", manager)
    async def triple(number: int) -> int:
        return 3 * number

    async def call_triple() -> int:
        return await triple(2)

    assert double(2) == 4
    assert asyncio.run(call_triple()) == 6
    assert double.__name__ == "double"
    assert manager.get_all_stats()["x"]["successful_executions"] == 2


def test_without_a_manager_the_default_one_is_used(manager: BulkheadManager) -> None:
    set_default_manager(manager)
    with_bulkhead("x")(lambda: None)()
    assert get_default_manager() is manager
    assert manager.get_bulkhead("x") is not None
    shutdown_default_manager()
    assert get_default_manager() is not manager
    shutdown_default_manager()
