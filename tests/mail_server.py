"""An SMTP server of one's own for tests: enough of the protocol to take a letter."""

from __future__ import annotations

import email as mail
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage


class Session(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a letter."""

    server: MailServer

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


class MailServer(socketserver.ThreadingTCPServer):
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


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
