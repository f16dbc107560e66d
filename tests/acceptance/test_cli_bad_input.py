"""What must not start says why in one clear message, exits with 1 and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import EXAMPLES, CommandLine, Done, workflow

GOOD = "a: {function: tools.log.info, args: [x]}"
BOMB = "\n".join(
    ["name: bomb", "a: &a [x, x, x, x, x, x, x, x, x, x]"]
    + [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)


def refused(highway: CommandLine, done: Done, *words: str) -> None:
    """One clear message, exit code 1, nothing started."""
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
    assert highway.runs() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("name: [", ["flow.yaml:1:8", "this is not YAML"], id="not YAML"),
        pytest.param("\0\1\2", ["flow.yaml:1:1", "is this a text file?"], id="binary"),
        pytest.param("", ["the document is empty"], id="empty"),
        pytest.param("- a\n- b\n", ["the document is a list"], id="a list"),
        pytest.param("just text\n", ["the document is"], id="a text"),
        pytest.param(
            workflow("a: {operator_type: tusk}"),
            ["flow.yaml:4:", "tasks.a.operator_type: unknown operator 'tusk'", "did you mean 'task'?"],
            id="an unknown operator",
        ),
        pytest.param(
            workflow("a: {function: tools.log.info, arsg: [x]}"),
            ["tasks.a.arsg: unknown key 'arsg'", "did you mean 'args'?"],
            id="a misspelt key",
        ),
        pytest.param(
            workflow(GOOD, "b: {function: tools.log.info, args: [x], dependencies: [aa]}"),
            ["tasks.b.dependencies", "'aa', which does not exist", "did you mean 'a'?"],
            id="a dangling dependency",
        ),
        pytest.param(
            workflow(
                "a: {function: tools.log.info, args: [x], dependencies: [c]}",
                "b: {function: tools.log.info, args: [x], dependencies: [a]}",
                "c: {function: tools.log.info, args: [x], dependencies: [b]}",
            ),
            ["cycle: ", "a → b → c → a"],
            id="a cycle",
        ),
        pytest.param(workflow(GOOD, GOOD), ["flow.yaml:5:3 tasks.a: the key 'a' is there twice"], id="a duplicate id"),
        pytest.param(
            workflow("a: {function: tools.log.info, args: [x], args: [y]}"),
            ["tasks.a.args: the key 'args' is there twice"],
            id="a duplicate key",
        ),
        pytest.param(
            workflow("a: {function: tools.log.inof}"),
            ["Function 'tools.log.inof' not found in registry", "Did you mean 'tools.log.info'?"],
            id="an unknown tool",
        ),
        pytest.param(
            workflow("a: {function: tools.log.info, args: 5}"),
            ["tasks.a.args: must be a list, not 5"],
            id="a wrong type",
        ),
        pytest.param(
            workflow(GOOD, head="schedule: '61 * * * *'"),
            ["flow.yaml:2:1 schedule: bad schedule '61 * * * *'"],
            id="a bad cron",
        ),
        pytest.param(
            workflow("a: {function: tools.log.info, args: ['{{results.nothing}}']}"),
            ["tasks.a.args[0]: {{results.nothing}}: no task produces the result 'nothing'"],
            id="a reference to nothing",
        ),
        pytest.param(BOMB, ["flow.yaml:", "more than 1,000,000 values"], id="a bomb"),
        pytest.param("a: " + "[" * 50_000, ["nested more than 600 levels deep"], id="a tower"),
    ],
)
def test_a_bad_document_is_refused_with_its_place(highway: CommandLine, content: str, words: list[str]) -> None:
    file = highway.write("flow.yaml", content)
    refused(highway, highway("run", file), *words)


def test_a_missing_file_is_named(highway: CommandLine) -> None:
    done = highway("run", "nowhere.yaml")
    refused(highway, done)
    assert done.err == "Error: Workflow file 'nowhere.yaml' does not exist.\n"


def test_another_format_is_named(highway: CommandLine) -> None:
    refused(highway, highway("run", highway.write("flow.toml", "")), "Error: Unsupported file format '.toml'")


def test_a_folder_is_no_workflow(highway: CommandLine) -> None:
    refused(highway, highway("run", "."), "'.' is a folder, not a workflow file")


def test_all_problems_are_told_at_once_one_a_line(highway: CommandLine) -> None:
    tasks = [f"t{number}: {{function: tools.log.inof, dependencies: [nobody]}}" for number in range(5)]
    done = highway("run", highway.write("flow.yaml", workflow(*tasks)))

    refused(highway, done)
    head, *problems = done.err.splitlines()
    assert head == "Error: flow.yaml has 10 problems:"
    assert len(problems) == 10
    assert all(problem.startswith("  - flow.yaml:") for problem in problems)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('no weather today')", "could not be imported: ValueError: no weather today"),
        ("import sys; sys.exit(3)", "could not be imported: SystemExit: 3"),
        ("def (", "could not be imported: SyntaxError"),
        ("x = 1", "defines no workflow"),
        ("def create_workflow():\n    return 5", "expected a highway_dsl Workflow, got int"),
        (
            "def create_workflow():\n    raise KeyError('id')",
            "create_workflow() could not build the workflow: KeyError: 'id'",
        ),
    ],
)
def test_a_python_file_that_builds_no_workflow_is_refused(highway: CommandLine, source: str, words: str) -> None:
    refused(highway, highway("run", highway.write("flow.py", source)), "flow.py: ", words)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.yaml", None, "Error: Variables file 'none.yaml' does not exist."),
        ("vars.yaml", "- a", "variables are a mapping of names to values"),
        ("vars.json", '{"a": ', "vars.json:1:"),
    ],
)
def test_variables_that_cannot_be_read_are_refused(
    highway: CommandLine, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        highway.write(name, content)
    refused(highway, highway("run", str(EXAMPLES / "hello.yaml"), "--vars-file", name), words)


def test_a_setting_that_cannot_be_used_is_named(highway: CommandLine) -> None:
    done = highway("run", str(EXAMPLES / "hello.yaml"), HIGHWAY_THREADS="many")
    refused(highway, done, "HIGHWAY_THREADS='many' must be a whole number above zero.")


def test_a_database_that_cannot_be_opened_is_named(highway: CommandLine) -> None:
    blocked = highway.write("file", "not a folder")
    done = highway("run", str(EXAMPLES / "hello.yaml"), HIGHWAY_DATABASE_URL=f"sqlite:///{highway.folder}/{blocked}/x")
    refused(highway, done, "could not be opened")


def test_tools_that_cannot_be_loaded_name_the_file(highway: CommandLine) -> None:
    highway.tools("import nowhere_to_be_found")
    done = highway("run", highway.write("flow.yaml", workflow("a: {function: own.tool}")))
    refused(highway, done, "own.py, line 2: ModuleNotFoundError: No module named 'nowhere_to_be_found'")


def test_a_run_id_that_belongs_to_another_document_or_other_inputs_is_refused(highway: CommandLine) -> None:
    hello = str(EXAMPLES / "hello.yaml")
    assert highway("run", hello, "--run-id", "r", "--var", "who=Ada").code == 0

    others = highway("run", highway.write("flow.yaml", workflow(GOOD)), "--run-id", "r")
    inputs = highway("run", hello, "--run-id", "r", "--var", "who=Bob")
    for done in (others, inputs):
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Error: Run 'r' was started ")
        assert "Choose a new run id." in done.err
    assert highway.runs() == [("r", "completed")]


def test_json_says_of_a_refused_document_what_is_wrong(highway: CommandLine) -> None:
    done = highway("run", highway.write("flow.yaml", workflow("a: {function: tools.log.inof}")), "--json")

    assert (done.code, done.err) == (1, "")
    report = done.json
    assert (report["status"], report["tasks"], report["result"]) == ("failed", [], None)
    (problem,) = report["problems"]
    assert (problem["place"], problem["position"]) == ("tasks.a.function", "flow.yaml:4:28")
    assert problem["message"] in report["error"]
    assert highway.runs() == []


def test_a_traceback_is_shown_to_those_who_ask_for_it(highway: CommandLine) -> None:
    done = highway("run", highway.write("flow.py", "raise ValueError('deep inside')"), "-vv")

    assert done.code == 1
    assert "Traceback (most recent call last):" in done.err
    assert done.err.splitlines()[-1].startswith("Error: ")


def test_a_defect_of_ours_is_one_sentence_too(highway: CommandLine) -> None:
    highway.tools("import highway_core.cli.run_command as ours\nours.TaskLog = None\ntool('own.tool')(print)")
    file = highway.write("flow.yaml", workflow("a: {function: own.tool}"))
    done = highway("run", file)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: TypeError: 'NoneType' object is not callable. This is a defect of Highway")
    assert "Traceback" in highway("run", file, "-vv").err


NAUGHTY = """
import sys, time

