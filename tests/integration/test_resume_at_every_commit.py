"""A LOCAL run that dies right before or right after any of its commits: resumed, it ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.lifecycle import TaskStatus
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from highway_core.persistence.manager import PersistenceManager, RunChanges
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool
from highway_core.utils.json_values import dumps, loads
from tests.conformance.observed import TOOLS

CASES: Mapping[str, Mapping[str, Any]] = yaml.safe_load("""
chain with memory and variables:
  variables: {size: 1}
  tasks:
    a: {operator_type: task, function: dying.work, args: [1], result_key: one}
    b: {operator_type: task, function: tools.memory.set, args: [k, '{{one}}'], dependencies: [a]}
    c: {operator_type: task, function: tools.memory.increment, args: [k], dependencies: [b]}
    d: {operator_type: task, function: test.set_variable, args: [size, '{{memory.k}}'], dependencies: [c]}
    e: {operator_type: task, function: dying.work, args: ['{{variables.size}} {{memory.k}} {{one}}'], dependencies: [d]}

a while that skips a task in every other iteration:
  tasks:
    zero: {operator_type: task, function: dying.work, args: [0], result_key: n}
    loop:
      operator_type: while
      condition: '{{n}} < 5'
      dependencies: [zero]
      loop_body:
        - {task_id: check, operator_type: condition, condition: '{{n}} % 2 == 0', if_true: even}
        - {task_id: even, operator_type: task, function: dying.work, args: ['{{n}}'], dependencies: [check],
           result_key: last_even}
        - {task_id: seen, operator_type: task, function: test.append, args: [seen, '{{last_even}}'],
           dependencies: [check]}
        - {task_id: more, operator_type: task, function: test.add, args: ['{{n}}', 1], dependencies: [seen],
           result_key: n}
    end: {operator_type: task, function: dying.work, args: ['{{memory.seen}}'], dependencies: [loop]}

a while in a while, whose results are needed later:
  tasks:
    zero: {operator_type: task, function: dying.work, args: [0], result_key: n}
    outer:
      operator_type: while
      condition: '{{n}} < 6'
      dependencies: [zero]
      loop_body:
        - {task_id: begin, operator_type: task, function: dying.work, args: ['{{n}}']}
        - task_id: inner
          operator_type: while
          condition: '{{n}} % 3 != 2'
          dependencies: [begin]
          loop_body:
            - {task_id: add, operator_type: task, function: test.add, args: ['{{n}}', 1], result_key: n}
            - {task_id: note, operator_type: task, function: dying.work, args: ['{{n}}!'], dependencies: [add],
               result_key: noted}
        - {task_id: last, operator_type: task, function: test.add, args: ['{{n}}', 1], dependencies: [inner],
           result_key: n}
    end: {operator_type: task, function: dying.work, args: ['{{n}} {{noted}} {{note}}'], dependencies: [outer]}

loops in loops:
  tasks:
    each:
      operator_type: foreach
      items: [a, b]
      result_key: all
      loop_body:
        - {task_id: begin, operator_type: task, function: dying.work, args: [0], result_key: k}
        - task_id: count
          operator_type: while
          condition: '{{k}} < 2'
          dependencies: [begin]
          loop_body:
            - task_id: fan
              operator_type: foreach
              items: [1, 2]
              parallel: true
              loop_body:
                - {task_id: deep, operator_type: task, function: dying.work, args: ['{{each.item}}{{k}}{{item}}'],
                   result_key: out}
              result_key: fanned
            - {task_id: up, operator_type: task, function: test.add, args: ['{{k}}', 1], dependencies: [fan],
               result_key: k}
        - {task_id: sum, operator_type: task, function: dying.work, args: ['{{k}} {{fanned}}'],
           dependencies: [count], result_key: text}
    end: {operator_type: task, function: dying.work, args: ['{{all}}'], dependencies: [each]}

