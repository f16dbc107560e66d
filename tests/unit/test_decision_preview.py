"""What a decision will lead to is told before it is taken, from the document alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from examples.expense_report import create_expense_workflow
from highway_core.api.approval_previews import Previews
from highway_core.engine.decision_preview import NextTask, Preview, preview_decisions
from highway_core.engine.loader import compile_document, read_source, read_text
from highway_core.persistence.approval_store import Approval
from highway_core.persistence.run_reads import RunReads

CHOICES = ("APPROVED", "DENIED")
ASK = """
name: flow
tasks:
  ask: {operator_type: task, function: human.request_approval, args: [Really, me@example.org], result_key: answer%s}
"""


def preview(tasks: str, *, ask: str = "", path: str = "ask", choices: tuple[str, ...] = CHOICES) -> Preview:
    found = preview_decisions(compile_document(read_text(ASK % ask + tasks))[0], path, choices)
    assert found is not None
    return found


def names(tasks: tuple[NextTask, ...]) -> list[str]:
    """Ids; a task that is only possible with a question mark."""
    return [one.task_id if one.certain else f"{one.task_id}?" for one in tasks]


def shown(found: Preview) -> dict[str, list[str]]:
    return {choice: names(tasks) for choice, tasks in found.choices.items()} | {"always": names(found.always)}


def condition(text: str) -> str:
    return f"""
  check: {{operator_type: condition, condition: "{text}", if_true: pay, if_false: refuse, dependencies: [ask]}}
  pay: {{operator_type: task, function: bank.pay, dependencies: [check]}}
  refuse: {{operator_type: task, function: bank.refuse, dependencies: [check]}}
  close: {{operator_type: task, function: tools.log.info, dependencies: [pay, refuse]}}
"""


def test_the_expense_report_is_paid_or_denied_or_escalated_and_closed_in_any_case() -> None:
    workflow, _ = compile_document(read_source(create_expense_workflow()))
    found = preview_decisions(workflow, "request_manager_approval", CHOICES)
    assert found is not None
    assert shown(found) == {
        "APPROVED": ["run_payment", "notify_employee_approved"],
        "DENIED": ["notify_employee_denied"],
        "always": ["close_report"],
    }
    assert found.choices["APPROVED"][0].does == "api.payment_gateway.pay"
    assert found.timeout is not None
    assert names(found.timeout) == ["escalate_to_finance"]


@pytest.mark.parametrize(
    "text",
    [
        "{{answer.status}} == 'APPROVED'",
        "{{ask.status}} == APPROVED",
        "{{results.answer.status}} != 'DENIED'",
        "{{ask.output.status}} == 'APPROVED'",
        "'DENIED' != {{answer.status}} and {{answer.reason}} == 'HUMAN_INPUT'",
        "{{answer.status}} in ['APPROVED', 'MAYBE'] and not {{answer.absent}}",
    ],
)
def test_a_condition_over_the_answer_is_evaluated(text: str) -> None:
    assert shown(preview(condition(text))) == {"APPROVED": ["pay"], "DENIED": ["refuse"], "always": ["close"]}


@pytest.mark.parametrize(
    "text",
    [
        "{{variables.amount}} > 100",
        "{{answer.comment}} == 'fine'",
        "{{answer.decided_by}} == 'me'",
        "len({{answer}}) > 2",
        "{{answer.status}} > 5",
        "cel:context.answer.status == 'APPROVED'",
    ],
)
def test_what_only_the_run_knows_makes_both_arms_possible(text: str) -> None:
    both = ["pay?", "refuse?", "close?"]
    assert shown(preview(condition(text))) == {"APPROVED": both, "DENIED": both, "always": []}


def test_a_denial_can_be_certain_where_an_approval_is_not() -> None:
    found = preview(condition("{{answer.status}} == 'APPROVED' and {{variables.amount}} < 9"))
    assert shown(found) == {
        "APPROVED": ["pay?", "refuse?", "close?"],
        "DENIED": ["refuse", "close"],
        "always": [],
    }


def test_without_a_condition_every_choice_leads_to_the_same() -> None:
    found = preview("  next: {operator_type: wait, wait_for: 5, dependencies: [ask]}\n")
    assert shown(found) == {"APPROVED": [], "DENIED": [], "always": ["next"]}
    assert found.always == (NextTask("next", "wait", True),)


def test_a_switch_over_the_answer_takes_its_case_or_the_default() -> None:
    tasks = """
  route: {operator_type: switch, switch_on: "{{answer.status}}", cases: {A: a, B: b}, default: c, dependencies: [ask]}
  a: {operator_type: task, function: x.a, dependencies: [route]}
  b: {operator_type: terminate, status: cancelled, dependencies: [route]}
  c: {operator_type: child_workflow, children: {one: {workflow_name: other}}, dependencies: [route]}
  end: {operator_type: task, function: x.end, dependencies: [route]}
