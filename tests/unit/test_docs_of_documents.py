"""``docs/documents.md`` against the code: operators, fields, rules, expressions, durations, limits, its examples."""

from __future__ import annotations

import inspect
import json
import re
import typing
from ast import AnnAssign, Assign, Name, parse
from datetime import timedelta
from enum import StrEnum
from importlib import import_module
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from highway_core.cli import parser as command_line
from highway_core.engine import expression_parser
from highway_core.engine.data import _LOOP_NAMES, _NAMESPACES
from highway_core.engine.expressions import NoData, parse_condition
from highway_core.engine.graph_document_reader import NODE_TYPES, POLICY_KEYS
from highway_core.engine.guards import _TYPES
from highway_core.engine.loader import compile_document, read_text
from highway_core.engine.models import (
    OPERATORS,
    BaseOperatorModel,
    CallOperatorModel,
    JoinMode,
    TriggerRule,
    WorkflowModel,
)
from highway_core.engine.policies import CircuitBreakerPolicy, DataGuard, DocumentPart, RetryPolicy, TimeoutPolicy
from highway_core.engine.readiness import Answer, Arrivals, Verdict, Via, decide_ready
from highway_core.errors import DocumentError, ExpressionError
from highway_core.lifecycle import RunStatus, TaskStatus
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.durations import parse_duration, parse_wait
from tests.documentation import ROOT, Block, blocks, documents, headings, prose, table

PAGE = "docs/documents.md"
FIELDS = ("field", "default", "meaning")


def operator_headings() -> dict[str, str]:
    """Operator → the heading that it is described under."""
    (section,) = re.findall(r"^## Operators\n(.*?)^## ", prose(PAGE), re.MULTILINE | re.DOTALL)
    found = re.findall(r"^### (.+)$", section, re.MULTILINE)
    return {name: heading for heading in found for name in re.findall(r"`(\w+)`", heading)}


def test_every_operator_is_documented_and_no_other() -> None:
    assert set(operator_headings()) == set(OPERATORS)


def described() -> dict[str, tuple[type[DocumentPart], set[str], str]]:
    """Heading of a table of fields → the model, its fields, and the heading."""
    base = set(BaseOperatorModel.model_fields)
    found: dict[str, tuple[type[DocumentPart], set[str], str]] = {
        "The document": (WorkflowModel, set(WorkflowModel.model_fields), "The document"),
        "What every task has": (BaseOperatorModel, base, "What every task has"),
        "Retry": (RetryPolicy, set(RetryPolicy.model_fields), "Retry"),
        "Timeout": (TimeoutPolicy, set(TimeoutPolicy.model_fields), "Timeout"),
        "Circuit breaker": (CircuitBreakerPolicy, set(CircuitBreakerPolicy.model_fields), "Circuit breaker"),
        "Guards": (DataGuard, set(DataGuard.model_fields), "Guards"),
    }
    for name, model in OPERATORS.items():
        found[name] = (model, set(model.model_fields) - base, operator_headings()[name])
    return found


@pytest.mark.parametrize("name", described())
def test_every_field_is_documented_and_no_other(name: str) -> None:
    _, names, heading = described()[name]
    assert {row[0].strip("`") for row in table(PAGE, *FIELDS, under=heading).rows} == names


@pytest.mark.parametrize("name", described())
def test_documented_defaults_are_those_of_the_code(name: str) -> None:
    model, _, heading = described()[name]
    for row in table(PAGE, *FIELDS, under=heading).rows:
        field = model.model_fields[row[0].strip("`")]
        if row[1].startswith("`") or row[1] in {"required", "none"}:
            assert row[1] == ("required" if row[0] == "`loop_body`" else shown_default(field)), row
        else:
            assert field.is_required() or field.default is None or field.default == "", row


def shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        return f"`PT{value.total_seconds():g}S`"
    return (
        f"`{value}`" if isinstance(value, StrEnum) or (value and isinstance(value, str)) else f"`{json.dumps(value)}`"
    )


@pytest.mark.parametrize("name", described())
def test_every_other_name_of_a_field_is_documented_and_no_other(name: str) -> None:
    model, names, heading = described()[name]
    said = {
        other: row[0].strip("`")
        for row in table(PAGE, *FIELDS, under=heading).rows
        for listed in re.findall(r"((?:`\w+`(?:, | and )?)+) (?:is|are) (?:an)?other names?\b", row[2])
        for other in re.findall(r"`(\w+)`", listed)
    }
    assert said == {other: field for other, field in model.renamed.items() if field in names}