arms and branches:
  tasks:
    set: {operator_type: task, function: tools.memory.set, args: [way, left]}
    check: {operator_type: condition, condition: "{{memory.way}} == left", if_true: l, if_false: r, dependencies: [set]}
    l: {operator_type: task, function: tools.memory.set, args: [way, right], dependencies: [check]}
    l2: {operator_type: task, function: dying.work, args: [l2], dependencies: [l, check]}
    r: {operator_type: task, function: dying.work, args: [r], dependencies: [check]}
    pick: {operator_type: switch, switch_on: '{{memory.way}}', cases: {right: x, left: y}, dependencies: [check]}
    x: {operator_type: task, function: tools.memory.set, args: [way, up], dependencies: [pick]}
    y: {operator_type: task, function: dying.work, args: [y], dependencies: [pick]}
    choose:
      operator_type: multi_choice
      dependencies: [pick]
      branches:
        one: {condition: "{{memory.way}} == up", tasks: [m1, m2]}
        two: {condition: "{{memory.way}} == right", tasks: [m3]}
    m1: {operator_type: task, function: tools.memory.set, args: [way, right], dependencies: [choose]}
    m2: {operator_type: task, function: dying.work, args: [m2], dependencies: [m1], result_key: m2}
    m3: {operator_type: task, function: dying.work, args: [m3], dependencies: [choose]}
    end: {operator_type: task, function: dying.work, args: ['{{choose}}'], dependencies: [choose]}

parallel branches:
  tasks:
    fan: {operator_type: parallel, branches: {a: [a1, a2], b: [b1, b2]}}
    a1: {operator_type: task, function: dying.work, args: [1], dependencies: [fan]}
    a2: {operator_type: task, function: dying.work, args: ['{{a1}}'], dependencies: [a1], result_key: a2}
    b1: {operator_type: task, function: dying.work, args: [2], dependencies: [fan]}
    b2: {operator_type: task, function: dying.work, args: ['{{b1}}'], dependencies: [b1], result_key: b2}
    end: {operator_type: task, function: dying.work, args: ['{{fan}}'], dependencies: [fan]}

failures, callbacks and joins:
  tasks:
    a: {operator_type: task, function: test.fail, on_failure_task_id: mourn, on_success_task_id: cheer}
    mourn: {operator_type: task, function: dying.work, args: ['{{failed_task_id}}: {{error_message}}']}
    cheer: {operator_type: task, function: dying.work, args: [yes]}
    b: {operator_type: task, function: dying.work, args: [b], dependencies: [a]}
    c: {operator_type: task, function: dying.work, args: [c]}
    all: {operator_type: join, join_tasks: [b, c], join_mode: all_of}
    none: {operator_type: task, function: dying.work, args: [none], dependencies: [b, c], trigger_rule: none_failed}
    end: {operator_type: task, function: dying.work, args: [end], dependencies: [all]}

events:
  tasks:
    tell: {operator_type: emit_event, event_name: news, payload: {n: 1}}
    work: {operator_type: task, function: dying.work, args: [1], dependencies: [tell]}
    hear: {operator_type: wait_for_event, event_name: news, dependencies: [work], result_key: heard,
           timeout_seconds: 5}
    end: {operator_type: task, function: dying.work, args: ['{{heard.n}}'], dependencies: [hear]}

waits and retries:
  tasks:
    nap: {operator_type: wait, wait_for: 10ms}
    flaky: {operator_type: task, function: test.flaky, args: [1, done], dependencies: [nap],
            retry_policy: {max_retries: 2, delay: 10ms}}
    end: {operator_type: task, function: dying.work, args: ['{{flaky}}'], dependencies: [flaky]}

a child run:
  tasks:
    a: {operator_type: task, function: dying.work, args: [7]}
    call: {operator_type: child_workflow, dependencies: [a],
           children: {one: {workflow_name: child, inputs: {n: '{{a}}'}}, two: {workflow_name: child, inputs: {n: 0}}}}
    end: {operator_type: task, function: dying.work, args: ['{{call.one.result}}'], dependencies: [call]}

