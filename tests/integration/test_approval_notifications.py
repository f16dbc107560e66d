"""Somebody is told that a decision is waited for: through a webhook, by mail or in the log, at least once."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from highway_core.config import Settings, SmtpSettings
from highway_core.services.notifications import Notifier
from tests.approvals import KEY, MANAGER, PROMPT, Office, an_office
from tests.hostile_server import Server as HttpServer
from tests.hostile_server import running_server
from tests.mail_server import MailServer, mail_server

SETTINGS = Settings(secret_key=KEY.decode(), public_url="https://highway.example")
LINK = "https://highway.example/workflow/resume?token="


@pytest.fixture
def office(postgres_url: str) -> Iterator[Office]:
    with an_office(postgres_url) as office:
        yield office


@pytest.fixture
def http() -> Iterator[HttpServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def by_mail(server: MailServer) -> Settings:
    smtp = SmtpSettings("127.0.0.1", server.port, "", "", "highway@company.com", starttls=False)
    return replace(SETTINGS, smtp=smtp)


def waiting(office: Office) -> list[str]:
    """Approvals that nobody has been told of."""
    return [row[0] for row in office.sql("SELECT approval_id FROM approvals WHERE notified_at IS NULL")]


def test_the_assignee_gets_a_mail_with_the_link(office: Office, mail: MailServer) -> None:
    asked = office.ask()
    assert Notifier(by_mail(mail), office.pool).notify_new([asked.approval_id]) == 1
    letter = mail.letter()
    assert (letter["To"], letter["From"]) == (MANAGER, "highway@company.com")
    assert letter["Subject"] == f"Decision needed: {PROMPT}"
    text = letter.get_content()
    for part in (PROMPT, LINK + asked.token, "expense_report_approval", "run-1", "request_manager_approval"):
        assert part in text
    assert waiting(office) == []


def test_a_second_letter_of_the_same_approval_has_the_same_id(office: Office, mail: MailServer) -> None:
    asked = office.ask()
    notifier = Notifier(by_mail(mail), office.pool)
    notifier.notify_new([asked.approval_id])
    office.sql("UPDATE approvals SET notified_at = NULL, notify_after = now()")
    notifier.notify_pending()
    first, second = mail.letter(0), mail.letter(1)
    assert first["Message-ID"] == second["Message-ID"]
    assert first.get_content() == second.get_content()


def test_nothing_that_people_wrote_gets_into_the_headers(office: Office, mail: MailServer) -> None:
    asked = office.ask(prompt="Really?\r\nBcc: evil@example.org\n\nYes " + "x" * 500)
    Notifier(by_mail(mail), office.pool).notify_new([asked.approval_id])
    letter = mail.letter()
    assert letter["Bcc"] is None
    assert letter["Subject"].startswith("Decision needed: Really? Bcc: evil@example.org Yes xxx")
    assert len(letter["Subject"]) == 120


def test_a_webhook_is_told_and_can_check_who_tells(office: Office, http: HttpServer) -> None:
    environ = {"HIGHWAY_SECRET_WEBHOOK_SIGNING_KEY": "shared"}
    settings = replace(SETTINGS, notify_webhook=http.answers("/hook", status="204 No Content"), environ=environ)
    asked = office.ask(seconds=60)
    assert Notifier(settings, office.pool).notify_new([asked.approval_id]) == 1
    (told,) = http.received
    event = json.loads(told.body)
    assert (event["event"], event["link"]) == ("approval.requested", LINK + asked.token)
    assert (event["workflow_id"], event["assignee"], event["prompt"]) == ("run-1", MANAGER, PROMPT)
    headers = {name.lower(): value for name, value in told.headers.items()}
    moment, _, given = headers["x-highway-signature"].removeprefix("t=").partition(",v1=")
    expected = hmac.new(b"shared", f"{moment}.".encode() + told.body, hashlib.sha256).hexdigest()
    assert given == expected
    assert headers["x-highway-delivery"] == asked.approval_id


@pytest.mark.parametrize("links", [True, False])
def test_without_mail_or_webhook_it_is_logged_and_the_token_only_if_asked_for(
    office: Office, caplog: pytest.LogCaptureFixture, links: bool
) -> None:
    asked = office.ask()
    with caplog.at_level(logging.DEBUG):
        assert Notifier(replace(SETTINGS, log_links=links), office.pool).notify_new([asked.approval_id]) == 1
    start = f"Approval of run 'run-1' task 'request_manager_approval' waits for {MANAGER}"
    if links:
        assert f"{start}: {LINK}{asked.token}" in caplog.messages
    else:
        assert any(line.startswith(f"{start}. ") for line in caplog.messages)
        assert asked.token not in caplog.text + str([vars(one) for one in caplog.records])
    assert waiting(office) == []


def test_the_link_stands_in_no_log_where_it_was_mailed_or_posted(
    office: Office, mail: MailServer, http: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    echo = http.answers("/hook", b"no", status="500 Oops")
    with caplog.at_level(logging.DEBUG, "highway_core"):
        for settings in (by_mail(mail), replace(SETTINGS, notify_webhook=echo + "?key=hidden")):
            asked = office.ask(task_id=f"ask_{settings.smtp is None}")
            Notifier(settings, office.pool).notify_new([asked.approval_id])
            assert asked.token not in caplog.text
    assert "500 Oops" in caplog.text
    assert "hidden" not in caplog.text


def test_an_assignee_without_an_address_is_named_in_the_log(
    office: Office, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked = office.ask(assignee="the boss\nApproval of run 'x'")
    with caplog.at_level(logging.INFO):
        assert Notifier(by_mail(mail), office.pool).notify_new([asked.approval_id]) == 1
    assert mail.letters == []
    assert "waits for the boss Approval of run 'x'. " in caplog.text


def test_links_begin_at_the_api_unless_another_address_is_given(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    for host, base in (("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("box", "box")):
        asked = office.ask(task_id=host)
        settings = Settings(secret_key=KEY.decode(), log_links=True, api_host=host, api_port=7000)
        with caplog.at_level(logging.INFO):
            Notifier(settings, office.pool).notify_new([asked.approval_id])
        assert f": http://{base}:7000/workflow/resume?token={asked.token}" in caplog.text


def test_the_sweep_leaves_alone_what_is_new_told_decided_late_or_over(office: Office) -> None:
    notifier = Notifier(SETTINGS, office.pool)
    office.ask("run-1", "new")
    told = office.ask("run-1", "told", notify_in=-1)
    notifier.notify_new([told.approval_id])
    decided = office.ask("run-1", "decided", notify_in=-1)
    office.store.decide(decided.approval_id, "APPROVED", by="a", via="api")
    office.ask("run-1", "late", notify_in=-1, seconds=-1)
    office.ask("run-2", "over", notify_in=-1)
    office.end_run("run-2")
    assert notifier.notify_pending() == 0
    forgotten = office.ask("run-1", "forgotten", notify_in=-1)
    assert notifier.notify_pending() == 1
    assert forgotten.approval_id not in waiting(office)


def test_what_cannot_be_told_is_told_later_and_later(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(SETTINGS, notify_webhook="http://127.0.0.1:9/nobody")
    asked = office.ask(notify_in=-1)
    notifier = Notifier(settings, office.pool)
    assert notifier.notify_pending() == 0
    assert "could not be told of" in caplog.text
    assert notifier.notify_pending() == 0
    assert waiting(office) == [asked.approval_id]
    wait = "SELECT extract(epoch FROM notify_after - clock_timestamp()) FROM approvals"
    assert 55 < office.sql(wait)[0][0] <= 60
    office.sql("UPDATE approvals SET created_at = now() - interval '20 minutes', notify_after = now()")
    notifier.notify_pending()
    assert 590 < office.sql(wait)[0][0] < 601
    office.sql("UPDATE approvals SET notify_after = now()")
    assert Notifier(SETTINGS, office.pool).notify_pending() == 1


def test_a_receiver_that_is_down_is_not_asked_for_every_approval(office: Office, http: HttpServer) -> None:
    for number in range(10):
        office.ask(task_id=f"ask_{number}", notify_in=-1)
    settings = replace(SETTINGS, notify_webhook=http.answers("/hook", status="503 Busy"))
    assert Notifier(settings, office.pool).notify_pending() == 0
    assert len(http.received) == 3


def test_a_link_is_not_sent_where_it_would_not_work(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.ask(notify_in=-1)
    settings = replace(SETTINGS, secret_key="the key of another host, alas", log_links=True)
    assert Notifier(settings, office.pool).notify_pending() == 0
    assert "HIGHWAY_SECRET_KEY" in caplog.text
    assert "token=" not in caplog.text


def test_of_several_services_one_tells(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(60):
        office.ask(task_id=f"ask_{number}", notify_in=-1)
    start = threading.Barrier(3)

    def sweep(_: int) -> int:
        notifier, told = Notifier(SETTINGS, office.pool), 0
        start.wait(timeout=10)
        while amount := notifier.notify_pending(limit=7):
            told += amount
        return told

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(sweep, range(3))) == 60
    lines = [line for line in caplog.messages if line.startswith("Approval of run")]
    assert len(lines) == len(set(lines)) == 60
