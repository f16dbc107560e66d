"""``cli.py run``: what is printed where, what goes in, and which exit code comes out."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.command_line import EXAMPLES, CommandLine, workflow

HYPHENS = "-" * 50
SAY = 'a: {function: tools.log.info, args: ["{{inputs.word}}"]}'
LOUD = """
import os, subprocess, sys

@tool("loud.say")
def say():
    print("by print")
    sys.stdout.buffer.write(b"by buffer\\n")
    sys.stdout.flush()
    os.write(1, b"by descriptor\\n")
    subprocess.run(["echo", "by child"], check=True)
    return "said"
"""


def test_a_completed_run_prints_the_known_lines_and_exits_with_0(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "hello.yaml"), "--run-id", "first")

    assert done.code == 0
    assert done.lines[:2] == [f"Running LOCAL workflow from: {EXAMPLES / 'hello.yaml'} (Run ID: first)", HYPHENS]
    assert done.lines.count(HYPHENS) == 2
    verdict = done.lines.index("✅ LOCAL Workflow completed successfully!")
    assert done.lines[verdict - 1] == HYPHENS
    summary = done.lines[done.lines.index("Task Summary:") :]
    assert [line.strip() for line in summary[1:4]] == ["✅ Completed: 2", "❌ Failed: 0", "📊 Total: 2"]
    assert re.search(r"^   make_greeting +completed +\d+\.\d\d s$", done.out, re.MULTILINE)
    assert highway.runs() == [("first", "completed")]


def test_a_run_without_an_id_gets_one(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "hello.yaml"))

    ((run_id, status),) = highway.runs()
    assert re.fullmatch(r"cli-run-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id)
    assert status == "completed"
    assert f"(Run ID: {run_id})" in done.lines[0]


def test_a_failed_run_prints_its_error_the_summary_and_the_command_that_resumes_it(highway: CommandLine) -> None:
    file = highway.write(
        "flow.yaml",
        workflow(
            "a: {function: tools.command.run, args: [test -e gate]}",
            "b: {function: tools.log.info, args: [x], dependencies: [a]}",
        ),
    )
    done = highway("run", file, "--run-id", "it's mine")

    assert done.code == 1
    error = "Command failed with exit code 1:"
    assert f"❌ LOCAL Workflow failed: Task 'a' failed: {error}" in done.lines
    assert [line.strip() for line in done.lines if ":" in line and line.startswith("   ")][:4] == [
        "✅ Completed: 0",
        "❌ Failed: 1",
        "⛔ Not started, because of a failure before them: 1",
        "📊 Total: 2",
    ]
    assert re.search(r"^   b +upstream_failed +- +Not started: 'a' failed$", done.out, re.MULTILINE)
    assert done.lines[done.lines.index("Failed tasks:") + 1].strip() == f"❌ a: {error}"
    assert "retry_policy" in done.out

    (resume,) = [line.strip() for line in done.lines if "--run-id" in line]
    highway.write("gate", "")
    again = highway(*shlex.split(resume)[2:])
    assert again.code == 0
    assert highway.runs() == [("it's mine", "completed")]


def test_a_failure_that_was_retried_says_so_and_no_retry_is_advised(highway: CommandLine) -> None:
    policy = "{max_retries: 1, delay: 0.01}"
    file = highway.write(
        "f.yaml", workflow(f"a: {{function: tools.command.run, args: ['false'], retry_policy: {policy}}}")
    )
    done = highway("run", file)

    assert re.search(r"^  ↻ a: attempt 1 failed, the next one at .*: Command failed", done.out, re.MULTILINE)
    assert re.search(r"^   a +failed .*attempt 2, Command failed with exit code 1", done.out, re.MULTILINE)
    assert "is best left to the task" not in done.out


def test_a_skipped_task_is_listed_with_the_reason(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "order_processing.yaml"))

    assert done.code == 0
    assert "   ➖ Skipped: 12" in done.lines
    reason = "'process_orders[0].choose_way' took case parcel"
    assert re.search(rf"process_orders\[0\]\.ask_clerk +skipped +- +{re.escape(reason)}", done.out)


def test_what_tasks_log_goes_to_stderr_and_only_that_unless_more_is_asked_for(highway: CommandLine) -> None:
    file = highway.write(
        "flow.yaml",
        workflow(
            "a: {function: tools.log.info, args: [for the record]}",
            "b: {function: tools.log.debug, args: [for the curious]}",
            "c: {function: api.payment_gateway.pay, args: [r-1, 5]}",
        ),
    )
    plain, verbose, all_of_it = highway("run", file), highway("run", file, "-v"), highway("run", file, "-vv")

    assert plain.err == "INFO a: for the record\n"
    assert "for the record" not in plain.out
    assert "Payment for report r-1 simulated" in verbose.err
    assert "for the curious" not in verbose.err
    assert "DEBUG b: for the curious" in all_of_it.err


def test_a_log_line_cannot_write_to_the_terminal(highway: CommandLine) -> None:
    file = highway.write("flow.yaml", workflow(r'a: {function: tools.log.info, args: ["{{inputs.word}}"]}'))
    done = highway("run", file, "--var", r'word="\u001b]0;title\u0007\u202etxt"')

    assert done.err == "INFO a: \\x1b]0;title\\x07\\u202etxt\n"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("word=text", "text"),
        ("word=", ""),
        ("word=a=b", "a=b"),
        ("word=3", 3),
        ('word="3"', "3"),
        ("word=true", True),
        ("word=null", None),
        ("word=[1, {}]", [1, {}]),
        ("word=NaN", "NaN"),
        ("word={not json", "{not json"),
        (" word =x", "x"),
    ],
)
def test_a_var_is_json_if_it_can_be_read_as_json_and_text_otherwise(
    highway: CommandLine, given: str, value: object
) -> None:
    task = 'a: {function: tools.memory.set, args: [k, "{{inputs.word}}"]}'
    look = "b: {function: tools.memory.get, args: [k], dependencies: [a]}"
    done = highway("run", highway.write("flow.yaml", workflow(task, look)), "--var", given, "--json")

    assert done.code == 0, done.out
    assert done.json["result"] == value


@pytest.mark.parametrize(
    ("name", "content"), [("v.yaml", "word: from file\nn: 1\n"), ("v.json", '{"word": "from file"}')]
)
def test_a_file_of_variables_is_read_and_a_var_wins_over_it(highway: CommandLine, name: str, content: str) -> None:
    flow, variables = highway.write("flow.yaml", workflow(SAY)), highway.write(name, content)

    assert highway("run", flow, "--vars-file", variables).err == "INFO a: from file\n"
    both = highway("run", flow, "--var", "word=first", "--vars-file", variables, "--var", "word=last")
    assert both.err == "INFO a: last\n"


def test_a_var_that_is_almost_a_variable_is_pointed_out(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "hello.yaml"), "--var", "whoo=Ada", "--var", "other=1")

    assert done.code == 0
    assert "no variable 'whoo': did you mean 'who'?" in done.err
    assert "other" not in done.err


def test_the_same_run_id_goes_on_with_the_inputs_it_had(highway: CommandLine) -> None:
    file = highway.write(
        "flow.yaml",
        workflow(
            "a: {function: tools.command.run, args: [sh, -c, echo once >> count]}",
            "b: {function: tools.command.run, args: [test, -e, '{{inputs.word}}'], dependencies: [a]}",
        ),
    )
    assert highway("run", file, "--run-id", "r", "--var", "word=gate").code == 1
    highway.write("gate", "")
    resumed = highway("run", file, "--run-id", "r")
    assert resumed.code == 0
    assert "  ✓ a (done before)" in resumed.lines

    done = highway("run", file, "--run-id", "r")
    assert (done.code, (highway.folder / "count").read_text()) == (0, "once\n")
    assert "This run was completed before; nothing was done again." in done.lines
    assert "   ✅ Completed: 2" in done.lines


def test_json_is_one_object_whatever_the_tools_print(highway: CommandLine) -> None:
    highway.tools(LOUD)
    file = highway.write(
        "flow.yaml", workflow("a: {function: loud.say}", "b: {function: tools.log.info, args: [x], dependencies: [a]}")
    )
    done = highway("run", file, "--json", "--run-id", "r")

    report = done.json
    assert (done.code, report["status"], report["workflow_id"], report["error"]) == (0, "completed", "r", None)
    assert [(task["task_id"], task["status"], task["attempt"]) for task in report["tasks"]] == [
        ("a", "completed", 1),
        ("b", "completed", 1),
    ]
    assert all(task["seconds"] >= 0 and task["completed_at"] >= task["started_at"] for task in report["tasks"])
    for way in ("print", "buffer", "descriptor", "child"):
        assert f"by {way}\n" in done.err


def test_what_tools_print_stands_in_the_progress_otherwise(highway: CommandLine) -> None:
    highway.tools(LOUD)
    done = highway("run", highway.write("flow.yaml", workflow("a: {function: loud.say}")))

    assert [line for line in done.lines if line.startswith("by ")] == [
        "by print",
        "by buffer",
        "by descriptor",
        "by child",
    ]


def test_json_tells_of_every_task_of_a_failed_run_and_of_a_completed_one_asked_again(highway: CommandLine) -> None:
    tasks = [f"t{number}: {{function: tools.memory.set, args: [k, 1]}}" for number in range(250)]
    file = highway.write("flow.yaml", workflow(*tasks, "bad: {function: tools.command.run, args: ['false']}"))
    report = highway("run", file, "--json").json
    assert (report["status"], report["error"]) == ("failed", "Task 'bad' failed: Command failed with exit code 1: ")
    assert len(report["tasks"]) == 251
    assert [task["error"] for task in report["tasks"] if task["status"] == "failed"] == [
        "Command failed with exit code 1: "
    ]

    hello = str(EXAMPLES / "hello.yaml")
    first, again = (highway("run", hello, "--run-id", "h", "--json").json for _ in range(2))
    assert [task["task_id"] for task in again["tasks"]] == [task["task_id"] for task in first["tasks"]]


def test_a_run_of_many_tasks_does_not_print_a_line_for_each(highway: CommandLine) -> None:
    tasks = [f"t{number}: {{function: tools.memory.set, args: [k{number}, 1]}}" for number in range(1_000)]
    bad = "bad: {function: tools.command.run, args: ['false'], dependencies: [t999]}"
    done = highway("run", highway.write("flow.yaml", workflow(*tasks, bad)))

    assert len(done.lines) < 240
    assert "  ✓ t0 (" in done.out
    assert "✓ t900 " not in done.out
    assert re.search(r"^  ✗ bad .*: Command failed", done.out, re.MULTILINE)
    assert "   📊 Total: 1001" in done.lines
    assert "   … and 1,000 more tasks" in done.lines


def test_a_python_file_runs_and_a_pick_chooses_among_its_workflows(highway: CommandLine) -> None:
    build = "WorkflowBuilder('{0}').task('t', 'tools.log.info', args=['{0}']).build()"
    source = ["from highway_dsl import WorkflowBuilder"]
    source += [f"def {name}_workflow():\n    return {build.format(name)}" for name in ("morning", "evening")]
    highway.write("flows.py", "\n".join(source))

    assert highway("run", "flows.py:evening_workflow").err == "INFO t: evening\n"
    both = highway("run", "flows.py")
    assert both.code == 1
    assert "flows.py:morning_workflow or flows.py:evening_workflow" in both.err


def test_a_reader_that_goes_away_does_not_end_the_run(highway: CommandLine) -> None:
    file = highway.write(
        "flow.yaml",
        workflow(
            "a: {function: tools.command.run, args: [sh, -c, 'while [ ! -e gate ]; do sleep 0.01; done']}",
            "b: {function: tools.log.info, args: [x], dependencies: [a]}",
        ),
    )
    process = highway.start("run", file, "--run-id", "r")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Running")
    process.stdout.close()
    highway.write("gate", "")

    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b"INFO b: x\n"
    process.stderr.close()
    assert highway.runs() == [("r", "completed")]


def test_a_locale_without_emoji_is_no_reason_to_fail(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "hello.yaml"), PYTHONIOENCODING="ascii")

    assert done.code == 0
    assert "? LOCAL Workflow completed successfully!" in done.lines


def test_a_thread_that_a_tool_left_running_does_not_hold_the_process(highway: CommandLine) -> None:
    highway.tools(
        "import threading\n"
        "@tool('leaves.thread')\n"
        "def leave():\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
    )
    assert highway("run", highway.write("flow.yaml", workflow("a: {function: leaves.thread}"))).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "flow.yaml", "--var", "novalue"],
        ["run", "flow.yaml", "--var", "=x"],
        ["run", "flow.yaml", "--unknown"],
        ["run", "flow.yaml", "--run-id", ""],
        ["run", "flow.yaml", "--run-id", "two\nlines"],
        ["validate"],
        ["webhooks", "cleanup", "--days-old", "soon"],
    ],
)
def test_bad_usage_exits_with_2_and_says_how_it_is_meant(highway: CommandLine, arguments: list[str]) -> None:
    done = highway(*arguments)

    assert done.code == 2
    assert done.err.startswith("usage: cli.py")
    assert highway.runs() == []


def test_hello_loads_nothing_that_it_does_not_need(highway: CommandLine) -> None:
    highway("run", str(EXAMPLES / "hello.yaml"))  # makes the database, which takes more
    process = highway.start("run", str(EXAMPLES / "hello.yaml"), PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition(b"|")[2].strip().decode() for line in process.communicate(timeout=60)[1].splitlines()}

    assert process.returncode == 0
    assert "highway_core.engine.engine" in imported
    heavy = {"sqlalchemy", "alembic", "requests", "docker", "rich", "highway_dsl", "psycopg2", "asyncio", "flask"}
    assert not heavy & imported


def test_the_module_offers_main_and_the_loader_of_the_existing_library(highway: CommandLine) -> None:
    code = "import cli, sys; w = cli.load_workflow_from_python(sys.argv[1]); print(w.name)"
    file = EXAMPLES / "expense_report.py"
    argv = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(argv, cwd=EXAMPLES.parent, env=highway.environ, capture_output=True, text=True, check=True)

    assert done.stdout == "expense_report_approval\n"


def test_runs_can_be_kept_in_a_folder_of_files(highway: CommandLine) -> None:
    highway.environ["HIGHWAY_DATABASE_URL"] = f"files://{highway.folder}/kept"
    file = highway.write("flow.yaml", workflow("a: {function: tools.log.info, args: [said]}"))

    first, again = (highway("run", file, "--run-id", "r") for _ in range(2))

    assert (first.code, again.code) == (0, 0)
    assert ("said" in first.err, "said" in again.err) == (True, False)
    assert len(list((highway.folder / "kept" / "runs").iterdir())) == 1
    assert not highway.database.exists()