an idempotency key:
  tasks:
    a: {operator_type: task, function: dying.work, args: [1], idempotency_key: same}
    b: {operator_type: task, function: dying.work, args: [2], idempotency_key: same, dependencies: [a]}
    end: {operator_type: task, function: dying.work, args: ['{{a}} {{b}}'], dependencies: [b]}

an end that a task decides:
  tasks:
    a: {operator_type: task, function: dying.work, args: [1]}
    stop: {operator_type: terminate, status: failed, reason: enough, dependencies: [a]}
    never: {operator_type: task, function: dying.work, args: [2], dependencies: [stop]}
""")

CHILD = """
name: child
variables: {n: 0}
tasks:
  a: {operator_type: task, function: dying.work, args: ['{{inputs.n}}']}
  b: {operator_type: task, function: test.add, args: ['{{a}}', 1], dependencies: [a]}
"""

_WORKED: list[str] = []


@tool("dying.work")
def work(context: ToolContext, value: Any = None) -> Any:
    _WORKED.append(f"{context.run_id}:{context.task_id}")
    return value


class Died(BaseException):
    """Stands for ``kill -9``: nothing that is only in memory outlives it."""


class DyingStore:
    """Passes everything on to ``store``, and dies at its ``number``-th save: before it, or right after it."""

    def __init__(self, store: PersistenceManager, number: int, *, before: bool) -> None:
        self._store = store
        self._left = number
        self._before = before

    def save(self, changes: RunChanges) -> None:
        if changes.empty:
            return
        self._left -= 1
        if self._left == 0 and self._before:
            raise Died
        self._store.save(changes)
        if self._left == 0:
            raise Died

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Run:
    """One document on one store."""

    def __init__(self, name: str, folder: Path) -> None:
        (folder / "child.yaml").write_text(CHILD, encoding="utf-8")
        self._document = {"name": "dying", **CASES[name]}
        self._settings = Settings(tools_dir=TOOLS, workflows_dir=folder)
        self.store = InMemoryPersistenceManager()

    def drive(self, store: Any = None) -> None:
        run_workflow(self._document, "r", persistence_manager=store or self.store, settings=self._settings)

    def dies(self, number: int, *, before: bool) -> bool:
        """False if there is no such save."""
        try:
            self.drive(DyingStore(self.store, number, before=before))
        except Died:
            return True
        return False

    def completed(self) -> set[str]:
        return {
            f"{run_id}:{path}"
            for run_id in self._run_ids()
            for path, row in self._saved(run_id).tasks.items()
            if row.status is TaskStatus.COMPLETED
        }

    def ending(self) -> dict[str, Any]:
        return {run_id: self._ending(run_id) for run_id in self._run_ids()}

    def _run_ids(self) -> list[str]:
        return [one for one in ("r", "r/call/one", "r/call/two") if self.store.load_run(one) is not None]

    def _saved(self, run_id: str) -> Any:
        saved = self.store.load_run(run_id)
        assert saved is not None
        return saved

    def _ending(self, run_id: str) -> Any:
        saved = self._saved(run_id)
        state, _ = self.store.load_workflow_state(run_id)
        assert state is not None
        rows = {path: (row.status.value, loads(row.result_json or "null")) for path, row in saved.tasks.items()}
        values = (state.results, saved.memory, saved.variables)
        return saved.status.value, saved.error_message, loads(saved.result_json or "null"), rows, values


def deaths() -> Iterator[tuple[int, bool]]:
    for number in range(1, 200):
        yield number, True
        yield number, False


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_dies_at_any_commit_ends_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    quiet = Run(name, tmp_path)
    quiet.drive()
    expected = quiet.ending()
    assert expected["r"][0] != "running"
    died = 0
    for number, before in deaths():
        run = Run(name, tmp_path)
        if not run.dies(number, before=before):
            break
        died += 1
        when = f"{'before' if before else 'after'} save {number}"
        done = run.completed()
        _WORKED.clear()
        run.drive()
        assert not done.intersection(_WORKED), when
        assert dumps(run.ending()) == dumps(expected), when
    assert died >= 2
