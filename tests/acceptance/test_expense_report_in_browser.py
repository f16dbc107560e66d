"""The expense report, by real services and in a real browser: approved as the README says, denied, and left lying."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.browser import Browser, chromium
from tests.acceptance.services import Service, Services
from tests.command_line import CLI, EXAMPLES
from tests.documentation import text_of

QUESTION = "Approve expense report exp-test-123 for $500?"
LINK = r"http://\S+/workflow/resume\?token=\S+"
PAID = {"run_payment", "notify_employee_approved"}
WAYS = {"run_payment", "notify_employee_approved", "escalate_to_finance", "notify_employee_denied"}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """One that runs no scripts: the page needs none."""
    folder = tmp_path / "browser"
    folder.mkdir()
    with chromium(folder, scripts=False) as window:
        yield window


def quick_start() -> list[str]:
    """The commands of the README's durable quick start, one by one."""
    section = text_of("README.md").partition("\n## Durable quick start\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line.partition("   #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def spoken(command: str) -> tuple[dict[str, str], list[str]]:
    """A command's variables and its arguments behind ``python cli.py durable``, files where they are here."""
    words = shlex.split(command)
    environ = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    python, program, group, *arguments = words[len(environ) :]
    assert (python, program, group) == ("python", "cli.py", "durable"), command
    return environ, [str(CLI.parent / word) if word.startswith("examples/") else word for word in arguments]


def expense_report(services: Services, patience: str = "days=3") -> str:
    """Submit it, and the id of the run."""
    text = (EXAMPLES / "expense_report.py").read_text(encoding="utf-8")
    assert "timeout=timedelta(days=3)" in text
    text = text.replace("timeout=timedelta(days=3)", f"timeout=timedelta({patience})")
    done = services.cli("submit", services.command_line.write("expense_report.py", text), "--json")
    assert done.code == 0, done.err
    return str(done.json["workflow_id"])


def link_of(everything: Service) -> str:
    return everything.says(LINK)[0]


def happened(services: Services, run_id: str) -> list[str]:
    """The tasks that were completed, in order."""
    done = services.cli("history", run_id, "--json")
    return [event["task_id"] for event in done.json if event["kind"] == "task.completed"]


def ended_by(services: Services, run_id: str, taken: set[str]) -> None:
    """The run went ``taken`` of the four ways and closed the report last."""
    assert services.is_over(run_id) == "completed"
    tasks = services.tasks(run_id)
    assert {name: tasks[name] for name in WAYS} == {name: "completed" if name in taken else "skipped" for name in WAYS}
    order = happened(services, run_id)
    assert order[-1] == "close_report"
    assert taken <= set(order)


def test_the_quick_start_of_the_readme_word_for_word(embedded_services: Services, browser: Browser) -> None:
    services = embedded_services
    install, start, submit, status, follow, history = quick_start()
    assert install == "pip install '.[embedded]'"
    environ, arguments = spoken(start)
    everything = services.start(*arguments, **environ).ready()
    _, arguments = spoken(submit)
    run_id = arguments[arguments.index("--run-id") + 1]
    assert services.cli(*arguments).code == 0
    link = link_of(everything)
    assert link.startswith(services.url)
    assert "WAITING_FOR_EVENT" in services.cli(*spoken(status)[1]).out
    follower = services.command_line.start("durable", *spoken(follow)[1])

    browser.open(link)
    browser.sees(QUESTION)
    for words in ("expense_report_approval", "manager@company.com", "api.payment_gateway.pay"):
        assert words in browser.text
    assert browser.buttons() == ["Approve", "Deny"]
    assert services.tasks(run_id)["request_manager_approval"] == "WAITING_FOR_EVENT", "opening the page decided"
    browser.write("comment", "Have a good trip <b>home</b>")
    browser.click("Approve")
    browser.sees("APPROVED")
    assert "Have a good trip <b>home</b>" in browser.text
    assert "token" not in browser.address

    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, err.decode()
    assert "completed successfully" in out.decode()
    ended_by(services, run_id, PAID)
    told = services.cli(*spoken(history)[1])
    assert told.code == 0
    assert re.search(r"task\.completed +request_manager_approval", told.out)
    assert everything.stop() == 0
    assert not [pid for pid in services.left_behind() if "chrom" not in Path(f"/proc/{pid}/comm").read_text()]


def test_deny_tells_the_employee_and_pays_nothing(services: Services, browser: Browser) -> None:
    everything = services.all(HIGHWAY_LOG_LINKS="1").ready()
    run_id = expense_report(services)
    browser.open(link_of(everything))
    browser.click("Deny")
    browser.sees("DENIED")
    ended_by(services, run_id, {"notify_employee_denied"})


def test_a_decision_that_was_taken_is_shown_and_cannot_be_taken_again(services: Services, browser: Browser) -> None:
    everything = services.all(HIGHWAY_LOG_LINKS="1").ready()
    run_id = expense_report(services)
    link = link_of(everything)
    browser.open(link)
    (approval,) = services.cli("approvals", "--json").json
    decided = services.cli("resume", "--approval", approval["key"], "--decision", "DENIED", "--comment", "too much")
    assert decided.code == 0, decided.err
    browser.click("Approve")
    browser.sees("DENIED")
    assert "too much" in browser.text
    browser.open(link)
    browser.sees("DENIED")
    assert browser.buttons() == []
    ended_by(services, run_id, {"notify_employee_denied"})


def test_nobody_answers_and_finance_takes_over(services: Services, browser: Browser) -> None:
    everything = services.all(HIGHWAY_LOG_LINKS="1").ready()
    run_id = expense_report(services, patience="seconds=2")
    link = link_of(everything)
    ended_by(services, run_id, {"escalate_to_finance"})
    browser.open(link)
    assert browser.buttons() == []
    refused = services.cli("resume", "--token", link.rpartition("=")[2], "--decision", "APPROVED")
    assert refused.code == 1
    ended_by(services, run_id, {"escalate_to_finance"})