"""
    found = preview(tasks, choices=("A", "B", "Z"))
    assert shown(found) == {"A": ["a", "end"], "B": ["b"], "Z": ["c", "end"], "always": []}
    assert found.choices["B"][0].does == "ends the run: cancelled"
    assert found.choices["Z"][0].does == "starts other"


def test_branches_that_depend_on_the_answer_are_gone_through() -> None:
    tasks = """
  pick:
    operator_type: multi_choice
    minimum_branches: 0
    dependencies: [ask]
    branches:
      yes: {condition: "{{answer.status}} == 'APPROVED'", tasks: [pay, tell]}
      rich: {condition: "{{variables.amount}} > 1000", tasks: [audit]}
  pay: {operator_type: task, function: x.pay}
  tell: {operator_type: task, function: x.tell, dependencies: [pay]}
  audit: {operator_type: task, function: x.audit}
  end: {operator_type: task, function: x.end, dependencies: [pick]}
"""
    assert shown(preview(tasks)) == {
        "APPROVED": ["pay", "audit?", "tell"],
        "DENIED": ["audit?"],
        "always": ["end"],
    }


def test_what_does_not_come_after_the_approval_is_not_told() -> None:
    tasks = """
  before: {operator_type: task, function: x.before}
  beside: {operator_type: task, function: x.beside, dependencies: [before]}
  after: {operator_type: task, function: x.after, dependencies: [beside, ask]}
"""
    assert shown(preview(tasks)) == {"APPROVED": [], "DENIED": [], "always": ["after"]}


def test_callbacks_for_failures_are_not_told_but_those_for_success_are() -> None:
    tasks = """
  good: {operator_type: task, function: x.good}
  bad: {operator_type: task, function: x.bad}
"""
    found = preview(tasks, ask=", on_success_task_id: good, on_failure_task_id: bad")
    assert shown(found)["always"] == ["good"]


def test_a_timeout_that_kills_leads_where_a_failure_leads() -> None:
    ask = ", on_failure_task_id: bad, timeout_policy: {timeout: PT1H, kill_on_timeout: true}"
    found = preview(
        """
  next: {operator_type: task, function: x.next, dependencies: [ask]}
  bad: {operator_type: task, function: x.bad}
""",
        ask=ask,
    )
    assert shown(found)["always"] == ["next"]
    assert found.timeout is not None
    assert names(found.timeout) == ["bad"]


def test_without_a_timeout_nothing_is_told_of_one() -> None:
    assert preview("").timeout is None


def test_an_approval_inside_loops_tells_the_rest_of_its_iteration() -> None:
    tasks = """
  each:
    operator_type: foreach
    items: [1, 2]
    loop_body:
      - operator_type: while
        task_id: again
        condition: "true"
        loop_body:
          - {operator_type: task, task_id: inner, function: human.request_approval, args: [Really, me@example.org]}
          - {operator_type: task, task_id: then, function: x.then, dependencies: [inner]}
  later: {operator_type: task, function: x.later, dependencies: [each]}
"""
    assert shown(preview(tasks, path="each[3].again[12].inner"))["always"] == ["then"]


@pytest.mark.parametrize("path", ["nobody", "", "ask[0].ask", "nobody[1].ask", "ask[0]."])
def test_a_path_that_the_document_does_not_have_has_no_preview(path: str) -> None:
    workflow, _ = compile_document(read_text(ASK % ""))
    assert preview_decisions(workflow, path, CHOICES) is None


def test_a_document_that_names_an_input_without_a_namespace_has_a_preview_too() -> None:
    tasks = '  next: {operator_type: task, function: tools.log.info, args: ["{{who}}"], dependencies: [ask]}\n'
    text = ASK % "" + tasks
    reads = cast(RunReads, SimpleNamespace(definition=lambda _hash: text))
    asked = cast(Approval, SimpleNamespace(definition_hash="abc", task_id="ask", choices=CHOICES))
    found = Previews(reads).of(asked)
    assert found is not None
    assert found == preview_decisions(compile_document(read_text(text), inputs=["who"])[0], "ask", CHOICES)
