"""``tools.code.exec`` and ``tools.python.run`` in the sandbox that this machine has."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.executors.sandbox import SandboxExecutor
from highway_core.errors import TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.tools import code, python
from highway_core.tools.artifacts import artifact_path, store_artifact
from highway_core.tools.context import ToolContext
from highway_core.utils.stopping import StopScope
from tests.tool_context import State, context_with, settings_with
from tests.waiting import eventually, running_with

TASKS = """
import asyncio, dataclasses, datetime, os, sys

def add(context, left, right=0):
    return {"sum": left + right}

def remember(context, name):
    before = context.get_variable("count", 0)
    missing = context.get_variable("missing", "none")
    context.set_variable("count", before + 1)
    context.set_variable(name, [context.get_variable("count")])
    return [before, missing, context.get_variable("region")]

def about(context):
    return [context.run_id, context.workflow_name, context.task_id, context.attempt]

def scalar(context):
    return 42

async def later(context):
    await asyncio.sleep(0)
    return "later"

@dataclasses.dataclass
class Point:
    x: int

def special(context):
    return {"day": datetime.date(2024, 5, 1), "point": Point(3), "set": {1}, "bytes": b"a", "path": (1, 2)}

def unstorable(context):
    return {"handle": object()}

def not_a_number(context):
    return float("nan")

def fail(context):
    context.set_variable("half", "done")
    raise ValueError("no such customer")

def leave(context):
    sys.exit(0)

def vanish(context):
    os._exit(0)

def chatter(context):
    print("hello")
    print("__HIGHWAY_ANSWER_0__:{}")
    print("warning", file=sys.stderr)
    return "said"

def close_everything(context):
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return "still here"

def listens(context):
    return sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secrets = {"HIGHWAY_SECRET_KEY": "s3cret", "DATABASE_URL": "postgresql://u:s3cret@db/x"}
    return settings_with(home=tmp_path / "home", tool_modules=("reprlib",), environ=secrets)


@pytest.fixture
def context(settings: Settings) -> ToolContext:
    state = State(variables={"count": 4, "region": "EU"})
    return context_with(settings, state=state, sandbox=SandboxExecutor())


@pytest.fixture
def artifact(settings: Settings) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shop/__init__.py", "")
        archive.writestr("shop/tasks.py", TASKS)
        archive.writestr("shop/sub/__init__.py", "from ..tasks import add\n")
    return store_artifact(buffer.getvalue(), settings)


def run(context: ToolContext, artifact: str, name: str, *args: Any, **kwargs: Any) -> Any:
    return python.run(context, f"shop.tasks.{name}", *args, artifact_id=artifact, **kwargs)


def test_the_keys_of_a_result_line_stand_beside_stdout_and_stderr(context: ToolContext) -> None:
    source = (
        "import json, sys\nprint('counting')\nprint('note', file=sys.stderr)\n"
        "print('__HIGHWAY_RESULT__:' + json.dumps({'item_list': [1, 'é'], 'n': None}))\n"
    )
    result = code.execute(context, source)
    assert (result["item_list"], result["n"], result["stderr"]) == ([1, "é"], None, "note\n")
    # The published client looks for the line itself.
    assert result["stdout"].startswith("counting\n__HIGHWAY_RESULT__:{")
    assert result["isolation"] in {"bubblewrap", "subprocess"}


def test_code_without_a_result_line_has_only_printed(context: ToolContext) -> None:
    result = code.execute(context, "print('grüße')")
    assert {name: result[name] for name in result if name != "isolation"} == {"stdout": "grüße\n", "stderr": ""}


def test_the_last_result_line_counts_and_what_is_no_object_is_called_result(context: ToolContext) -> None:
    source = (
        "print('__HIGHWAY_RESULT__:{\"a\": 1}')\nprint('x', end='')\nprint('__HIGHWAY_RESULT__:[1, 2]')\nprint('y')"
    )
    result = code.execute(context, source)
    assert (result["result"], "a" in result) == ([1, 2], False)


@pytest.mark.parametrize("line", ["{oops", "NaN", "", '{"a": Infinity}'])
def test_a_result_line_that_is_no_json_fails_the_task(context: ToolContext, line: str) -> None:
    with pytest.raises(TaskError, match=r"after __HIGHWAY_RESULT__: is not JSON"):
        code.execute(context, f"print('__HIGHWAY_RESULT__:' + {line!r})")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f():\n    raise ValueError('no such customer')\nf()", "ValueError: no such customer"),
        ("import sys; sys.exit('not today')", "exit code 1: not today"),
        ("import sys; sys.exit(7)", "exit code 7"),
        ("def broken(:", "SyntaxError"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("import os; os.kill(os.getpid(), 11)", "exit code"),
    ],
)
def test_code_that_fails_fails_the_task_in_its_own_words(context: ToolContext, source: str, words: str) -> None:
    with pytest.raises(TaskError) as failed:
        code.execute(context, source)
    assert words in str(failed.value)


@pytest.mark.parametrize("source", ["", "  \n", None, 5, "'\ud800'"])
def test_what_is_no_source_is_refused(context: ToolContext, source: object) -> None:
    with pytest.raises(TaskError):
        code.execute(context, source)  # type: ignore[arg-type]


