"""Ctrl-C and SIGTERM in the middle of a run: an orderly end, and a run that goes on where it stopped."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.command_line import CommandLine, Done, workflow
from tests.waiting import eventually, running_with

BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
COUNTING = """
import time
from pathlib import Path

@tool("counting.step")
def step(name, hold=False):
    with open("steps", "a") as file:
        file.write(name + "\\n")
    while hold and not Path("gate").exists():
        time.sleep(0.01)
    return name

@tool("counting.deaf")
def deaf():
    with open("steps", "a") as file:
        while True:
            try:
                file.write("deaf\\n")
                file.flush()
                time.sleep(60)
            except KeyboardInterrupt:
                pass
"""
LONE = workflow(
    "a: {function: counting.step, args: [a]}",
    "b: {function: counting.step, args: [b, true], dependencies: [a]}",
    "c: {function: counting.step, args: [c], dependencies: [b]}",
)
"""``b`` runs on the main thread."""
PAIR = workflow(
    "a: {function: counting.step, args: [a]}",
    "b: {function: counting.step, args: [b, true], dependencies: [a]}",
    "wait: {operator_type: wait, wait_for: PT1H, dependencies: [a]}",
    "c: {function: counting.step, args: [c], dependencies: [b]}",
)
"""``b`` runs on a thread of its own."""


@pytest.fixture
def counting(highway: CommandLine) -> CommandLine:
    highway.tools(COUNTING)
    return highway


def steps(command_line: CommandLine) -> list[str]:
    file = command_line.folder / "steps"
    return file.read_text().split() if file.exists() else []


def end_of(process: subprocess.Popen[bytes]) -> Done:
    out, err = process.communicate(timeout=30)
    return Done(process.returncode, out.decode(), err.decode())


@BOTH
@pytest.mark.parametrize("document", [LONE, PAIR], ids=["lone", "pair"])
def test_a_stopped_run_says_how_to_resume_and_does_no_completed_task_again(
    counting: CommandLine, number: signal.Signals, code: int, document: str
) -> None:
    file = counting.write("flow.yaml", document)
    process = counting.start("run", file, "--run-id", "r")
    assert eventually(lambda: steps(counting) == ["a", "b"], within=30)
    process.send_signal(number)
    done = end_of(process)

    assert done.code == code
    assert f"❌ LOCAL Workflow interrupted by {number.name}." in done.lines
    assert "Traceback" not in done.out + done.err
    statuses = dict(counting.rows("SELECT task_id, status FROM tasks"))
    assert (statuses["a"], statuses["b"], statuses["c"]) == ("completed", "cancelled", "cancelled")

    counting.write("gate", "")
    (resume,) = [line.strip() for line in done.lines if line.strip().endswith("--run-id r")]
    if document is LONE:
        assert counting(*shlex.split(resume)[2:]).code == 0
        assert steps(counting) == ["a", "b", "b", "c"]
        assert counting.runs() == [("r", "completed")]
        return
    again = counting.start(*shlex.split(resume)[2:])
    assert eventually(lambda: steps(counting) == ["a", "b", "b", "c"], within=30)
    again.terminate()
    assert end_of(again).code == 143


@BOTH
def test_json_tells_of_a_stopped_run_too(counting: CommandLine, number: signal.Signals, code: int) -> None:
    process = counting.start("run", counting.write("flow.yaml", LONE), "--json")
    assert eventually(lambda: steps(counting) == ["a", "b"], within=30)
    process.send_signal(number)
    done = end_of(process)

    assert done.code == code
    report = json.loads(done.out)
    assert (report["status"], [task["status"] for task in report["tasks"]]) == (
        "cancelled",
        ["completed", "cancelled", "cancelled"],
    )
    assert number.name in report["error"]


def test_what_a_task_started_is_gone_with_the_run(highway: CommandLine) -> None:
    seconds = f"3600.{os.getpid()}"
    file = highway.write("flow.yaml", workflow(f"a: {{function: tools.shell.run, args: ['sleep {seconds} & wait']}}"))
    process = highway.start("run", file)
    assert eventually(lambda: len(running_with(seconds)) >= 1, within=30)
    process.send_signal(signal.SIGINT)

    assert end_of(process).code == 130
    assert eventually(lambda: not running_with(seconds), within=10)


@BOTH
def test_a_second_signal_ends_a_process_whose_tool_is_deaf(
    counting: CommandLine, number: signal.Signals, code: int
) -> None:
    process = counting.start("run", counting.write("flow.yaml", workflow("a: {function: counting.deaf}")))
    assert eventually(lambda: steps(counting) == ["deaf"], within=30)
    process.send_signal(number)
    assert eventually(lambda: steps(counting) == ["deaf", "deaf"], within=30)
    process.send_signal(number)

    assert end_of(process).code == code


def test_ctrl_c_before_the_run_has_begun_is_no_traceback(highway: CommandLine) -> None:
    highway.write("flow.py", "from pathlib import Path\nPath('here').touch()\nimport time\ntime.sleep(60)\n")
    process = highway.start("run", "flow.py")
    assert eventually(lambda: Path(highway.folder, "here").exists(), within=30)
    process.send_signal(signal.SIGINT)
    done = end_of(process)

    assert (done.code, done.out, done.err) == (130, "", "Interrupted.\n")
    assert highway.runs() == []


def test_webhooks_run_ends_in_order(highway: CommandLine) -> None:
    process = highway.start("webhooks", "run")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Delivering webhooks, 20 at a time.")
    process.send_signal(signal.SIGTERM)
    done = end_of(process)

    assert (done.code, done.out, done.err) == (0, "Stopped.\n", "")
