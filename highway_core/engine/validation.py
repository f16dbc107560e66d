"""What pydantic cannot see: templates and expressions that do not parse, names that nothing produces, unknown tools.

Runs over the flattened scopes, before the graph is built, and leaves the compiled templates in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from highway_core.engine.command_templates import compile_command, takes_command
from highway_core.engine.expressions import parse_condition, parse_switch
from highway_core.engine.flatten import GATHERS, Place, ScopeSource
from highway_core.engine.graph import Names
from highway_core.engine.graph_builder import names_of, nearest_name
from highway_core.engine.models import (
    BaseOperatorModel,
    CallOperatorModel,
    ForEachOperatorModel,
    MultiChoiceOperatorModel,
    ReflexiveOperatorModel,
    SwitchOperatorModel,
    WaitOperatorModel,
)
from highway_core.engine.references import Reference
from highway_core.engine.report import Report
from highway_core.engine.templates import CompiledValue, compile_value, malformed_in, references_in
from highway_core.errors import ExpressionError, ToolNotFoundError
from highway_core.utils.durations import parse_wait

_CALLS_TOOLS = frozenset({"task", "activity", "reflexive"})
_SETS_VARIABLES = frozenset({"tools.python.run", "tools.code.exec"})
_ALWAYS_KNOWN = frozenset({"memory", "run", "secrets", "env", "ENV", "ds", "workflow_run_id", "inputs"})
_LOOP_NAMES = frozenset({"index", "iteration", "loop_context"})
_ITEM_NAMES = frozenset({"item", "current_item"})
_CALLBACK_NAMES = frozenset({"failed_task_id", "error_message"})
_GUARD_NAMES = frozenset({"result", "output"})
_TURN_NAMES = frozenset({"turn", "output", "feedback", "error", "verdict"})


class Tools(Protocol):
    """What validation asks of the registry."""

    def resolve(self, name: str) -> object:
        """Raises ToolNotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class _Around:
    """What a task sees from where it stands."""

    names: Names
    loops: frozenset[str] = frozenset()
    items: bool = False
    callbacks: frozenset[str] = frozenset()


