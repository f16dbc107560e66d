"""How a function becomes a tool, and how a name finds it."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import highway_core.tools
from highway_core.config import Settings
from highway_core.errors import TaskError, ToolNotFoundError
from highway_core.tools import log
from highway_core.tools.builtin_tools import BUILTIN_MODULES, builtin_module
from highway_core.tools.bulkhead import BulkheadConfig
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import TOOL_INFO, TOOL_REGISTRY, ToolInfo, tool, tool_info
from highway_core.tools.registry import ToolRegistry


@pytest.fixture(autouse=True)
def mine_are_forgotten_afterwards() -> Iterator[None]:
    yield
    for name in [name for name in TOOL_REGISTRY if ".mine" in f".{name}"]:
        del TOOL_REGISTRY[name]
        TOOL_INFO.pop(name, None)


def same(value: Any) -> Any:
    return value


def test_a_decorated_function_is_registered_and_stays_itself() -> None:
    def plain() -> None: ...

    assert tool("mine.plain")(plain) is plain
    assert TOOL_REGISTRY["mine.plain"] is plain
    assert tool_info("mine.plain") == ToolInfo("mine.plain", plain)


def test_without_a_name_it_is_called_after_module_and_function() -> None:
    @tool
    def mine() -> None: ...

    @tool()
    def mine_too() -> None: ...

    assert TOOL_REGISTRY["test_tool_registration.mine"] is mine
    assert TOOL_REGISTRY["test_tool_registration.mine_too"] is mine_too
    del TOOL_REGISTRY["test_tool_registration.mine"], TOOL_REGISTRY["test_tool_registration.mine_too"]


def test_what_the_decorator_says_is_kept() -> None:
    bulkhead = BulkheadConfig("mine", max_concurrent_calls=1)

    @tool("mine.special", transactional=True, stoppable=True, bulkhead=bulkhead)
    def special() -> None: ...

    info = tool_info("mine.special")
    assert (info.transactional, info.stoppable, info.bulkhead) == (True, True, bulkhead)


def test_a_name_taken_twice_is_refused() -> None:
    @tool("mine.taken")
    def first() -> None: ...

    with pytest.raises(ValueError, match=r"^Duplicate tool name: mine\.taken$"):

        @tool("mine.taken")
        def second() -> None: ...

    assert TOOL_REGISTRY["mine.taken"] is first


def test_two_closures_of_one_factory_are_two_functions() -> None:
    def make() -> Any:
        def made() -> None: ...

        return made

    tool("mine.made")(make())
    with pytest.raises(ValueError, match="Duplicate tool name"):
        tool("mine.made")(make())


def test_the_same_function_and_a_reloaded_module_may_come_again() -> None:
    tool("mine.same")(same)
    tool("mine.same")(same)
    before = TOOL_REGISTRY["tools.log.info"]
    importlib.reload(log)
    assert TOOL_REGISTRY["tools.log.info"] is not before
    assert tool_info("tools.log.info").function is TOOL_REGISTRY["tools.log.info"]


def test_a_builtin_name_is_taken_even_before_its_module_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("highway_core.tools.workflow")
    monkeypatch.delitem(sys.modules, "highway_core.tools.workflow")
    for name in ("tools.workflow.execute", "tools.workflow.wait_for_parallel_branches"):
        monkeypatch.delitem(TOOL_REGISTRY, name)
        monkeypatch.delitem(TOOL_INFO, name)
    with pytest.raises(ValueError, match=r"Duplicate tool name: tools\.workflow\.execute"):
        tool("tools.workflow.execute")(same)


def test_a_new_name_beside_the_builtin_ones_is_free() -> None:
    tool("tools.log.mine")(same)
    assert ToolRegistry(Settings()).get_function("tools.log.mine") is same


def first_is_context(context: ToolContext, value: int) -> None: ...


def first_is_context_by_path(context: highway_core.tools.context.ToolContext) -> None: ...  # type: ignore[name-defined]


def second_is_context(value: int, context: ToolContext) -> None: ...


class Callables:
    def method(self, context: ToolContext) -> None: ...


@pytest.mark.parametrize(
    ("name", "function", "inject"),
    [
        ("mine.a", first_is_context, "context"),
        ("mine.b", first_is_context_by_path, "context"),
        ("mine.c", second_is_context, ""),
        ("mine.d", Callables().method, "context"),
        ("mine.e", print, ""),
        ("mine.f", dict, ""),
        ("tools.memory.mine", same, "state"),
        ("tools.memory.mine2", first_is_context, "context"),
        ("human.mine", same, "human"),
        ("humans.mine", same, ""),
    ],
)
def test_what_a_tool_receives_first_is_decided_at_registration(name: str, function: Any, inject: str) -> None:
    tool(name)(function)
    assert tool_info(name).inject == inject


def test_an_annotation_that_is_the_class_itself_counts_too() -> None:
    def evaluated(context: Any) -> None: ...

    evaluated.__annotations__["context"] = ToolContext
    tool("mine.evaluated")(evaluated)
    assert tool_info("mine.evaluated").inject == "context"


def test_a_function_written_into_the_dict_is_a_tool() -> None:
    registry = ToolRegistry(Settings())
    registry.functions["mine.written"] = same
    assert registry.resolve("mine.written") == ToolInfo("mine.written", same)
    registry.functions["mine.written"] = print
    assert registry.get_function("mine.written") is print


def test_the_functions_of_a_registry_are_the_one_dict() -> None:
    assert ToolRegistry(Settings()).functions is TOOL_REGISTRY


def test_a_missing_tool_is_a_key_error_in_plain_words_with_the_nearest_name() -> None:
    with pytest.raises(KeyError) as caught:
        ToolRegistry(Settings()).get_function("tools.log.inform")
    assert str(caught.value) == "Tool 'tools.log.inform' not found. Did you mean 'tools.log.info'?"
    assert isinstance(caught.value, ToolNotFoundError)
    assert isinstance(caught.value, TaskError)


@pytest.mark.parametrize("name", ["", ".", "nothing", "zzz.qqq.xxx", "tools..log", "../x"])
def test_any_text_may_be_asked_for(name: str) -> None:
    with pytest.raises(ToolNotFoundError, match="not found"):
        ToolRegistry(Settings()).resolve(name)


def test_every_module_of_the_package_registers_what_the_table_says_and_nothing_else() -> None:
    modules = [module.name for module in pkgutil.iter_modules(highway_core.tools.__path__)]
    for module in modules:
        importlib.import_module(f"highway_core.tools.{module}")
    registered = {
        (name.rpartition(".")[0], function.__module__.rpartition(".")[2])
        for name, function in TOOL_REGISTRY.items()
        if function.__module__.startswith("highway_core.tools.")
    }
    assert registered == set(BUILTIN_MODULES.items())


def test_the_registry_knows_the_tools_of_the_contract() -> None:
    names = set(ToolRegistry(Settings()).names())
    assert names >= {
        "api.payment_gateway.pay",
        "db.save_report",
        "email.escalate_finance_queue",
        "email.send",
        "email.send_approved_notification",
        "email.send_denied_notification",
        "human.request_approval",
        "tools.database.query",
        "tools.log.debug",
        "tools.log.error",
        "tools.log.info",
        "tools.log.warning",
        "tools.memory.add",
        "tools.memory.get",
        "tools.memory.increment",
        "tools.memory.set",
        "tools.workflow.execute",
        "tools.workflow.wait_for_parallel_branches",
    }
    ours = [name for name in names if builtin_module(name) is not None]
    transactional = {name for name in ours if tool_info(name).transactional}
    assert transactional == {*(name for name in ours if name.startswith("tools.memory.")), "human.request_approval"}