def test_task_and_activity_have_the_same_fields() -> None:
    assert operator_headings()["task"] == operator_headings()["activity"]
    assert all(issubclass(OPERATORS[name], CallOperatorModel) for name in ("task", "activity"))


def test_every_trigger_rule_is_documented_and_no_other() -> None:
    assert table(PAGE, "rule", "runs").names() == [rule.value for rule in TriggerRule]


def test_every_join_mode_is_documented_and_no_other() -> None:
    assert table(PAGE, "mode", "completes").names(0) == [mode.value for mode in JoinMode]


COLUMNS: dict[str, tuple[Answer, ...]] = {
    "nothing to wait for": (),
    "all succeeded": (Answer.SUCCEEDED, Answer.SUCCEEDED),
    "one failed, one succeeded": (Answer.FAILED, Answer.SUCCEEDED),
    "one skipped, one succeeded": (Answer.SKIPPED, Answer.SUCCEEDED),
    "one failed, one skipped": (Answer.FAILED, Answer.SKIPPED),
    "all failed": (Answer.FAILED, Answer.FAILED),
    "all skipped": (Answer.SKIPPED, Answer.SKIPPED),
}
WORDS = {Verdict.RUN: "run", Verdict.SKIP: "skip", Verdict.FAIL_UPSTREAM: "upstream_failed"}


def test_the_table_of_outcomes_is_what_the_code_decides() -> None:
    shown = table(PAGE, "rule or join mode")
    assert shown.head[1:] == tuple(COLUMNS)
    rules = {f"`{rule}`": rule for rule in TriggerRule} | {f"join `{mode}`": mode for mode in JoinMode}
    assert [row[0] for row in shown.rows] == list(rules)
    for row in shown.rows:
        for answers, cell in zip(COLUMNS.values(), row[1:], strict=True):
            if not answers and row[0].startswith("join"):
                assert not cell  # a join has join tasks
                continue
            verdicts = {first_verdict(rules[row[0]], order) for order in (answers, answers[::-1])}
            assert cell == (WORDS[verdicts.pop()] if len(verdicts) == 1 else "the first decides"), (row[0], answers)


def first_verdict(rule: Any, answers: tuple[Answer, ...]) -> Verdict:
    """The verdict after all answers, or the one before that ended the waiting."""
    arrivals = Arrivals(main=len(answers))
    verdict = decide_ready(rule, arrivals)
    for answer in answers:
        if verdict is not Verdict.WAIT:
            break
        arrivals.count(Via.MAIN, answer)
        verdict = decide_ready(rule, arrivals)
    return verdict


@pytest.mark.parametrize(("head", "statuses"), [("status of a task", TaskStatus), ("status of a run", RunStatus)])
def test_every_status_is_documented_and_no_other(head: str, statuses: type[StrEnum]) -> None:
    assert table(PAGE, head).names(0) == [status.value for status in statuses]


def test_every_check_of_a_guard_is_documented_and_no_other() -> None:
    rows = {row[0].strip("`"): row[1] for row in table(PAGE, "check", "holds if").rows}
    assert set(rows) == set(typing.get_args(DataGuard.model_fields["check"].annotation))
    assert set(re.findall(r"`(\w+)`", rows["type_check"])) - {"value"} == set(_TYPES)


def test_every_name_that_templates_know_is_documented() -> None:
    shown = table(PAGE, "reference", "value")
    spelled = " ".join([*shown.names(0), *shown.names(1)])
    for name in {*map(str, _NAMESPACES), *_LOOP_NAMES, "loop_context", "ds", "workflow_run_id"}:
        assert re.search(rf"\b{name}\b", spelled), name


def test_the_documented_grammar_is_the_one_that_is_read() -> None:
    (grammar,) = [block.text for block in blocks(PAGE) if block.text.startswith("condition ")]
    assert grammar.strip() in inspect.cleandoc(expression_parser.__doc__ or "").replace("\n    ", "\n")