@dataclass(slots=True)
class Checker:
    """Checks one document."""

    report: Report
    variables: frozenset[str]
    inputs: frozenset[str] | None
    """The inputs of the run; None when they are not known yet (``validate``)."""
    tools: Tools | None = None
    _known_tools: dict[str, str] = field(default_factory=dict)
    _open_variables: bool = False

    def check(self, scope: ScopeSource) -> None:
        """Check ``scope`` and all bodies in it."""
        self._open_variables = any(
            isinstance(task, CallOperatorModel) and task.function in _SETS_VARIABLES for task in _all_tasks(scope)
        )
        self._scope(scope, _Around(Names()))

    def _scope(self, scope: ScopeSource, around: _Around) -> None:
        callbacks = {
            name
            for task in scope.tasks.values()
            for name in (task.on_failure_task_id, task.on_success_task_id)
            if name is not None
        }
        here = _Around(Names(names_of(scope), around.names), around.loops, around.items, frozenset(callbacks))
        for task_id, task in scope.tasks.items():
            self._task(scope, task_id, task, here)
            body = scope.bodies.get(task_id)
            if body is not None:
                items = here.items or isinstance(task, ForEachOperatorModel)
                self._scope(body, _Around(here.names, here.loops | {scope.written.get(task_id, task_id)}, items))

    def _task(self, scope: ScopeSource, task_id: str, task: BaseOperatorModel, here: _Around) -> None:
        place = scope.places[task_id]
        extras = frozenset(scope.aliases.get(task_id, ()))
        if task_id in here.callbacks:
            extras |= _CALLBACK_NAMES
        templates: dict[str, CompiledValue] = {}
        for name in (*task.templated, "idempotency_key"):
            value = getattr(task, name, None)
            if value is None:
                continue
            turn = _TURN_NAMES if isinstance(task, ReflexiveOperatorModel) else frozenset()
            try:
                compiled = self._compiled(value, (*place, name), _command_tool(task, name))
                if compiled is None or compiled.references:
                    self._references(value, (*place, name), here, extras | turn)
            except ExpressionError as error:  # nested too deeply to be looked into
                self.report.add((*place, name), str(error))
                continue
            if compiled is not None:
                templates[name] = compiled
        scope.templates[task_id] = templates
        self._expressions(task, place)
        self._guards(task, place, here, extras)
        self._constants(task, place, templates)
        self._functions(task, place)
        self._idle_policies(task, place)

    def _idle_policies(self, task: BaseOperatorModel, place: Place) -> None:
        """Policies that the operator has no use for: its author may count on them."""
        if task.retry_policy is not None and isinstance(task, GATHERS):
            self.report.warn((*place, "retry_policy"), f"a {task.operator_type} is not retried; its tasks are")
        if task.circuit_breaker_policy is not None and task.operator_type not in _CALLS_TOOLS:
            self.report.warn((*place, "circuit_breaker_policy"), f"a {task.operator_type} calls no tool")

    def _compiled(self, value: object, place: Place, command_tool: str | None = None) -> CompiledValue | None:
        try:
            return compile_value(value) if command_tool is None else compile_command(command_tool, value)
        except ExpressionError as error:
            wrong = malformed_in(value) or [("", str(error))]
            for where, message in wrong:
                self.report.add(place, message, inside=where)
            return None

    def _expressions(self, task: BaseOperatorModel, place: Place) -> None:
        for name in task.conditions:
            self._expression(getattr(task, name), (*place, name))
        if isinstance(task, MultiChoiceOperatorModel):
            for label, branch in task.branches.items():
                self._expression(branch.condition, (*place, "branches", label, "condition"))
        if isinstance(task, SwitchOperatorModel):
            try:
                parse_switch(task.switch_on)
            except ExpressionError as error:
                self.report.add((*place, "switch_on"), str(error))

    def _expression(self, text: str, place: Place) -> None:
        try:
            parse_condition(text)
        except ExpressionError as error:
            self.report.add(place, str(error))

    def _guards(self, task: BaseOperatorModel, place: Place, here: _Around, extras: frozenset[str]) -> None:
        for key, guards in (("preconditions", task.preconditions), ("postconditions", task.postconditions)):
            known = extras | (_GUARD_NAMES if key == "postconditions" else frozenset())
            for number, guard in enumerate(guards):
                where = (*place, key, number, "variable")
                text = guard.variable if "{{" in guard.variable else f"{{{{{guard.variable}}}}}"
                compiled = self._compiled(text, where)
                if compiled is not None and guard.check != "exists":
                    self._references(text, where, here, known)

    def _constants(self, task: BaseOperatorModel, place: Place, templates: Mapping[str, CompiledValue]) -> None:
        if isinstance(task, WaitOperatorModel) and "wait_for" in templates and templates["wait_for"].constant:
            try:
                parse_wait(task.wait_for)
            except ValueError as error:
                self.report.add((*place, "wait_for"), str(error))
        if isinstance(task, ForEachOperatorModel):
            constant = "items" in templates and templates["items"].constant
            if constant and not isinstance(task.items, (list, dict)):
                self.report.add((*place, "items"), f"items must be a list or a {{{{reference}}}}, not {task.items!r}")

    def _functions(self, task: BaseOperatorModel, place: Place) -> None:
        match task:
            case CallOperatorModel(runtime="python", function=str(name)):
                self._function(name, (*place, "function"))
            case ReflexiveOperatorModel():
                self._function(task.generator, (*place, "generator"))
                self._function(task.verifier, (*place, "verifier"))
            case _:
                pass

    def _function(self, name: str, place: Place) -> None:
        if self.tools is None:
            return
        if name not in self._known_tools:
            try:
                self.tools.resolve(name)
                self._known_tools[name] = ""
            except ToolNotFoundError as error:
                self._known_tools[name] = f"Function '{name}' not found in registry: {error}"
        if self._known_tools[name]:
            self.report.add(place, self._known_tools[name])

    def _references(self, value: object, place: Place, here: _Around, extras: frozenset[str]) -> None:
        for where, reference in references_in(value):
            wrong = self._wrong(reference, here, extras)
            if wrong:
                self.report.add(place, *wrong, inside=where)

    def _wrong(self, reference: Reference, here: _Around, extras: frozenset[str]) -> tuple[str, str] | None:
        """What is wrong with a reference, and a hint; None if something can produce it."""
        root = reference.root
        second = str(reference.path[1]) if len(reference.path) > 1 else None
        if root in extras or root in here.names or root in here.loops:
            return None
        if root == "inputs":
            return self._wrong_input(reference, second)
        if root == "variables":
            return self._wrong_variable(reference, second)
        if root == "results":
            if second is None or second in here.names:
                return None
            return f"{reference}: no task produces the result '{second}'", nearest_name(second, here.names, self.report)
        return self._wrong_name(reference, root, here)

    def _wrong_name(self, reference: Reference, root: str, here: _Around) -> tuple[str, str] | None:
        if root in _ALWAYS_KNOWN or (root in _LOOP_NAMES and here.loops) or (root in _ITEM_NAMES and here.items):
            return None
        if root in self.variables or self._open_variables or root in (self.inputs or ()):
            return None
        if root in _ITEM_NAMES | _LOOP_NAMES:
            return f"{reference} has a value only inside a loop", ""
        names = chain(here.names, self.variables, self.inputs or ())
        return f"{reference}: nothing produces '{root}'", nearest_name(root, names, self.report)

    def _wrong_input(self, reference: Reference, name: str | None) -> tuple[str, str] | None:
        if name is None or self.inputs is None or name in self.inputs or name in self.variables:
            return None
        if self._open_variables:
            return None
        return f"{reference}: the run has no input '{name}'", f"give it with --var {name}=…"

    def _wrong_variable(self, reference: Reference, name: str | None) -> tuple[str, str] | None:
        if name is None or name in self.variables or name in (self.inputs or ()) or self._open_variables:
            return None
        hint = nearest_name(name, self.variables, self.report) or "declare it under 'variables'"
        return f"{reference}: there is no variable '{name}'", hint


def _all_tasks(scope: ScopeSource) -> Iterable[BaseOperatorModel]:
    yield from scope.tasks.values()
    for body in scope.bodies.values():
        yield from _all_tasks(body)


def _command_tool(task: BaseOperatorModel, name: str) -> str | None:
    """The tool whose argument the field ``name`` holds a command line of, if it does."""
    match task:
        case CallOperatorModel() if name in {"args", "kwargs"}:
            tool = task.function
        case ReflexiveOperatorModel():
            tool = {"generator_kwargs": task.generator, "verifier_kwargs": task.verifier}.get(name)
        case _:
            tool = None
    return tool if takes_command(tool) else None
