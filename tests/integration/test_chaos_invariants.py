"""The invariants of ``tests.chaos`` hold of a system that nothing happened to, and each of them can fail."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.http import Caller
from tests.chaos.invariants import CHECKS, Said, examine, take_down
from tests.chaos.server import OwnPostgres
from tests.chaos.workload import CHILD, SHAPES, asking, parent
from tests.waiting import eventually

A_LOG_OF_LOG = "INSERT INTO event_log (workflow_id, seq, at, kind, task_id) SELECT workflow_id, seq + 1000, at, "
NAMED = "workflow_id IN (SELECT workflow_id FROM workflows WHERE workflow_name = '{}')"

HARM = {
    "I1 a start that was acknowledged is there": "INSERT INTO acknowledged VALUES ('nowhere', NULL)",
    "I1 it is what was asked for, and found under its key": "UPDATE workflows SET inputs_json = '{}'",
    "I2 every run is over": "UPDATE workflows SET status = 'running' WHERE workflow_name = 'chain'",
    "I2 no task is being carried out": f"UPDATE tasks SET status = 'running' WHERE {NAMED.format('chain')}",
    "I2 a completed run has decided about each of its tasks": (
        f"DELETE FROM tasks WHERE task_id = 'z' AND {NAMED.format('diamond')}"
    ),
    "I2 a completed loop has carried out its body for each item": "DELETE FROM tasks WHERE task_id = 'each[0].two'",
    "I3 a task ends once": f"{A_LOG_OF_LOG} kind, task_id FROM event_log WHERE kind = 'task.completed'",
    "I3 a run ends once": "DELETE FROM event_log WHERE kind = 'run.completed'",
    "I3 the log has no gap and no repetition": "DELETE FROM event_log WHERE seq = 2",
    "I3 nothing happens after the end": f"{A_LOG_OF_LOG} 'task.running', task_id FROM event_log WHERE seq = 2",
    "I3 the log says of every task and run what its row says": (
        "UPDATE event_log SET kind = 'run.failed' WHERE kind = 'run.completed'"
    ),
    "I4 nothing begins before what it depends on has ended": (
        "UPDATE event_log SET seq = -seq WHERE kind = 'task.running' AND task_id = 't1'"
    ),
    "I4 nothing has its effect before what it depends on has ended": "UPDATE ledger SET at = at - 100",
    "I4 what was skipped never began": (
        "INSERT INTO ledger SELECT workflow_id, task_id, 1, '', 0 FROM tasks WHERE status = 'skipped'"
    ),
    "I5 what is completed has had its effect": "DELETE FROM ledger WHERE task = 't1'",
    "I5 what has had an effect is known": "UPDATE ledger SET task = 'unknown' WHERE task = 't1'",
    "I5 an attempt has its effect once": "INSERT INTO ledger SELECT * FROM ledger",
    "I5 as many effects as attempts, at most": "UPDATE tasks SET attempt = 0",
    "I6 attempts are counted up": (
        f"UPDATE event_log SET attempt = 99 WHERE kind = 'task.running' AND attempt = 1 AND {NAMED.format('hopeless')}"
    ),
    "I6 the answer that counts is of the last attempt": "UPDATE ledger SET attempt = attempt + 1",
    "I7 memory is the sum of what was added": "UPDATE workflow_memory SET memory_value_json = '77'",
    "I8 the queue holds nothing of runs that are over": """
        INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority)
        SELECT workflow_id, 't1', 'work', 'QUEUED', 'default', 0 FROM workflows LIMIT 1""",
    "I8 nothing had to be repaired": "INSERT INTO counters (name, value) VALUES ('queue_rows_repaired', 1)",
    "I9 no timer fires before its time": "UPDATE tasks SET wake_up_at = wake_up_at + interval '1 minute'",
    "I10 an approval has one decision, and its task has the same": (
        "UPDATE approvals SET decision = 'DENIED' WHERE decision = 'APPROVED'"
    ),
    "I10 a decision that was acknowledged stands": "UPDATE decided SET decision = 'DENIED'",
    "I11 what a task has seen is what was recorded": (
        "UPDATE ledger SET seen = json_build_object('t0', 'another') WHERE task = 't1'"
    ),
    "I12 a final status that was told is final": "UPDATE told SET status = 'cancelled'",
}
SLOW = "I8 nobody sits in a transaction"


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cursor over what is left when every shape of the workload was carried out once."""
    server, folder = OwnPostgres(), tmp_path_factory.mktemp("witnessed")
    workflows = folder / "workflows"
    workflows.mkdir()
    (workflows / "child.json").write_text(json.dumps(CHILD))
    cluster = Cluster(folder, server.database(), HIGHWAY_WORKFLOWS_DIR=str(workflows))
    try:
        services = cluster.services
        for start in (services.worker, services.scheduler, services.api):
            start()
        cluster.workers_up()
        services.answers("/readyz")
        said = _everything_once(cluster)
        connection = cluster.connect()
        connection.autocommit = False
        with connection.cursor() as cursor:
            take_down(cursor, cluster.ledger.effects(), said)
            connection.commit()
            yield cursor
        connection.rollback()
    finally:
        cluster.close()
        server.close()


def _everything_once(cluster: Cluster) -> Said:
    caller = Caller(cluster.services.port)
    keys: dict[str, str | None] = {}
    for shape in dict.fromkeys(SHAPES):
        document = {"name": shape.__name__, "tasks": shape(random.Random(4))}
        code, answer = caller.start(document, shape.__name__, {"marker": shape.__name__})
        assert code == 202, answer
        keys[answer["workflow_id"]] = shape.__name__
    asked: list[tuple[str]] = []
    (run,) = (one for one, name in keys.items() if name == asking.__name__)
    there = "SELECT approval_id FROM approvals WHERE workflow_id = %s"
    assert eventually(lambda: asked.extend(cluster.rows(there, run)) or asked, within=20)
    code, answer = caller.ask("POST", f"/api/v1/approvals/{asked[0][0]}/approve", {})
    assert code == 200, answer
    caller.close()
    cluster.over()
    (with_children,) = (one for one, name in keys.items() if name == parent.__name__)
    assert cluster.status(with_children) == "completed"
    told = [(one, cluster.status(one)) for one in keys]
    return Said(keys, told, {asked[0][0]: "APPROVED"})


def test_they_hold_of_an_undisturbed_system(witnessed: Any) -> None:
    assert examine(witnessed) == {}
    assert {*HARM, SLOW} == {*CHECKS}, "each of them can fail"


@pytest.mark.parametrize("name", HARM)
def test_each_can_fail(witnessed: Any, name: str) -> None:
    try:
        witnessed.execute(HARM[name])
        assert witnessed.rowcount > 0
        assert name in examine(witnessed)
    finally:
        witnessed.connection.rollback()


def test_somebody_who_sits_in_a_transaction_is_seen(witnessed: Any) -> None:
    own = witnessed.connection
    sitter = type(own)(own.dsn)
    with sitter.cursor() as cursor:
        cursor.execute("SELECT 1")

    def seen() -> bool:
        own.rollback()
        return SLOW in examine(witnessed)

    try:
        assert eventually(seen, within=15)
    finally:
        sitter.close()
        own.rollback()
