"""``tools.command.run`` and ``tools.shell.run``: what they give back, how they fail, and that nothing outlives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from highway_core.errors import OutputLimitError, TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.tools import command, shell
from highway_core.utils.stopping import StopScope
from tests.tool_context import context_with, inside, settings_with
from tests.waiting import eventually, runs


@pytest.fixture(autouse=True)
def attempt() -> Iterator[None]:
    with inside(context_with(settings_with(environ={"HIGHWAY_SECRET_DB": "s3cret", "COLOUR": "blue"}))):
        yield


def pid_in(path: Path) -> int:
    assert eventually(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_a_command_gives_its_output_without_the_blanks_at_its_end() -> None:
    assert command.run("printf '  two  words \\n\\n'") == "  two  words"


def test_one_string_is_split_as_a_shell_would_and_nothing_else_is_special() -> None:
    assert command.run("printf '%s|' a 'b c' \"d e\" f\\ g $HOME '*' >x ; ls") == "a|b c|d e|f g|$HOME|*|>x|;|ls|"


def test_several_words_are_the_program_and_its_arguments() -> None:
    assert command.run("printf", "%s|", "a b", "'c'", 5) == "a b|'c'|5|"  # type: ignore[arg-type]


def test_a_command_that_fails_says_its_code_and_its_stderr() -> None:
    with pytest.raises(RuntimeError) as failed:
        command.run("sh", "-c", "echo out; echo broken pipe >&2; exit 7")
    assert str(failed.value) == "Command failed with exit code 7: broken pipe"


def test_only_the_end_of_a_long_stderr_is_told() -> None:
    with pytest.raises(RuntimeError) as failed:
        command.run("sh", "-c", "yes spam | head -c 100000 >&2; echo the reason >&2; exit 1")
    assert str(failed.value).endswith("the reason")
    assert len(str(failed.value)) < 3_000


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["no-such-program-anywhere --help"], "there is no program 'no-such-program-anywhere' on PATH"),
        (["/nowhere/tool"], "there is no program '/nowhere/tool'"),
        (["/etc/passwd"], "'/etc/passwd' may not be executed"),
        (["echo 'unbalanced"], "No closing quotation"),
        ([""], "the command is empty"),
        (["   "], "the command is empty"),
        ([], "the command is empty"),
        (["echo", "a\0b"], "null byte"),
    ],
)
def test_a_command_that_cannot_be_started_names_what_is_missing(words: list[str], reason: str) -> None:
    with pytest.raises(RuntimeError, match=r"^Command execution failed: ") as failed:
        command.run(*words)
    assert reason in str(failed.value)


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(RuntimeError, match=r"Command execution failed: .*longer than 0.5 s"):
        command.run("sh", "-c", f"sleep 300 & echo $! > {pid}; wait", timeout=0.5)
    assert not runs(pid_in(pid))


def test_a_command_that_prints_without_end_is_killed() -> None:
    with (
        inside(context_with(settings_with(max_output_bytes=100_000))),
        pytest.raises(RuntimeError, match="HIGHWAY_MAX_OUTPUT_BYTES"),
    ):
        command.run("yes")


def test_a_shell_task_gives_stdout_stderr_and_returncode() -> None:
    assert shell.run("printf a | tr a b; echo c >&2") == {"stdout": "b", "stderr": "c\n", "returncode": 0}


def test_a_shell_task_that_fails_tells_the_end_of_stderr() -> None:
    with pytest.raises(TaskError, match=r"^Command failed with exit code 3: no space left$"):
        shell.run("echo no space left >&2; exit 3")


def test_a_shell_task_that_fails_in_silence_tells_the_end_of_stdout() -> None:
    with pytest.raises(TaskError, match=r"^Command failed with exit code 1: 2 tests failed$"):
        shell.run("echo 2 tests failed; exit 1")


def test_a_shell_task_takes_a_folder_and_variables(tmp_path: Path) -> None:
    hostile = '"; touch canary; $(touch canary)'
    result = shell.run('pwd; printf %s "$NAME$COUNT$COLOUR"', cwd=str(tmp_path), env={"NAME": hostile, "COUNT": 3})
    assert result["stdout"] == f"{tmp_path}\n{hostile}3blue"
    assert list(tmp_path.iterdir()) == []


def test_a_program_does_not_see_highways_own_secrets() -> None:
    assert "s3cret" not in shell.run("env")["stdout"]


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(TaskError, match="/nowhere"):
        shell.run("pwd", cwd="/nowhere")


@pytest.mark.parametrize("line", ["", "  ", None, ["ls"]])
def test_a_shell_task_without_a_command_line_fails(line: object) -> None:
    with pytest.raises(TaskError, match="needs a command line"):
        shell.run(line)  # type: ignore[arg-type]


def test_a_shell_task_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(TaskTimeoutError):
        shell.run(f"(trap '' TERM; sleep 300) & echo $! > {pid}; wait", timeout=0.5)
    assert not runs(pid_in(pid))


def test_what_a_shell_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    started = time.monotonic()
    shell.run(f"sleep 300 & echo $! > {pid}")
    assert eventually(lambda: not runs(pid_in(pid)))
    assert time.monotonic() - started < 20


def test_a_gigabyte_of_output_fails_the_task_and_is_not_kept() -> None:
    with pytest.raises(OutputLimitError, match="printed more than 10,485,760 bytes"):
        shell.run("head -c 1000000000 /dev/zero; echo done > /dev/null")


def test_stopping_the_attempt_kills_the_process_tree(tmp_path: Path) -> None:
    stop, pid = StopScope(), tmp_path / "pid"
    stopper = threading.Thread(target=lambda: (pid_in(pid), stop.stop("cancelled by the user")))
    stopper.start()
    with inside(context_with(stop=stop)), pytest.raises(TaskStoppedError, match="cancelled by the user"):
        shell.run(f"setsid sleep 300 & echo $! > {pid}; wait")
    stopper.join()
    assert not runs(pid_in(pid))


def test_nothing_of_a_program_appears_on_our_own_output(capfd: pytest.CaptureFixture[str]) -> None:
    shell.run("echo out; echo err >&2")
    command.run("echo out")
    assert capfd.readouterr() == ("", "")
