"""The durable commands of a user, each asking an API whose answers stand here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.command_line import CommandLine, workflow
from tests.hostile_server import Server, reply, running_server

START = "2030-01-31T09:00:00+00:00"
END = "2030-01-31T09:00:02+00:00"


def task(name: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "task_id": name,
        "status": status,
        "error": None,
        "operator_type": "task",
        "attempt": 1,
        "started_at": START,
        "completed_at": END,
        "wake_up_at": None,
        **more,
    }


def run(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "workflow_id": "r1",
        "workflow_name": "testing",
        "workflow_status": status,
        "state": status,
        "error": None,
        "created_at": START,
        "ended_at": END,
        "queue": "default",
        "current_step": None,
        "result": {"total": 3},
        "summary": {"completed": 2},
        "tasks": [task("a"), task("b")],
        "next_task_offset": None,
        **more,
    }


@pytest.fixture
def api() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def durable(highway: CommandLine, api: Server) -> CommandLine:
    highway.environ["HIGHWAY_API_ENDPOINT"] = api.url("")
    highway.environ["HIGHWAY_API_KEY"] = "hw_k1_x"
    return highway


def says(api: Server, path: str, answer: Any, status: str = "200 OK") -> None:
    api.answers(path, json.dumps(answer).encode(), status=status)


def body(api: Server) -> Any:
    return json.loads(api.received[-1].body)


def test_a_run_is_shown_with_its_tasks(durable: CommandLine, api: Server) -> None:
    failed = task("b", "failed", error="no money", attempt=3)
    says(api, "/workflow/status/r1", run("failed", error="Task 'b' failed: no money", tasks=[task("a"), failed]))
    done = durable("durable", "status", "r1")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "testing  r1"
    assert "failed, started 2030-01-31 09:00:00 UTC, took 2.00 s" in done.out
    assert "✓ a" in done.out
    assert "no money" in done.out
    assert api.received[-1].headers["authorization"] == "Bearer hw_k1_x"


def test_a_queue_that_not_every_worker_serves_is_shown(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/status/r1", run("PENDING", queue="slow", ended_at=None))
    assert "   PENDING, queue slow, started 2030-01-31 09:00:00 UTC" in durable("durable", "status", "r1").lines


def test_a_run_is_shown_as_json_and_nothing_else(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/status/r1", run())
    assert durable("durable", "status", "r1", "--json").json == run()


def test_a_name_of_a_run_that_controls_the_terminal_does_not(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/status/r1", run(workflow_name="a\x1b[2Jb", tasks=[task("\x1b[31mred")]))
    assert "\x1b" not in durable("durable", "status", "r1").out


def test_an_unknown_run_is_one_sentence_and_exit_code_1(durable: CommandLine, api: Server) -> None:
    problem = {"code": "run_not_found", "title": "Workflow not found", "detail": "There is no run 'r1'."}
    says(api, "/workflow/status/r1", problem, "404 Not Found")
    done = durable("durable", "status", "r1")
    assert (done.code, done.out, done.err) == (1, "", "Error: There is no run 'r1'.\n")


def test_runs_are_listed_and_a_status_may_be_spelled_in_any_case(durable: CommandLine, api: Server) -> None:
    says(api, "/workflows", {"workflows": [run("PAUSED", ended_at=None)], "next_cursor": None, "total_count": 1})
    done = durable("durable", "list", "--status", "paused", "--name", "testing", "--tag", "nightly")
    assert done.code == 0
    assert done.lines[0].split() == ["Run", "Workflow", "Status", "Started", "(UTC)", "Took"]
    assert done.lines[1].startswith("r1   testing   PAUSED  2030-01-31 09:00:00")
    assert "status=PAUSED&name=testing&tag=nightly" in api.received[-1].target


def test_a_status_that_no_run_can_have_is_refused_with_the_nearest(durable: CommandLine, api: Server) -> None:
    done = durable("durable", "list", "--status", "complete")
    assert done.code == 1
    assert "No run has the status 'complete'" in done.err
    assert "completed" in done.err
    assert not api.received


def test_a_history_is_one_line_an_entry(durable: CommandLine, api: Server) -> None:
    event = {"seq": 7, "at": START, "kind": "task.failed", "task_id": "b", "from_task": "a", "attempt": 2}
    says(api, "/workflow/history/r1", {"events": [event | {"worker_id": "w", "detail": "no"}], "next_after": None})
    done = durable("durable", "history", "r1")
    assert done.lines == ["     7  2030-01-31 09:00:00.000  task.failed               b  (after a, attempt 2, no)"]


@pytest.mark.parametrize("deed", ["cancel", "pause", "unpause", "retry"])
def test_a_deed_is_done_and_its_outcome_said(durable: CommandLine, api: Server, deed: str) -> None:
    says(api, f"/workflow/{deed}/r1", {"message": "", "workflow_id": "r1", "status": "cancelled"})
    done = durable("durable", deed, "r1")
    assert (done.code, done.out) == (0, "Run r1 is cancelled.\n")
    assert api.received[-1].method == "POST"


def test_a_deed_that_does_not_go_with_the_state_is_exit_code_1(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/cancel/r1", {"code": "wrong_state", "detail": "Run 'r1' is over."}, "409 Conflict")
    done = durable("durable", "cancel", "r1", "--reason", "late")
    assert (done.code, done.err) == (1, "Error: Run 'r1' is over.\n")
    assert body(api) == {"reason": "late"}


def test_a_decision_by_token_keeps_the_token_as_it_is(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/resume", {"workflow_id": "r1", "task_id": "ask", "status": "COMPLETED"})
    done = durable("durable", "resume", "--token", "a+b/c=&d", "--decision", "APPROVED")
    assert (done.code, done.out) == (0, "APPROVED: ask of run r1 goes on.\n")
    assert body(api)["token"] == "a+b/c=&d"


def test_an_id_that_looks_like_an_option_is_an_id(durable: CommandLine, api: Server) -> None:
    says(api, "/api/v1/approvals/-a--b/decide", {"data": {"workflow_id": "r1", "task_id": "ask"}})
    done = durable("durable", "resume", "--approval", "-a--b", "--decision", "APPROVED")
    assert (done.code, done.out) == (0, "APPROVED: ask of run r1 goes on.\n")


def test_an_unknown_token_is_said_to_be_one(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/resume", {"code": "unknown_token", "detail": "Not found"}, "404 Not Found")
    done = durable("durable", "resume", "--token", "t", "--decision", "APPROVED")
    assert done.code == 1
    assert done.err.startswith("Error: No approval has that token.")


def test_a_decision_that_was_taken_before_is_told(durable: CommandLine, api: Server) -> None:
    problem = {"code": "already_decided", "detail": "It was decided before: DENIED, by Ada."}
    says(api, "/api/v1/approvals/ap1/decide", problem, "409 Conflict")
    done = durable("durable", "resume", "--approval", "ap1", "--decision", "APPROVED")
    assert (done.code, done.err) == (1, "Error: It was decided before: DENIED, by Ada.\n")


def test_open_approvals_are_listed(durable: CommandLine, api: Server) -> None:
    approval = {"key": "ap1", "workflow_id": "r1", "task_id": "ask", "assignee": "ada", "prompt": "Pay?\nReally?"}
    says(api, "/api/v1/approvals", {"data": [approval | {"expires_at": None}], "next_cursor": None})
    assert durable("durable", "approvals").lines[1].split() == ["ap1", "r1", "ask", "ada", "-", "Pay?…"]


def test_an_event_carries_json(durable: CommandLine, api: Server) -> None:
    says(api, "/workflow/events/paid%2Fnow", {"delivered": 2})
    done = durable("durable", "emit", "paid/now", "--payload", '{"sum": 3}')
    assert done.out == "Emitted paid/now: 2 waiting tasks got it. Who waits for it later finds it.\n"
    assert body(api) == {"payload": {"sum": 3}}


def test_a_file_is_submitted_as_its_document(durable: CommandLine, api: Server) -> None:
    started = {"workflow_id": "r1", "workflow_name": "testing", "status": "PENDING", "created": True}
    says(api, "/workflow/start", started, "202 Accepted")
    text = workflow("a: {function: unknown.to.this.machine}")
    done = durable("durable", "submit", durable.write("flow.yaml", text), "--var", "n=3", "--run-id", "r1")
    assert (done.code, done.out) == (0, "Started testing as run r1.\n")
    assert body(api) == {"document": text, "inputs": {"n": 3}, "workflow_id": "r1"}
    as_json = json.dumps({"name": "testing", "tasks": {}})
    assert durable("durable", "submit", durable.write("flow.json", as_json)).code == 0
    assert body(api) == {"document": as_json}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "flow.py",
            "from highway_dsl import WorkflowBuilder\nflow = WorkflowBuilder('testing').task('a', 'f').build()\n",
        ),
        ("flow.yaml", "{name: testing, tasks: {a: {operator_type: task, function: f}}}"),
    ],
)
def test_a_document_that_is_no_text_of_the_api_is_submitted_as_an_object(
    durable: CommandLine, api: Server, name: str, text: str
) -> None:
    started = {"workflow_id": "r1", "workflow_name": "testing", "status": "PENDING", "created": True}
    says(api, "/workflow/start", started, "202 Accepted")
    done = durable("durable", "submit", durable.write(name, text))
    assert done.code == 0, done.err
    sent = body(api)["document"]
    assert (sent["name"], sent["tasks"]["a"]["function"]) == ("testing", "f")


def test_a_name_is_submitted_as_a_name(durable: CommandLine, api: Server) -> None:
    started = {"workflow_id": "r1", "workflow_name": "nightly", "status": "running", "created": False}
    says(api, "/workflow/start", started, "202 Accepted")
    assert durable("durable", "submit", "nightly").out == "Run r1 was started before; it is running.\n"
    assert body(api) == {"name": "nightly"}


def test_the_problems_of_a_document_are_told_with_the_lines_of_its_file(durable: CommandLine, api: Server) -> None:
    problems = [
        {"place": "tasks.a.function", "message": "no such tool", "hint": "", "position": "document:4:6"},
        {"place": "tasks.b", "message": "wrong", "hint": "do right", "position": ""},
    ]
    says(api, "/workflow/start", {"code": "invalid_document", "problems": problems}, "422 Unprocessable Entity")
    done = durable("durable", "submit", durable.write("flow.yaml", workflow("a: {function: f}")))
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: flow.yaml has 2 problems:\n"
        "  - flow.yaml:4:6 tasks.a.function: no such tool\n"
        "  - tasks.b: wrong (do right)\n"
    )


def test_a_file_that_cannot_be_read_never_leaves_this_machine(durable: CommandLine, api: Server) -> None:
    done = durable("durable", "submit", durable.write("flow.yaml", "name: a\nname: b\ntasks: {}\n"))
    assert done.code == 1
    assert "flow.yaml:2" in done.err
    assert not api.received


def test_a_missing_file_is_said_to_be_missing(durable: CommandLine) -> None:
    done = durable("durable", "submit", "gone.yaml")
    assert (done.code, done.err) == (1, "Error: Workflow file 'gone.yaml' does not exist.\n")


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_a_followed_run_gives_its_own_exit_code(durable: CommandLine, api: Server, status: str, code: int) -> None:
    started = {"workflow_id": "r1", "workflow_name": "testing", "status": "PENDING", "created": True}
    says(api, "/workflow/start", started, "202 Accepted")
    says(api, "/workflow/status/r1", run(status, error=None if code == 0 else "no money"))
    event = {"seq": 1, "at": END, "kind": "task.completed", "task_id": "a", "from_task": None, "attempt": 1}
    says(api, "/workflow/history/r1", {"events": [event | {"detail": None}], "next_after": None})
    done = durable("durable", "submit", "testing", "--wait")
    assert done.code == code
    assert "  ✓ a" in done.lines
    assert "Completed: 2" in done.out
    assert ('Result: {"total":3}' in done.out) == (code == 0)
    assert ("durable retry r1" in done.out) == (code == 1)


def test_a_run_is_followed_through_an_outage_which_is_said_once(durable: CommandLine, api: Server) -> None:
    started = {"workflow_id": "r1", "workflow_name": "testing", "status": "PENDING", "created": True}
    problem = json.dumps({"code": "database_unavailable", "detail": "The database is away."}).encode()
    turns = [reply(json.dumps(run()).encode()), *[reply(problem, status="503 Service Unavailable")] * 3]

    def status(*given: Any) -> None:
        (turns.pop() if len(turns) > 1 else turns[0])(*given)

    says(api, "/workflow/start", started, "202 Accepted")
    says(api, "/workflow/history/r1", {"events": [], "next_after": None})
    api.on("/workflow/status/r1", status)
    done = durable("durable", "submit", "testing", "--wait")
    assert done.code == 0, done.err
    assert done.err.count("The database is away.") == 1
    assert done.err.count("The run can be seen again.") == 1


def test_no_database_and_no_api_is_a_sentence_that_says_how_to_get_one(highway: CommandLine) -> None:
    del highway.environ["HIGHWAY_DATABASE_URL"]
    done = highway("durable", "list")
    assert done.code == 1
    assert done.out == ""
    assert "HIGHWAY_DATABASE_URL=postgresql://" in done.err
    assert "highway-core[embedded]" in done.err
    assert "start-services" in done.err


def test_a_database_of_another_kind_is_refused(highway: CommandLine) -> None:
    done = highway("durable", "list")
    assert done.code == 1
    assert "DURABLE mode needs PostgreSQL" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["status"],
        ["resume", "--decision", "APPROVED"],
        ["resume", "--token", "t", "--approval", "a", "--decision", "APPROVED"],
        ["emit", "x", "--payload", "{no"],
        ["emit", ""],
        ["submit", "flow", "--run-id", "a b"],
        ["submit", "flow", "--key", "鍵"],
        ["submit", "flow", "--key", " k"],
        ["start-services", "--workers", "0"],
        ["start-api", "--port", "70000"],
        ["limits", "set", "table", "x"],
        ["submit", "flow", "--queue", "a b"],
        ["frobnicate"],
    ],
)
def test_bad_usage_is_exit_code_2(highway: CommandLine, arguments: list[str]) -> None:
    assert highway("durable", *arguments).code == 2
