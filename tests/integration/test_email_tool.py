"""``email.*`` against a real SMTP server on the loopback interface."""

from __future__ import annotations

import base64
import email as mail
import email.policy
import logging
import socketserver
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

from highway_core.config import Settings, SmtpSettings
from highway_core.errors import TaskError
from highway_core.tools import email
from highway_core.tools.context import ToolContext, enter_context
from highway_core.utils.stopping import StopScope


class Session(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a letter."""

    server: Server

    def handle(self) -> None:
        self.say("220 ready")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            self.server.lines.append(line)
            if verb == "DATA":
                self.say("354 go on")
                self.server.letters.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.say("250 taken")
            elif verb == "EHLO":
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            else:
                self.say(self.server.answers.get(verb, "250 ok"))
            if verb == "QUIT":
                return

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.lines: list[str] = []
        self.letters: list[bytes] = []
        self.answers = {"AUTH": "235 welcome", "QUIT": "221 bye", "RSET": "250 ok"}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def letter(self, number: int = -1) -> EmailMessage:
        return mail.message_from_bytes(self.letters[number], _class=EmailMessage, policy=mail.policy.default)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


Enter = Callable[..., None]


@pytest.fixture
def attempt(server: Server) -> Iterator[Enter]:
    """Enter an attempt whose settings name the server."""

    def enter(user: str = "", password: str = "", port: int | None = None, finance: str = "", key: str = "") -> None:
        smtp = SmtpSettings("127.0.0.1", port or server.port, user, password, "highway@example.org", starttls=False)
        settings = Settings(smtp=smtp, finance_email=finance or None)
        state = type("State", (), {"memory": {}, "variables": {}, "results": {}})()
        enter_context(ToolContext("run", "w", "t", 1, settings, StopScope(), state, idempotency_key=key))

    yield enter
    enter_context(None)


def test_a_letter_arrives_as_it_was_written(server: Server, attempt: Enter) -> None:
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


def test_the_seeds_notifications_are_really_sent(server: Server, attempt: Enter) -> None:
    attempt(finance="finance@example.org")
    assert email.send_approved_notification("e@example.org") is None  # type: ignore[func-returns-value]
    email.send_denied_notification("e@example.org")
    email.escalate_finance_queue("exp-1", "Overdue approval")
    assert [(server.letter(n)["To"], server.letter(n)["Subject"]) for n in range(3)] == [
        ("e@example.org", "Your expense report was approved."),
        ("e@example.org", "Your expense report was denied."),
        ("finance@example.org", "Overdue Report exp-1. Reason: Overdue approval"),
    ]


def test_real_mail_never_goes_to_the_seeds_example_address(server: Server, attempt: Enter) -> None:
    attempt()
    with pytest.raises(TaskError, match="HIGHWAY_FINANCE_EMAIL is not: set it"):
        email.escalate_finance_queue("exp-1", "Overdue approval")
    assert server.letters == []


def test_another_attempt_of_the_same_task_sends_the_same_message_id(server: Server, attempt: Enter) -> None:
    attempt(key="run/t")
    for to in ("a@example.org", "a@example.org", "b@example.org"):
        email.send(to, "Hello", "body")
    attempt(key="run/other")
    email.send("a@example.org", "Hello", "body")
    first, again, to_another, other_task = (server.letter(n)["Message-ID"] for n in range(4))
    assert first == again
    assert len({first, to_another, other_task}) == 3


def test_a_user_logs_in(server: Server, attempt: Enter) -> None:
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
    server: Server, attempt: Enter, verb: str, answer: str, said: str
) -> None:
    server.answers[verb] = answer
    attempt(user="me", password="s3cret")
    with pytest.raises(TaskError) as caught:
        email.send("a@example.org", "Hello", "body")
    assert str(caught.value) == f"Mail server 127.0.0.1:{server.port}: {said}"
    assert server.letters == []


def test_no_server_at_the_address_is_a_task_error(server: Server, attempt: Enter) -> None:
    with Server() as closed:
        port = closed.port
    attempt(port=port)
    with pytest.raises(TaskError, match=f"Mail server 127.0.0.1:{port}: "):
        email.send("a@example.org", "Hello", "body")


def test_a_line_break_cannot_smuggle_in_a_header(server: Server, attempt: Enter) -> None:
    attempt()
    email.send("a@example.org", "Hello\r\nBcc: evil@example.org", "body")
    assert server.letter()["Bcc"] is None
    assert server.letter()["Subject"] == "Hello Bcc: evil@example.org"


def test_sending_logs_no_text_of_the_letter(server: Server, attempt: Enter, caplog: pytest.LogCaptureFixture) -> None:
    attempt()
    with caplog.at_level(logging.DEBUG):
        email.send("a@example.org", "Hello", "the secret body")
    assert server.letters
    assert "secret" not in caplog.text
