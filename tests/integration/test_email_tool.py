"""``email.*`` against a real SMTP server on the loopback interface."""

from __future__ import annotations

import base64
import email.policy
import logging
from collections.abc import Callable, Iterator

import pytest

from highway_core.config import Settings, SmtpSettings
from highway_core.errors import TaskError
from highway_core.tools import email
from highway_core.tools.context import ToolContext, enter_context
from highway_core.utils.stopping import StopScope
from tests.mail_server import MailServer, mail_server


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


Enter = Callable[..., None]


@pytest.fixture
def attempt(server: MailServer) -> Iterator[Enter]:
    """Enter an attempt whose settings name the server."""

    def enter(user: str = "", password: str = "", port: int | None = None, finance: str = "", key: str = "") -> None:
        smtp = SmtpSettings("127.0.0.1", port or server.port, user, password, "highway@example.org", starttls=False)
        settings = Settings(smtp=smtp, finance_email=finance or None)
        state = type("State", (), {"memory": {}, "variables": {}, "results": {}})()
        enter_context(ToolContext("run", "w", "t", 1, settings, StopScope(), state, idempotency_key=key))

    yield enter
    enter_context(None)


def test_a_letter_arrives_as_it_was_written(server: MailServer, attempt: Enter) -> None:
    attempt()
    answer = email.send(["a@example.org", "b@example.org"], "Größe", "Guten Tag,\n\nalles gut.\n")
    assert answer == {"to": ["a@example.org", "b@example.org"], "subject": "Größe", "sent": True}
    letter = server.letter()
    assert (letter["From"], letter["To"]) == ("highway@example.org", "a@example.org, b@example.org")
    assert letter["Subject"] == "Größe"
    assert letter.get_content().splitlines() == ["Guten Tag,", "", "alles gut."]
    assert [line for line in server.lines if line.startswith("rcpt")] == [
        "rcpt TO:<a@example.org>",
        "rcpt TO:<b@example.org>",
    ]


def test_the_seeds_notifications_are_really_sent(server: MailServer, attempt: Enter) -> None:
    attempt(finance="finance@example.org")
    assert email.send_approved_notification("e@example.org") is None  # type: ignore[func-returns-value]
    email.send_denied_notification("e@example.org")
    email.escalate_finance_queue("exp-1", "Overdue approval")
    assert [(server.letter(n)["To"], server.letter(n)["Subject"]) for n in range(3)] == [
        ("e@example.org", "Your expense report was approved."),
        ("e@example.org", "Your expense report was denied."),
        ("finance@example.org", "Overdue Report exp-1. Reason: Overdue approval"),
    ]


def test_real_mail_never_goes_to_the_seeds_example_address(server: MailServer, attempt: Enter) -> None:
    attempt()
    with pytest.raises(TaskError, match="HIGHWAY_FINANCE_EMAIL is not: set it"):
        email.escalate_finance_queue("exp-1", "Overdue approval")
    assert server.letters == []


def test_another_attempt_of_the_same_task_sends_the_same_message_id(server: MailServer, attempt: Enter) -> None:
    attempt(key="run/t")
    for to in ("a@example.org", "a@example.org", "b@example.org"):
        email.send(to, "Hello", "body")
    attempt(key="run/other")
    email.send("a@example.org", "Hello", "body")
    first, again, to_another, other_task = (server.letter(n)["Message-ID"] for n in range(4))
    assert first == again
    assert len({first, to_another, other_task}) == 3


def test_a_user_logs_in(server: MailServer, attempt: Enter) -> None:
    attempt(user="me", password="s3cret")
    email.send("a@example.org", "Hello", "body")
    login = base64.b64encode(b"\0me\0s3cret").decode()
    assert f"AUTH PLAIN {login}" in server.lines


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("AUTH", "535 no such user", "535 no such user"),
        ("RCPT", "550 no mailbox here", "refused every recipient (a@example.org: 550 no mailbox here)"),
        ("MAIL", "451 come back later", "451 come back later"),
    ],
)
def test_a_refusal_fails_in_the_servers_words_and_without_the_password(
    server: MailServer, attempt: Enter, verb: str, answer: str, said: str
) -> None:
    server.answers[verb] = answer
    attempt(user="me", password="s3cret")
    with pytest.raises(TaskError) as caught:
        email.send("a@example.org", "Hello", "body")
    assert str(caught.value) == f"Mail server 127.0.0.1:{server.port}: {said}"
    assert server.letters == []


def test_no_server_at_the_address_is_a_task_error(server: MailServer, attempt: Enter) -> None:
    with MailServer() as closed:
        port = closed.port
    attempt(port=port)
    with pytest.raises(TaskError, match=f"Mail server 127.0.0.1:{port}: "):
        email.send("a@example.org", "Hello", "body")


def test_a_line_break_cannot_smuggle_in_a_header(server: MailServer, attempt: Enter) -> None:
    attempt()
    email.send("a@example.org", "Hello\r\nBcc: evil@example.org", "body")
    assert server.letter()["Bcc"] is None
    assert server.letter()["Subject"] == "Hello Bcc: evil@example.org"


def test_sending_logs_no_text_of_the_letter(
    server: MailServer, attempt: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    attempt()
    with caplog.at_level(logging.DEBUG):
        email.send("a@example.org", "Hello", "the secret body")
    assert server.letters
    assert "secret" not in caplog.text
