"""``cli.py run`` on a terminal: progress that is redrawn in place, and nothing of it left when the run is over."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from select import select
from time import monotonic

import pytest

from tests.command_line import CLI, EXAMPLES, CommandLine, workflow

_LOG_IN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
WAITS = workflow(
    "bad: {function: tools.command.run, args: ['false']}",
    "hold: {function: tools.command.run, args: [sh, -c, 'while [ ! -e gate ]; do sleep 0.01; done']}",
    "pause: {operator_type: wait, wait_for: PT1H}",
    "speak: {function: speaks, dependencies: [hold]}",
    "end: {operator_type: terminate, status: completed, dependencies: [speak]}",
)


class Terminal:
    """A command on a pseudo-terminal of its own, where Ctrl-C reaches it."""

    def __init__(self, command_line: CommandLine, *arguments: str) -> None:
        self.text = ""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOG_IN, sys.executable, str(CLI), *arguments],
            cwd=command_line.folder,
            env=command_line.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)

    def read_until(self, condition: Callable[[str], object], within: float = 30) -> bool:
        """Read until ``condition(text)`` holds; False at the end of the command, or after so many seconds."""
        deadline = monotonic() + within
        while not condition(self.text):
            if not select([self._screen], [], [], max(0.0, deadline - monotonic()))[0] or not self._read():
                return False
        return True

    def press(self, key: str) -> None:
        os.write(self._screen, key.encode())

    def finish(self) -> int:
        """Read to the end; the exit code."""
        self.read_until(lambda _: False)
        return self.process.wait(30)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def _read(self) -> bool:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the command has closed the terminal
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def on_terminal(highway: CommandLine) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(highway, *arguments))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def waiting(highway: CommandLine) -> str:
    highway.tools("@tool('speaks')\ndef speaks():\n    print('heard above the display')\n")
    return highway.write("flow.yaml", WAITS)


def screen(text: str) -> list[str]:
    """What is left on the screen after ``text``, lines that were erased excepted."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[(?:\?25[lh]|[0-9;]*[A-Za-z])|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece.startswith("\x1b") and piece.endswith("A"):
            row = max(0, row - int(piece[2:-1] or 1))
        elif not piece.startswith("\x1b") and piece != "\r":
            lines[row] += piece
    return lines


def test_progress_shows_what_is_done_what_goes_on_and_what_failed(
    highway: CommandLine, on_terminal: Callable[..., Terminal], waiting: str
) -> None:
    terminal = on_terminal("run", waiting, "--run-id", "r")
    assert terminal.read_until(lambda text: "1 of 5 tasks" in text and "✗ bad: Command failed" in text)
    assert re.search(r"━{6}─{24} 1 of 5 tasks, \d+\.\d\d s", terminal.text)
    assert terminal.read_until(lambda text: re.search(r"… hold \d+\.\d\d s", text))
    assert terminal.read_until(lambda text: re.search(r"… pause waits 59 m \d\d s", text))
    highway.write("gate", "")

    assert terminal.finish() == 0
    assert terminal.text.count(HIDE) == terminal.text.count(SHOW) == 1
    left = screen(terminal.text)
    assert not any("of 5 tasks" in line for line in left)
    assert left.count("heard above the display") == 1
    verdict = left.index("✅ LOCAL Workflow completed successfully!")
    assert left[verdict - 1] == "-" * 50
    assert any(line.startswith("   bad    failed") for line in left[verdict:])


def test_a_run_that_is_over_at_once_draws_nothing(on_terminal: Callable[..., Terminal]) -> None:
    terminal = on_terminal("run", str(EXAMPLES / "hello.yaml"))

    assert terminal.finish() == 0
    assert "✅ LOCAL Workflow completed successfully!" in terminal.text
    assert HIDE not in terminal.text


def test_json_is_not_drawn_over(on_terminal: Callable[..., Terminal], waiting: str, highway: CommandLine) -> None:
    highway.write("gate", "")
    terminal = on_terminal("run", waiting, "--json")

    assert terminal.finish() == 0
    assert "\x1b" not in terminal.text


def test_ctrl_c_takes_the_display_away_and_says_how_to_resume(
    highway: CommandLine, on_terminal: Callable[..., Terminal], waiting: str
) -> None:
    terminal = on_terminal("run", waiting, "--run-id", "r")
    assert terminal.read_until(lambda text: "of 5 tasks" in text)
    terminal.press("\x03")

    assert terminal.finish() == 130
    left = screen(terminal.text)
    assert "❌ LOCAL Workflow interrupted by SIGINT." in left
    assert any(line.endswith("run flow.yaml --run-id r") for line in left)
    assert terminal.text.rindex(SHOW) > terminal.text.rindex(HIDE)
    assert highway.runs() == [("r", "cancelled")]


def test_a_second_ctrl_c_gives_the_cursor_back(highway: CommandLine, on_terminal: Callable[..., Terminal]) -> None:
    highway.tools(
        "import time\n"
        "@tool('deaf')\n"
        "def deaf():\n"
        "    while True:\n"
        "        try:\n"
        "            time.sleep(60)\n"
        "        except KeyboardInterrupt:\n"
        "            print('what?', flush=True)\n"
    )
    terminal = on_terminal("run", highway.write("flow.yaml", workflow("a: {function: deaf}")))
    assert terminal.read_until(lambda text: HIDE in text)
    terminal.press("\x03")
    assert terminal.read_until(lambda text: "what?" in text)
    terminal.press("\x03")

    assert terminal.finish() == 130
    assert terminal.text.rindex(SHOW) > terminal.text.rindex(HIDE)
