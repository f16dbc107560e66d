"""What an operator sets up: the schema, keys, schedules and limits, straight in the database."""

from __future__ import annotations

import pytest

from tests.acceptance.services import Services
from tests.command_line import workflow

SCHEDULED = workflow("a: {function: tools.log.info, args: [tick]}", name="nightly", head="schedule: '0 6 * * 1-5'")
PLAIN = workflow("a: {function: tools.log.info, args: [tick]}", name="nightly")


def test_a_new_database_is_checked_upgraded_and_named(services: Services) -> None:
    before = services.cli("db", "check")
    assert before.code == 1
    assert "durable db upgrade" in before.out
    assert services.cli("db", "current", "--json").json == {"schema": None}
    upgraded = services.cli("db", "upgrade")
    assert upgraded.code == 0, upgraded.err
    revision = services.cli("db", "current", "--json").json["schema"]
    assert revision in upgraded.out
    assert services.cli("db", "check", "--json").json == {"schema": revision, "problems": []}


def test_a_key_is_shown_once_and_listed_without_its_secret(services: Services) -> None:
    made = services.cli("keys", "create", "Ada Lovelace", "--scopes", "runs:read,runs:write", "--days", "30")
    assert made.code == 0, made.err
    key = made.lines[0]
    assert key.startswith("hw_k1_")
    (listed,) = services.cli("keys", "list", "--json").json
    assert (listed["name"], listed["scopes"]) == ("Ada Lovelace", ["runs:read", "runs:write"])
    assert listed["expires_at"] is not None
    assert key.split("_", 3)[3] not in services.cli("keys", "list").out
    assert services.cli("keys", "revoke", listed["key_id"]).code == 0
    again = services.cli("keys", "revoke", listed["key_id"])
    assert (again.code, again.out) == (1, "")


def test_a_scope_that_there_is_not_is_refused_with_those_that_there_are(services: Services) -> None:
    done = services.cli("keys", "create", "ada", "--scopes", "runs:reed")
    assert done.code == 1
    assert "runs:read" in done.err
    assert services.cli("keys", "list", "--json").json == []


def test_limits_are_set_replaced_listed_and_removed(services: Services) -> None:
    assert services.cli("limits", "set", "queue", "slow", "--max-running", "3").code == 0
    assert services.cli("limits", "set", "queue", "slow", "--rate", "0.5").code == 0
    expected = [{"scope": "queue", "name": "slow", "max_running": None, "rate_per_second": 0.5}]
    assert services.cli("limits", "list", "--json").json == expected
    assert services.cli("limits", "remove", "queue", "slow").code == 0
    assert services.cli("limits", "list").out == "There are no limits.\n"
    assert services.cli("limits", "remove", "queue", "slow").code == 1


@pytest.mark.parametrize("arguments", [[], ["--max-running", "0"], ["--rate", "-1"], ["--rate", "nan"]])
def test_a_limit_that_limits_nothing_is_refused(services: Services, arguments: list[str]) -> None:
    assert services.cli("limits", "set", "queue", "slow", *arguments).code == (2 if arguments else 1)


def test_a_schedule_is_added_listed_paused_and_removed(services: Services) -> None:
    file = services.command_line.write("nightly.yaml", SCHEDULED)
    added = services.cli("schedule", "add", file, "--timezone", "Europe/Berlin", "--var", "n=3")
    assert added.code == 0, added.err
    assert "Next run: " in added.out
    (one,) = services.cli("schedule", "list", "--json").json
    assert (one["schedule_id"], one["schedule"], one["timezone"]) == ("nightly", "0 6 * * 1-5", "Europe/Berlin")
    assert (one["inputs"], one["paused"]) == ({"n": 3}, False)
    assert services.cli("schedule", "pause", "nightly").code == 0
    assert "paused" in services.cli("schedule", "list").lines[1]
    assert services.cli("schedule", "unpause", "nightly").code == 0
    assert services.cli("schedule", "remove", "nightly").code == 0
    assert services.cli("schedule", "list").out == "There are no schedules.\n"


