"""The tools that only say something: log, approval, child workflow, and the seeds' stubs where nothing is set up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.tools import email, human, log, workflow
from highway_core.tools.api import pay
from highway_core.tools.context import (
    AwaitApproval,
    ReadBranches,
    StartWorkflow,
    ToolContext,
    current_context,
    enter_context,
    tool_settings,
)
from highway_core.tools.decorators import tool_info
from highway_core.utils.stopping import StopScope

STATE: Any = SimpleNamespace(memory={}, variables={}, results={})


@pytest.fixture
def attempt() -> Iterator[ToolContext]:
    context = ToolContext("run-1", "expenses", "loop[3].notify", 1, Settings(), StopScope(), STATE)
    enter_context(context)
    yield context
    enter_context(None)


def test_inside_an_attempt_tools_use_its_settings(attempt: ToolContext) -> None:
    assert current_context() is attempt
    assert tool_settings() is attempt.settings


def test_outside_one_they_use_those_of_the_process() -> None:
    assert current_context() is None
    assert isinstance(tool_settings(), Settings)


@pytest.mark.parametrize(
    ("function", "level"),
    [
        (log.debug, logging.DEBUG),
        (log.info, logging.INFO),
        (log.warning, logging.WARNING),
        (log.error, logging.ERROR),
    ],
)
def test_each_log_tool_logs_at_its_level(
    caplog: pytest.LogCaptureFixture, function: Callable[[Any], None], level: int
) -> None:
    with caplog.at_level(logging.DEBUG, "HighwayEngine"):
        assert function("100% of {braces}") is None  # type: ignore[func-returns-value]
    assert caplog.record_tuples == [("HighwayEngine", level, "100% of {braces}")]


def test_a_log_line_carries_the_run_and_the_task(caplog: pytest.LogCaptureFixture, attempt: ToolContext) -> None:
    with caplog.at_level(logging.INFO, "HighwayEngine"):
        log.info({"any": "value"})
    record = caplog.records[0]
    assert record.getMessage() == "{'any': 'value'}"
    assert (record.run_id, record.task_id) == ("run-1", "loop[3].notify")  # type: ignore[attr-defined]


def test_an_approval_is_asked_for_and_not_waited_for() -> None:
    asked = human.request_approval(STATE, None, "ask", "run-1", "Pay 5 €?", "boss@example.org")
    assert asked == AwaitApproval("Pay 5 €?", "boss@example.org", ("APPROVED", "DENIED"))
    assert tool_info("human.request_approval").inject == "human"


@pytest.mark.parametrize(("prompt", "address"), [("", "boss@example.org"), (None, "boss@example.org"), ("Pay?", " ")])
def test_an_approval_without_prompt_or_address_is_refused(prompt: Any, address: Any) -> None:
    with pytest.raises(TaskError, match="Task 'ask' asks for an approval with"):
        human.request_approval(STATE, None, "ask", "run-1", prompt, address)


def test_a_child_workflow_is_named_or_pinned() -> None:
    assert workflow.execute("daily", inputs={"date": "2024-01-01"}) == StartWorkflow("daily", {"date": "2024-01-01"})
    assert workflow.execute(definition_id="abc") == StartWorkflow(None, {}, "abc")


def test_a_child_workflow_without_a_name_is_refused() -> None:
    with pytest.raises(TaskError, match="needs a workflow_name or a definition_id"):
        workflow.execute()
    with pytest.raises(TaskError, match="takes a mapping as inputs, not str"):
        workflow.execute("daily", inputs="x")  # type: ignore[arg-type]


def test_the_branches_of_a_parallel_operator_are_asked_for() -> None:
    assert workflow.wait_for_parallel_branches({"a": 1}) == ReadBranches({"a": 1}, None)
    assert workflow.wait_for_parallel_branches({}, timeout_seconds=300).timeout == timedelta(minutes=5)


@pytest.mark.parametrize("seconds", [0, -1, "PT5S", True])
def test_a_timeout_that_is_no_time_is_refused(seconds: Any) -> None:
    with pytest.raises(TaskError, match="timeout_seconds must be a number above zero"):
        workflow.wait_for_parallel_branches({}, timeout_seconds=seconds)


def test_a_payment_without_a_gateway_is_marked_simulated(attempt: ToolContext) -> None:
    assert pay("exp-1", 12.5) == {"status": "paid", "transaction_id": "txn_abc123", "simulated": True}


def test_mail_without_a_server_is_logged_with_the_way_out(
    caplog: pytest.LogCaptureFixture, attempt: ToolContext
) -> None:
    with caplog.at_level(logging.INFO):
        answer = email.send("a@example.org, b@example.org", "Two\nlines", "secret body")
    assert answer == {"to": ["a@example.org", "b@example.org"], "subject": "Two lines", "sent": False}
    assert "HIGHWAY_SMTP_HOST is not set" in caplog.text
    assert "secret body" not in caplog.text


def test_the_seeds_notifications_say_who_and_what(caplog: pytest.LogCaptureFixture, attempt: ToolContext) -> None:
    with caplog.at_level(logging.INFO):
        email.send_approved_notification("e@example.org")
        email.send_denied_notification("e@example.org")
        email.escalate_finance_queue("exp-1", "Overdue approval")
    said = [record.getMessage().partition(" (")[0] for record in caplog.records]
    assert said == [
        "Mail to e@example.org: Your expense report was approved.",
        "Mail to e@example.org: Your expense report was denied.",
        "Mail to finance_queue@company.com: Overdue Report exp-1. Reason: Overdue approval",
    ]


@pytest.mark.parametrize("to", ["", "nobody", "@example.org", "a@", "a@example.org\nBcc: b@example.org", []])
def test_what_is_no_mail_address_is_refused(attempt: ToolContext, to: Any) -> None:
    with pytest.raises(TaskError, match="mail"):
        email.send(to, "subject", "body")
