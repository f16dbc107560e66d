"""Random workflow documents: tasks that succeed or fail, arms, branches, loops, joins, callbacks, at any depth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

RULES = ("all_success", "all_success", "all_success", "all_done", "one_success", "one_done", "none_failed")
JOIN_MODES = ("all_of", "all_success", "one_success")  # any_of means "the first", which an order may change


@dataclass
class Draft:
    """A document under construction, and what its author knows about it."""

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    waits: dict[str, list[str]] = field(default_factory=dict)
    """Task of the root scope → the plain tasks that must have ended before it starts (default rule only)."""
    dead: list[str] = field(default_factory=list)
    """Tasks of the root scope that stand in an arm that is not taken."""


@dataclass
class _Growing:
    draw: Any
    draft: Draft
    count: int = 0
    budget: int = 14

    def name(self, kind: str) -> str:
        self.count += 1
        self.budget -= 1
        return f"{kind}{self.count}"


@st.composite
def workflows(draw: Any) -> Draft:
    """A document with up to about twenty tasks in its root scope."""
    growing = _Growing(draw, Draft())
    before: list[str] = []
    while growing.budget > 0 and draw(st.integers(0, 9)) < 9:
        before.append(_block(growing, growing.draft.tasks, before, [], dead=False, depth=0))
    if not growing.draft.tasks:
        _task(growing, growing.draft.tasks, [], [], dead=False, root=True)
    _callbacks(growing)
    return growing.draft


def _block(
    growing: _Growing, tasks: dict[str, Any], before: list[str], conditions: list[str], *, dead: bool, depth: int
) -> str:
    """Add one block that may wait for blocks ``before``; return the id that others can wait for."""
    kinds = ["task"] * 5 + ["join"] if before else ["task"]
    if depth < 3 and growing.budget > 2:
        kinds += ["condition", "condition", "parallel", "multi_choice", "foreach", "while", "switch"]
    kind = growing.draw(st.sampled_from(kinds))
    wanted = growing.draw(st.lists(st.sampled_from(before), max_size=3, unique=True)) if before else []
    root = tasks is growing.draft.tasks
    match kind:
        case "task":
            return _task(growing, tasks, wanted, conditions, dead=dead, root=root)
        case "join":
            return _join(growing, tasks, wanted or before[-1:], conditions, dead=dead, root=root)
        case "foreach" | "while":
            return _loop(growing, tasks, kind, [*wanted, *conditions], dead=dead, depth=depth)
        case "parallel" | "multi_choice":
            return _branches(growing, tasks, kind, [*wanted, *conditions], dead=dead, depth=depth)
        case _:
            return _arms(growing, tasks, kind, wanted, conditions, dead=dead, depth=depth)


def _add(growing: _Growing, tasks: dict[str, Any], name: str, task: dict[str, Any], *, dead: bool) -> str:
    tasks[name] = task
    if dead and tasks is growing.draft.tasks:
        growing.draft.dead.append(name)
    return name


def _task(
    growing: _Growing, tasks: dict[str, Any], wanted: list[str], conditions: list[str], *, dead: bool, root: bool
) -> str:
    name = growing.name("t")
    fails = growing.draw(st.integers(0, 4)) == 0
    rule = growing.draw(st.sampled_from(RULES))
    task = {
        "operator_type": "task",
        "function": "test.fail" if fails else "test.echo",
        "args": [name],
        "dependencies": [*wanted, *conditions],
        "trigger_rule": rule,
    }
    if growing.draw(st.integers(0, 5)) == 0:
        task["retry_policy"] = {"max_retries": 1, "delay": 1}
    if root and rule == "all_success":
        growing.draft.waits[name] = [one for one in wanted if tasks[one]["operator_type"] == "task"]
    return _add(growing, tasks, name, task, dead=dead)


def _join(
    growing: _Growing, tasks: dict[str, Any], wanted: list[str], conditions: list[str], *, dead: bool, root: bool
) -> str:
    name = growing.name("j")
    mode = growing.draw(st.sampled_from(JOIN_MODES))
    task = {
        "operator_type": "join",
        "join_tasks": wanted,
        "join_mode": mode,
        "dependencies": [*wanted[:1], *conditions],
    }
    if root and mode == "all_of":
        growing.draft.waits[name] = [one for one in wanted if tasks[one]["operator_type"] == "task"]
    return _add(growing, tasks, name, task, dead=dead)


def _loop(growing: _Growing, tasks: dict[str, Any], kind: str, wanted: list[str], *, dead: bool, depth: int) -> str:
    name = growing.name("f" if kind == "foreach" else "w")
    body: dict[str, Any] = {}
    inside: list[str] = []
    for _ in range(growing.draw(st.integers(1, 3))):
        inside.append(_block(growing, body, inside, [], dead=False, depth=depth + 1))
    task: dict[str, Any] = {
        "operator_type": kind,
        "dependencies": wanted,
        "loop_body": [{"task_id": one, **model} for one, model in body.items()],
    }
    if kind == "foreach":
        task["items"] = growing.draw(st.lists(st.integers(0, 3), max_size=3))
        task["parallel"] = growing.draw(st.booleans())
    else:
        task["condition"] = growing.draw(st.sampled_from(["false", f"{{{{{inside[0]}}}}} == null"]))
        task["test_after"] = growing.draw(st.booleans())
        task["metadata"] = {"max_iterations": 3}
    return _add(growing, tasks, name, task, dead=dead)


def _branches(growing: _Growing, tasks: dict[str, Any], kind: str, wanted: list[str], *, dead: bool, depth: int) -> str:
    name = growing.name("p")
    branches: dict[str, Any] = {}
    workflows: dict[str, Any] = {}
    for label in "ab"[: growing.draw(st.integers(1, 2))]:
        inner: dict[str, Any] = {}
        inside: list[str] = []
        for _ in range(growing.draw(st.integers(1, 3))):
            inside.append(_block(growing, inner, inside, [], dead=False, depth=depth + 1))
        workflows[label] = {"tasks": inner}
        holds = growing.draw(st.sampled_from(["true", "false"]))
        branches[label] = list(inner) if kind == "parallel" else {"condition": holds, "tasks": list(inner)}
    task = {"operator_type": kind, "dependencies": wanted, "branches": branches, "branch_workflows": workflows}
    if kind == "multi_choice":
        task["minimum_branches"] = growing.draw(st.integers(0, 1))
    return _add(growing, tasks, name, task, dead=dead)


def _arms(
    growing: _Growing,
    tasks: dict[str, Any],
    kind: str,
    wanted: list[str],
    conditions: list[str],
    *,
    dead: bool,
    depth: int,
) -> str:
    """Arms as highway-dsl builds them: every task in them names the condition too."""
    name = growing.name("c")
    taken = growing.draw(st.booleans())
    _add(growing, tasks, name, {}, dead=dead)
    heads: dict[bool, str | None] = {True: None, False: None}
    for arm in (True, False):
        inside: list[str] = []
        # A switch whose case leads nowhere would take its default instead.
        for _ in range(growing.draw(st.integers(1 if arm and kind == "switch" else 0, 3))):
            one = _block(
                growing, tasks, inside[-1:], [name, *conditions], dead=dead or arm is not taken, depth=depth + 1
            )
            if inside and not set(inside[-1:]) & set(_sources(tasks[one])):
                tasks[one]["dependencies"].append(inside[-1])
            inside.append(one)
        heads[arm] = inside[0] if inside else None
    dependencies = [*wanted, *conditions]
    if kind == "condition":
        tasks[name] = {
            "operator_type": "condition",
            "condition": "true" if taken else "false",
            "if_true": heads[True],
            "if_false": heads[False],
            "dependencies": dependencies,
        }
    else:
        tasks[name] = {
            "operator_type": "switch",
            "switch_on": "yes" if taken else "no",
            "cases": {"yes": heads[True]},
            "default": heads[False],
            "dependencies": dependencies,
        }
    return name


def _sources(task: dict[str, Any]) -> list[str]:
    return [*task.get("dependencies", ()), *task.get("join_tasks", ())]


def _callbacks(growing: _Growing) -> None:
    """Give some tasks of the root scope a callback."""
    tasks = growing.draft.tasks
    for name in [one for one, task in tasks.items() if task["operator_type"] == "task"]:
        if growing.draw(st.integers(0, 6)) == 0:
            callback = growing.name("cb")
            key = growing.draw(st.sampled_from(["on_failure_task_id", "on_success_task_id"]))
            tasks[name][key] = callback
            tasks[callback] = {"operator_type": "task", "function": "test.echo", "args": ["called"]}