def test_all_that_is_wrong_with_a_document_is_told_at_once_with_its_lines(services: Services) -> None:
    tasks = [
        "a: {function: tools.log.nothing}",
        "b: {operator_type: tusk}",
        "c: {function: tools.log.info, after: [a]}",
    ]
    file = services.command_line.write("bad.yaml", workflow(*tasks))
    for command in (["submit", file], ["schedule", "add", file]):
        done = services.cli(*command)
        assert (done.code, done.out) == (1, "")
        told = done.err.splitlines()
        assert told[0] == "Error: bad.yaml has 3 problems:"
        assert [line.split()[1] for line in told[1:]] == [f"bad.yaml:{line}" for line in ("4:28", "5:7", "6:54")]


def test_an_option_stands_for_what_the_document_says_of_its_schedule(services: Services) -> None:
    document = workflow("a: {function: tools.log.info, args: [tick]}", name="nightly", head="schedule: 'never'")
    file = services.command_line.write("nightly.yaml", document)
    assert "bad schedule 'never'" in services.cli("schedule", "add", file).err
    added = services.cli("schedule", "add", file, "--schedule", "0 6 * * *", "--json")
    assert added.json["schedule"] == "0 6 * * *", added.err


def test_a_slot_that_was_missed_is_said_to_be_due_and_not_to_come(services: Services) -> None:
    head = "schedule: '0 6 * * *'\nstart_date: '2026-01-01T00:00:00'"
    document = workflow("a: {function: tools.log.info, args: [tick]}", name="nightly", head=head)
    file = services.command_line.write("nightly.yaml", document)
    added = services.cli("schedule", "add", file)
    assert "Next run: due since 2026-01-02 06:00 UTC" in added.out, added.err
    assert "due since 2026-01-02 06:00 UTC" in services.cli("schedule", "list").lines[1]
    services.cli("schedule", "pause", "nightly")
    assert "Next run: paused" in services.cli("schedule", "add", file).out


def test_a_schedule_is_triggered_beside_its_times(services: Services) -> None:
    file = services.command_line.write("nightly.yaml", SCHEDULED)
    assert services.cli("schedule", "add", file).code == 0
    triggered = services.cli("schedule", "trigger", "nightly", "--json").json
    (run,) = services.cli("list", "--json").json
    assert (run["workflow_id"], run["schedule_id"]) == (triggered["workflow_id"], "nightly")
    assert run["created_by"].startswith("local:cli:")


def test_a_scheduled_run_may_use_its_slot_and_the_inputs_of_its_schedule_by_their_names(services: Services) -> None:
    said = 'a: {function: tools.log.info, args: ["{{n}} {{data_interval_end}} {{inputs.data_interval_start}} {{ds}}"]}'
    document = workflow(said, name="nightly", head="schedule: '0 6 * * *'")
    added = services.cli("schedule", "add", services.command_line.write("nightly.yaml", document), "--var", "n=3")
    assert added.code == 0, added.err
    triggered = services.cli("schedule", "trigger", "nightly", "--json")
    assert triggered.code == 0, triggered.err
    assert services.cli("status", triggered.json["workflow_id"]).code == 0


def test_the_options_of_a_schedule_win_over_its_document(services: Services) -> None:
    file = services.command_line.write("nightly.yaml", PLAIN)
    without = services.cli("schedule", "add", file)
    assert without.code == 1
    assert "has no schedule" in without.err
    options = ["--schedule", "@every 30m", "--id", "often", "--catchup", "--max-active-runs", "2"]
    added = services.cli("schedule", "add", file, *options, "--start-date", "2030-01-31T06:00:00Z", "--json")
    assert added.code == 0, added.err
    one = added.json
    assert (one["schedule_id"], one["schedule"], one["catchup"]) == ("often", "@every 30m", True)
    assert (one["max_active_runs"], one["start_date"]) == (2, "2030-01-31T06:00:00+00:00")


@pytest.mark.parametrize("expression", ["61 * * * *", "every day", "@every 0s"])
def test_a_schedule_that_means_nothing_is_refused(services: Services, expression: str) -> None:
    file = services.command_line.write("nightly.yaml", PLAIN)
    done = services.cli("schedule", "add", file, "--schedule", expression)
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err


def test_an_unknown_schedule_is_one_sentence(services: Services) -> None:
    done = services.cli("schedule", "pause", "nobody")
    assert done.code == 1
    assert done.err.startswith("Error: There is no schedule 'nobody'")