@tool("naughty.raises")
def raises():
    raise LookupError("no such account")

@tool("naughty.unstorable")
def unstorable():
    return {"accounts": [{"handle": object()}]}

@tool("naughty.exits")
def exits():
    sys.exit("enough")

@tool("naughty.prints")
def prints():
    for _ in range(1_000):
        print("x" * 1_000_000)

@tool("naughty.writes")
def writes():
    for _ in range(1_000):
        sys.stderr.buffer.write(b"x" * 1_000_000)

@tool("naughty.hangs")
def hangs():
    while True:
        time.sleep(60)
"""


@pytest.fixture
def naughty(highway: CommandLine) -> CommandLine:
    highway.tools(NAUGHTY)
    return highway


@pytest.mark.parametrize(
    ("tool", "policy", "words"),
    [
        ("raises", "", "LookupError: no such account"),
        ("unstorable", "", "result.accounts[0].handle cannot be stored"),
        ("exits", "", "SystemExit: enough"),
        ("prints", "", "The tool printed more than 10,485,760 bytes (HIGHWAY_MAX_OUTPUT_BYTES)."),
        ("writes", "", "The tool printed more than 10,485,760 bytes (HIGHWAY_MAX_OUTPUT_BYTES)."),
        ("hangs", ", timeout_policy: {timeout: 0.5}", "timed out (timeout_policy: 0.5 s)"),
        ("exits", ", timeout_policy: {timeout: 60}", "SystemExit: enough"),
        ("prints", ", timeout_policy: {timeout: 60}", "10,485,760 bytes"),
    ],
)
def test_a_tool_that_misbehaves_fails_its_task_in_its_own_words_and_the_run_goes_on(
    naughty: CommandLine, tool: str, policy: str, words: str
) -> None:
    file = naughty.write(
        "flow.yaml",
        workflow(
            f"bad: {{function: naughty.{tool}{policy}}}",
            "after: {function: tools.log.info, args: [x], dependencies: [bad]}",
            "beside: {function: tools.memory.set, args: [k, 1], result_key: done}",
            "beyond: {function: tools.memory.get, args: [k], dependencies: [beside]}",
        ),
    )
    done = naughty("run", file, "--run-id", "r")

    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    statuses = dict(naughty.rows("SELECT task_id, status FROM tasks"))
    assert statuses == {"bad": "failed", "after": "upstream_failed", "beside": "completed", "beyond": "completed"}
    ((error,),) = naughty.rows("SELECT error_message FROM tasks WHERE task_id = 'bad'")
    assert words in error
    assert f"❌ bad: {error}" in done.out
    assert len(done.out) + len(done.err) < 12_000_000


def test_what_a_tool_may_print_is_counted_for_each_attempt(highway: CommandLine) -> None:
    highway.tools("@tool('speaks')\ndef speaks():\n    print('x' * 600)\n")
    tasks = [f"t{number}: {{function: speaks}}" for number in range(5)]
    file = highway.write("flow.yaml", workflow(*tasks))

    assert highway("run", file, HIGHWAY_MAX_OUTPUT_BYTES="1000").code == 0
    assert highway("run", file, HIGHWAY_MAX_OUTPUT_BYTES="600").code == 1  # print adds a newline


def test_no_bad_input_leaves_files_behind(highway: CommandLine) -> None:
    highway("run", highway.write("flow.yaml", "- a"))
    assert [path.name for path in Path(highway.folder).iterdir()] == ["flow.yaml"]