def test_code_that_takes_too_long_is_killed(context: ToolContext) -> None:
    with pytest.raises(TaskTimeoutError):
        code.execute(context, "import subprocess; subprocess.run(['sleep', '301.7391'])", timeout=1)
    assert eventually(lambda: not running_with("301.7391"))


def test_stopping_the_attempt_kills_the_code(settings: Settings) -> None:
    stop = StopScope()
    timer = threading.Timer(0.5, stop.stop, ["cancelled"])
    timer.start()
    with pytest.raises(TaskStoppedError, match="cancelled"):
        code.execute(context_with(settings, stop=stop, sandbox=SandboxExecutor()), "import time; time.sleep(60)")
    timer.join()


def test_code_sees_no_secret_of_ours(context: ToolContext) -> None:
    source = "import os; print(dict(os.environ)); print(open('/proc/self/environ').read())"
    assert "s3cret" not in code.execute(context, source)["stdout"]


def test_nothing_of_the_sandbox_appears_on_our_own_output(
    context: ToolContext, artifact: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code.execute(context, "print('x')")
    run(context, artifact, "chatter")
    assert capfd.readouterr() == ("", "")


def test_without_a_sandbox_nothing_runs(settings: Settings, artifact: str) -> None:
    bare = context_with(settings)
    with pytest.raises(TaskError, match="needs a sandbox"):
        code.execute(bare, "print(1)")
    with pytest.raises(TaskError, match="needs a sandbox"):
        run(bare, artifact, "scalar")


def test_a_function_of_an_artifact_gets_its_arguments_after_the_context(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "add", 2, right=3) == {"sum": 5}
    assert python.run(context, "shop.sub.add", 1, artifact_id=artifact) == {"sum": 1}


def test_a_function_learns_which_attempt_it_is(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "about") == ["run-1", "testing", "loop[2].task", 3]


def test_variables_are_read_and_the_changed_ones_given_to_the_run(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "remember", "list") == [4, "none", "EU"]
    assert context.changed_variables == {"count": 5, "list": [5]}


def test_a_function_that_fails_changes_no_variable(context: ToolContext, artifact: str) -> None:
    with pytest.raises(TaskError, match="ValueError: no such customer"):
        run(context, artifact, "fail")
    assert context.changed_variables == {}


@pytest.mark.parametrize(("name", "result"), [("scalar", 42), ("later", "later"), ("chatter", "said")])
def test_the_result_is_what_the_function_returns(
    context: ToolContext, artifact: str, name: str, result: object
) -> None:
    assert run(context, artifact, name) == result


def test_what_json_does_not_know_is_returned_in_a_form_that_it_does(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "special") == {
        "day": "2024-05-01",
        "point": {"x": 3},
        "set": [1],
        "bytes": "YQ==",
        "path": [1, 2],
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unstorable", "A object has no JSON form"),
        ("not_a_number", "not JSON compliant"),
        ("leave", "without a result"),
        ("vanish", "without a result"),
        ("no_such_function", "no_such_function"),
    ],
)
def test_a_function_without_a_result_that_can_be_kept_fails_the_task(
    context: ToolContext, artifact: str, name: str, words: str
) -> None:
    with pytest.raises(TaskError, match=words):
        run(context, artifact, name)


def test_a_function_may_close_its_standard_streams(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "close_everything") == "still here"


def test_a_function_reads_nothing_of_the_request(context: ToolContext, artifact: str) -> None:
    assert run(context, artifact, "listens") == ""


def test_what_a_function_prints_is_logged(
    context: ToolContext, artifact: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(context, artifact, "chatter")
    assert "hello" in caplog.text
    assert "warning" in caplog.text


def test_only_modules_of_the_artifact_may_be_named(context: ToolContext, artifact: str) -> None:
    with pytest.raises(TaskError, match=r"has no module 'os'"):
        python.run(context, "os.system", "true", artifact_id=artifact)
    with pytest.raises(TaskError, match=r"has no module 'shop.task'; did you mean 'shop.tasks'"):
        python.run(context, "shop.task.add", artifact_id=artifact)


def test_an_artifact_that_was_changed_does_not_run(context: ToolContext, artifact: str) -> None:
    artifact_path(artifact, context.settings).write_bytes(b"PK other code")
    with pytest.raises(TaskError, match="was changed on disk"):
        run(context, artifact, "scalar")


def test_an_installed_module_must_be_an_allowed_one(context: ToolContext) -> None:
    assert python.run(context, "reprlib.repr").startswith("<__main__.Con")
    with pytest.raises(TaskError, match="add 'subprocess' to HIGHWAY_TOOL_MODULES"):
        python.run(context, "subprocess.run", ["true"])


@pytest.mark.parametrize("function", ["", "add", None, 5])
def test_what_is_no_path_of_a_function_is_refused(context: ToolContext, function: object) -> None:
    with pytest.raises(TaskError, match=r"needs package\.module\.function"):
        python.run(context, function)  # type: ignore[arg-type]


def test_arguments_that_are_no_json_are_refused(context: ToolContext, artifact: str) -> None:
    with pytest.raises(TaskError, match="cannot go into the sandbox"):
        run(context, artifact, "add", {1, 2})
