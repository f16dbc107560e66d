"""A tool with a killing timeout runs in a process of its own, and nobody can tell, but for the killing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tests.child_tools
from highway_core.config import SmtpSettings
from highway_core.engine.executors.base import Work
from highway_core.engine.executors.local_python import LocalPythonExecutor
from highway_core.engine.task_runner import error_text
from highway_core.errors import (
    OutputLimitError,
    PermanentTaskError,
    ResultError,
    TaskError,
    TaskStoppedError,
    TaskTimeoutError,
    ToolNotFoundError,
)
from highway_core.tools.context import AwaitApproval, ReadBranches, ToolContext
from highway_core.tools.decorators import TOOL_INFO, TOOL_REGISTRY, tool
from highway_core.utils.json_values import to_storable
from highway_core.utils.stopping import StopScope
from tests.execution import execution_of
from tests.tool_context import State, context_with, settings_with
from tests.waiting import eventually, running_with

ROOT = Path(__file__).parents[2]


def call(name: str, *args: Any, timeout: float | None = 60, context: ToolContext | None = None, **kwargs: Any) -> Any:
    """Call a tool with a killing timeout, or in this thread if there is none."""
    work = Work(name, list(args), kwargs, timeout=timeout, kill_on_timeout=timeout is not None)
    return LocalPythonExecutor().execute(work, execution_of(context))


def error_of(*args: Any, **kwargs: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.fixture
def word() -> str:
    """An argument by which the processes of one test are found."""
    return str(10**9 + int.from_bytes(os.urandom(4)))


def test_arguments_and_result_pass_unchanged() -> None:
    values = [1, 2.5, "ü€\U0001f600", None, True, {"a": [{}]}]
    result = call("child.echo", *values, key="value")
    assert (result["args"], result["kwargs"]) == (values, {"key": "value"})
    assert result["pid"] != os.getpid()


def test_without_a_killing_timeout_the_tool_runs_here() -> None:
    assert call("child.echo", timeout=None)["pid"] == os.getpid()
    abandoned = Work("child.echo", timeout=5, kill_on_timeout=False)
    assert LocalPythonExecutor().execute(abandoned, execution_of())["pid"] == os.getpid()


@pytest.mark.parametrize("mark", ["stoppable", "transactional"])
def test_a_tool_that_needs_no_killing_runs_here(mark: str) -> None:
    tool(f"child.{mark}", **{mark: True})(os.getpid)
    try:
        assert call(f"child.{mark}") == os.getpid()
    finally:
        del TOOL_REGISTRY[f"child.{mark}"], TOOL_INFO[f"child.{mark}"]


def full_context() -> ToolContext:
    smtp = SmtpSettings("mail", 25, "me", "secret", "me@mail", False)
    settings = settings_with(max_output_bytes=12_345, files_root=Path("/data"), tool_modules=("a", "b"), smtp=smtp)
    state = State(memory={"kept": 1}, variables={"colour": "red"}, results={"before": {"x": [1]}})
    context = context_with(settings, state=state)
    context.inputs = {"given": 5}
    return context


def test_the_context_is_the_same_as_in_a_thread() -> None:
    here, there = full_context(), full_context()
    assert call("child.context", "colour", context=there) == call("child.context", "colour", timeout=None, context=here)
    assert there.changed_variables == here.changed_variables == {"seen": ["red"]}


@pytest.mark.parametrize(
    "kind",
    ["value", "key", "os", "unicode", "own", "runtime", "plain", "empty", "task", "permanent", "group", "surrogate"],
)
def test_an_error_reads_the_same_as_in_a_thread(kind: str) -> None:
    here, there = error_of("child.fail", kind, timeout=None), error_of("child.fail", kind)
    assert str(there) == str(here)
    assert type(there).__name__ == type(here).__name__
    assert error_text(there) == error_text(here)
    assert [one.__name__ for one in type(there).__mro__] == [one.__name__ for one in type(here).__mro__] or kind in {
        "key",
        "os",
        "unicode",
        "group",
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("value", ValueError),
        ("os", OSError),
        ("key", KeyError),
        ("own", LookupError),
        ("permanent", PermanentTaskError),
    ],
)
def test_an_error_can_be_caught_as_what_it_is(kind: str, expected: type[Exception]) -> None:
    assert isinstance(error_of("child.fail", kind), expected)


def test_an_error_brings_the_end_of_its_traceback() -> None:
    (note,) = error_of("child.fail", "own").__notes__
    assert "in fail" in note
    assert "child_tools.py" in note


def test_what_the_tool_raises_beyond_exceptions_ends_its_process_and_not_ours() -> None:
    assert error_text(error_of("child.die", "exit")) == "SystemExit: 3"
    assert error_text(error_of("child.die", "interrupt")) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("os exit", r"ended its process with exit code 3 instead of returning\."),
        ("kill", r"was killed by signal 9 \(out of memory\?\)\."),
        ("segfault", r"was killed by signal 11 \(Segmentation fault\)\."),
        ("close", r"ended its process with exit code \d+ instead of returning\."),
    ],
)
def test_a_tool_that_takes_its_process_down_fails_with_the_cause(how: str, said: str) -> None:
    error = error_of("child.die", how)
    assert isinstance(error, TaskError)
    assert re.fullmatch(rf"Tool 'child\.die' {said}", str(error))


def test_a_timeout_kills_the_tool_and_all_that_it_started(word: str) -> None:
    started = time.monotonic()
    error = error_of("child.sleep", word, timeout=1.5)
    assert isinstance(error, TaskTimeoutError)
    assert str(error) == "'child.sleep' ran longer than 1.5 s and was killed."
    assert time.monotonic() - started < 10
    assert eventually(lambda: running_with(word) == [])


def test_stopping_the_attempt_kills_the_tool(word: str) -> None:
    stop = StopScope()
    threading.Thread(target=lambda: eventually(lambda: running_with(word)) and stop.stop("cancelled")).start()
    error = error_of("child.sleep", word, context=context_with(stop=stop))
    assert isinstance(error, TaskStoppedError)
    assert str(error) == "cancelled"
    assert eventually(lambda: running_with(word) == [])


def test_a_thread_that_the_tool_leaves_running_does_not_hold_the_answer_up() -> None:
    started = time.monotonic()
    assert call("child.thread") == "left"
    assert time.monotonic() - started < 20


def test_what_the_tool_prints_comes_out_of_our_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("child.print", 3, "ü") == "done"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "to stdout\nüüüWARNING some.tool: a warning of the tool\n"


def test_a_tool_that_prints_too_much_is_killed_and_the_error_names_it() -> None:
    error = error_of("child.print", 200_000, context=context_with(settings_with(max_output_bytes=100_000)))
    assert isinstance(error, OutputLimitError)
    assert str(error).startswith("'child.print' printed more than 100,000 bytes and was killed")


@pytest.mark.parametrize("kind", ["nan", "object", "circular", "big"])
def test_a_result_that_cannot_be_stored_is_refused_as_it_is_here(kind: str) -> None:
    error = error_of("child.return", kind, context=context_with(settings_with(max_result_bytes=1_000_000)))
    with pytest.raises(ResultError) as here:
        to_storable(call("child.return", kind, timeout=None), max_bytes=1_000_000)
    assert isinstance(error, ResultError)
    assert str(error) == str(here.value)


def test_a_result_that_json_does_not_know_comes_as_it_is_stored() -> None:
    assert call("child.return", "path") == "/x"
    assert call("child.return", "tuple") == [1, [2, 3]]


def test_a_wish_of_the_tool_passes_through() -> None:
    assert call("child.return", "approval") == AwaitApproval("ok?", "boss@example.org")
    assert call("child.return", "branches") == ReadBranches({"a": 1})


def test_an_asynchronous_tool_is_awaited_in_both_places() -> None:
    assert call("child.async", 5) == call("child.async", 5, timeout=None) == [5, True]


def test_stopping_cancels_an_asynchronous_tool_in_this_thread() -> None:
    import asyncio

    stop, begun = StopScope(), threading.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.sleep(60)

    tool("child.forever")(forever)
    threading.Thread(target=lambda: begun.wait(10) and stop.stop("cancelled")).start()
    try:
        error = error_of("child.forever", timeout=None, context=context_with(stop=stop))
        assert isinstance(error, TaskStoppedError)
    finally:
        del TOOL_REGISTRY["child.forever"], TOOL_INFO["child.forever"]


def test_a_fork_that_the_tool_forgot_does_not_answer_twice() -> None:
    assert call("child.fork") == "parent"


def test_a_tool_that_reads_stdin_finds_it_empty() -> None:
    assert call("child.stdin") == ""


def test_a_tool_is_found_by_its_name_or_by_its_place_in_the_module() -> None:
    assert call("child.lambda", 4) == 8
    assert call("child.method", 4) == 5


def test_a_function_by_its_path_is_found() -> None:
    context = context_with(settings_with(tool_modules=("math",)))
    assert call("math.sqrt", 16, context=context) == 4.0


def test_a_tool_of_the_users_folder_is_found_with_its_helpers(tmp_path: Path) -> None:
    (tmp_path / "_words.py").write_text("GREETING = 'hello'\n")
    (tmp_path / "greeter.py").write_text(
        "import os\nfrom highway_core.tools.decorators import tool\nfrom ._words import GREETING\n"
        "@tool('greeter.greet')\ndef greet(name): return [f'{GREETING} {name}', os.getpid()]\n"
    )
    text, pid = call("greeter.greet", "Ada", context=context_with(settings_with(tools_dir=tmp_path)))
    assert text == "hello Ada"
    assert pid != os.getpid()


def test_a_tool_inside_a_function_cannot_be_found_and_the_error_tells_the_way_out() -> None:
    @tool("child.inside")
    def inside() -> None: ...

    try:
        error = error_of("child.inside")
        assert isinstance(error, TaskError)
        assert "does not bring 'test_a_tool_inside_a_function" in str(error)
        assert "Define it at the top level of an importable module" in str(error)
        assert "kill_on_timeout: false" in str(error)
    finally:
        del TOOL_REGISTRY["child.inside"], TOOL_INFO["child.inside"]


def test_a_tool_of_the_program_itself_cannot_be_found_and_the_error_tells_the_way_out() -> None:
    program = (
        "from highway_core.tools.decorators import tool\n"
        "from tests.integration.test_child_process_tools import call\n"
        "@tool('main.own')\n"
        "def own(): pass\n"
        "try: call('main.own')\n"
        "except Exception as error: print(error)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert "it belongs to the program itself (__main__)" in said
    assert "Define it at the top level of an importable module" in said


def test_an_unknown_tool_is_a_key_error_with_both_texts() -> None:
    error = error_of("child.nothing", timeout=None)
    assert isinstance(error, ToolNotFoundError)
    assert isinstance(error, KeyError)
    assert "Function 'child.nothing' not found in registry" in str(error)
    assert "Tool 'child.nothing' not found." in str(error)


ENGINE = """
import sys
from tests.integration.test_child_process_tools import call
call("child.sleep", sys.argv[1])
"""


def test_kill_minus_nine_of_the_engine_leaves_no_tool(word: str) -> None:
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, word], cwd=ROOT)
    try:
        assert eventually(lambda: len(running_with(f"sleep\0{word}")) == 2)
    finally:
        engine.kill()
        engine.wait()
    assert eventually(lambda: running_with(word) == [])


def test_the_tools_of_this_file_are_registered() -> None:
    assert tests.child_tools.echo is TOOL_REGISTRY["child.echo"]