def test_documented_expressions_have_the_documented_values() -> None:
    for row in table(PAGE, "expression", "is").rows:
        expression = row[0].strip("`")
        if row[1] != "error":
            assert parse_condition(expression).evaluate(NoData()) == json.loads(row[1]), expression
            continue
        with pytest.raises(ExpressionError):
            parse_condition(expression).evaluate(NoData())


def test_documented_durations_have_the_documented_length() -> None:
    for row in table(PAGE, "written", "seconds").rows:
        written = row[0].strip("`")
        assert parse_duration(written).total_seconds() == float(row[1]), written
        assert parse_wait(written) == parse_wait(timedelta(seconds=float(row[1])))


def test_documented_moments_can_be_waited_for() -> None:
    for row in table(PAGE, "written", "until").rows:
        assert parse_wait(row[0].strip("`"))


def test_what_is_documented_as_no_duration_is_refused() -> None:
    (refused,) = re.findall(r"^Refused: (.+)$", prose(PAGE), re.MULTILINE)
    for written in re.findall(r"`([^`]+)`", refused):
        with pytest.raises(ValueError, match="Cannot use"):
            parse_wait(written)


def test_every_node_type_is_documented_and_no_other() -> None:
    assert [row[0].strip("`") for row in table(PAGE, "type", "`config`").rows] == list(NODE_TYPES)


def test_every_key_of_a_task_that_a_node_may_have_is_documented() -> None:
    (keys,) = re.findall(r"these keys of a task: (.*?)\. `timeout_ms`", prose(PAGE), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", keys)) == set(POLICY_KEYS)


def test_every_limit_is_documented_with_its_value_and_no_other() -> None:
    rows = {row[2].strip("`"): row[1] for row in table(PAGE, "limit", "value", "constant").rows}
    assert set(rows) == set(limits_of_the_code())
    for constant, shown in rows.items():
        module, _, name = constant.rpartition(".")
        assert as_number(shown) == as_number(getattr(import_module(f"highway_core.{module}"), name)), constant


def limits_of_the_code() -> list[str]:
    """Every ``MAX_…`` at the top of a module, as ``engine.graph.MAX_NESTING``."""
    package = ROOT / "highway_core"
    found = []
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, Assign) else [node.target] if isinstance(node, AnnAssign) else []
            found += [f"{module}.{one.id}" for one in targets if isinstance(one, Name) and one.id.startswith("MAX_")]
    return found


def as_number(value: Any) -> int:
    if isinstance(value, timedelta):
        return value.days
    number, _, unit = str(value).replace(",", "").partition(" ")
    return int(number) * {"": 1, "MiB": 1024 * 1024}[unit]


def test_the_example_of_problems_is_what_validation_says() -> None:
    text = "name: report\ntasks:\n  fetch:\n    operator_type: task\n    function: tools.log.info\n"
    text += '    args: ["{{variables.day}}"]\n    dependancies: []\n'
    with pytest.raises(DocumentError) as refused:
        compile_document(read_text(text, "flow.yaml"), ToolRegistry())
    (shown,) = [block.text for block in blocks(PAGE) if block.text.startswith("flow.yaml:")]
    assert sorted(shown.splitlines()) == sorted(str(problem) for problem in refused.value.problems)


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = {code for row in table(PAGE, "exit code").rows for code in re.findall(r"\d+", row[0])}
    assert documented == {*re.findall(r"\b\d+\b", command_line._EXIT_CODES)}


def test_no_two_documents_on_the_pages_have_the_same_name() -> None:
    names = [block.name for block in documents()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("block", documents(), ids=lambda block: block.name)
def test_every_document_on_a_page_compiles_without_a_warning(block: Block) -> None:
    inputs = block.inputs if block.inputs else None
    _, warnings = compile_document(read_text(block.text, str(block)), ToolRegistry(), inputs)
    assert not warnings


def test_every_operator_has_an_example() -> None:
    shown = {
        kind for block in documents() if block.page == PAGE for kind in re.findall(r"operator_type: (\w+)", block.text)
    }
    assert shown == set(OPERATORS)


def test_the_contents_name_every_section() -> None:
    (contents,) = re.findall(r"^\* \[Four shapes\].*?\n\n", prose(PAGE), re.MULTILINE | re.DOTALL)
    assert re.findall(r"\[([^\]]+)\]\(#", contents)[0] == "Four shapes"
    for heading in headings(PAGE, 2):
        assert f"[{heading}](#" in contents, heading
