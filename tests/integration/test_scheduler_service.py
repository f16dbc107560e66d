"""A Scheduler at work: on time, quiet when idle, any number of them at once, and through an outage of PostgreSQL."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.loader import Source, compile_document
from highway_core.errors import ConfigError, SchemaError
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.persistence.schema import require_schema
from highway_core.services.embedded_postgres import EmbeddedPostgres
from highway_core.services.scheduler import Scheduler
from highway_core.services.schedules import Schedules
from tests.durable_rows import Rows
from tests.waiting import eventually

_LATENESS = """
CREATE TABLE lateness (seconds double precision);
CREATE FUNCTION note_lateness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lateness VALUES (extract(epoch FROM clock_timestamp() - old.due_at));
    RETURN new;
END $$;
CREATE TRIGGER note AFTER UPDATE ON task_queue FOR EACH ROW
   WHEN (old.due_at IS NOT NULL AND new.due_at IS NULL) EXECUTE FUNCTION note_lateness();
"""


def _settings(url: str, **more: Any) -> Settings:
    return replace(Settings(), database_url=url, **more)


@contextmanager
def _running(*schedulers: Scheduler) -> Iterator[None]:
    threads = [threading.Thread(target=scheduler.run) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for scheduler in schedulers:
            scheduler.stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def connection(postgres_url: str) -> Iterator[DurableConnection]:
    require_schema(postgres_url)
    connection = DurableConnection(postgres_url)
    yield connection
    connection.close()


def _seen(connection: DurableConnection, service: str = "scheduler") -> Callable[[], int]:
    return lambda: int(connection.value("SELECT count(*) FROM workers WHERE service = %s", (service,)))


def _sleepers(connection: DurableConnection, amount: int, due: str) -> None:
    connection.run(
        "INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, owner)"
        " SELECT 'r' || n, 'test', 'DURABLE', 'running', clock_timestamp(), clock_timestamp(), ''"
        " FROM generate_series(1, %s) AS n",
        (amount,),
    )
    connection.run(
        "INSERT INTO task_queue (workflow_id, task_id, kind, status, due_at)"
        f" SELECT 'r' || n, 't', 'wake', 'WAITING_FOR_TIMER', clock_timestamp() + {due}"
        " FROM generate_series(1, %s) AS n",
        (amount,),
    )


@pytest.mark.parametrize("schedulers", [1, 3])
def test_thousands_of_timers_of_two_seconds_are_woken_once_and_on_time(
    connection: DurableConnection, postgres_url: str, schedulers: int
) -> None:
    connection.run(_LATENESS)
    with _running(*(Scheduler(_settings(postgres_url)) for _ in range(schedulers))):
        assert eventually(lambda: _seen(connection)() == schedulers)
        _sleepers(connection, 5000, "interval '0.5 s' + random() * interval '2 s'")
        connection.run("SELECT pg_notify('highway_timer', '')")
        asked = "SELECT count(*) FROM task_queue WHERE status = 'QUEUED'"
        assert eventually(lambda: connection.value(asked) == 5000, within=20)
    amount, least, p99 = connection.fetch(
        "SELECT count(*), min(seconds), percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds) FROM lateness"
    )[0]
    assert amount == 5000, "each timer is woken once"
    assert least >= 0, "no timer fires early"
    assert p99 < 0.5, "the target is 0.05 s; a machine that is busy with other tests gets more"


def test_an_idle_scheduler_asks_little(
    connection: DurableConnection, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted over the passes of one minute, with a clock whose hands are turned."""
    _sleepers(connection, 100, "interval '1 hour'")
    Schedules(connection).register(_nightly("0 0 1 1 *"))
    clock = _Clock()
    scheduler = Scheduler(_settings(postgres_url, retention_days=30), clock=clock)
    asked: list[str] = []
    for name in ("fetch", "run"):
        monkeypatch.setattr(DurableConnection, name, _counting(getattr(DurableConnection, name), asked))
    passes = 0
    while clock.seconds < 60:
        scheduler.run_once()
        clock.seconds += min(scheduler.until_next(), scheduler.poll_interval)
        passes += 1
    assert 12 <= passes <= 30
    assert len(asked) <= 50
    scheduler.close()


def test_a_timer_that_is_stored_while_it_sleeps_is_heard_of(connection: DurableConnection, postgres_url: str) -> None:
    with _running(Scheduler(_settings(postgres_url, poll_seconds=600.0))):
        assert eventually(_seen(connection))
        _sleepers(connection, 1, "interval '0.2 s'")
        connection.run("SELECT pg_notify('highway_timer', '')")
        assert eventually(lambda: Rows(connection).queued())


def test_without_notifications_a_timer_is_found_at_the_next_poll(
    connection: DurableConnection, postgres_url: str
) -> None:
    with _running(Scheduler(_settings(postgres_url, poll_seconds=0.2))):
        assert eventually(_seen(connection))
        _sleepers(connection, 1, "interval '0 s'")
        assert eventually(lambda: Rows(connection).queued())


def test_workers_are_told_after_the_rows_are_theirs_to_claim(connection: DurableConnection, postgres_url: str) -> None:
    _sleepers(connection, 1, "interval '-1 s'")
    listener = DurableConnection(postgres_url)
    listener.listen("highway_work")
    scheduler = Scheduler(_settings(postgres_url))
    assert scheduler.run_once() == 1
    assert eventually(lambda: listener.notifications() == [("highway_work", "")])
    scheduler.close()
    listener.close()


def test_a_slot_is_started_when_it_comes_by_one_of_several_schedulers(
    connection: DurableConnection, postgres_url: str
) -> None:
    with _running(*(Scheduler(_settings(postgres_url)) for _ in range(3))):
        assert eventually(lambda: _seen(connection)() == 3)
        Schedules(connection).register(_nightly("@every 1s", max_active_runs=100))
        count = "SELECT count(*) FROM workflows"
        assert eventually(lambda: connection.value(count) >= 3)
    late, amount, slots = connection.fetch(
        "SELECT max(extract(epoch FROM start_time - slot)), count(*), count(DISTINCT slot) FROM workflows"
    )[0]
    assert amount == slots
    assert 0 <= late < 1


def test_a_row_that_somebody_holds_is_not_asked_for_without_a_pause(
    connection: DurableConnection, postgres_url: str
) -> None:
    _sleepers(connection, 1, "interval '-1 s'")
    scheduler = Scheduler(_settings(postgres_url))
    with connection.transaction():
        connection.run("SELECT 1 FROM task_queue FOR UPDATE")
        pauses = []
        for _ in range(8):
            assert scheduler.run_once() == 0
            pauses.append(scheduler.until_next())
        assert min(pauses) >= 0.005
        assert 0.3 < max(pauses) <= 1.0
    assert scheduler.run_once() == 1
    scheduler.close()


def test_a_schedule_with_as_many_runs_as_it_may_have_is_not_asked_for_without_a_pause(
    connection: DurableConnection, postgres_url: str
) -> None:
    Schedules(connection).register(_nightly("@hourly", catchup=True))
    connection.run("UPDATE schedules SET next_slot = '2024-01-01'")
    scheduler = Scheduler(_settings(postgres_url))
    assert scheduler.run_once() == 1
    assert scheduler.until_next() > 0.5
    assert scheduler.run_once() == 0
    connection.run("UPDATE workflows SET status = 'completed', end_time = clock_timestamp()")
    assert eventually(lambda: scheduler.run_once() == 1)
    scheduler.close()


def test_it_signs_in_and_off_and_forgets_services_that_died(connection: DurableConnection, postgres_url: str) -> None:
    connection.run(
        "INSERT INTO workers (worker_id, service, host, pid, seen_at) SELECT name, 'worker', 'h', 1,"
        " clock_timestamp() - age FROM (VALUES ('dead', interval '1 h'), ('alive', interval '1 min')) AS x(name, age)"
    )
    with _running(Scheduler(_settings(postgres_url))):
        assert eventually(_seen(connection))
        assert eventually(lambda: _seen(connection, "worker")() == 1)
    assert _seen(connection)() == 0


def test_as_a_process_it_ends_in_order_at_sigterm(connection: DurableConnection, postgres_url: str) -> None:
    environ = {**os.environ, "HIGHWAY_DATABASE_URL": postgres_url}
    command = [sys.executable, "-m", "highway_core.services.scheduler"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(_seen(connection), within=30)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    assert _seen(connection)() == 0


def test_a_database_of_another_version_is_refused(connection: DurableConnection, postgres_url: str) -> None:
    connection.run("UPDATE alembic_version SET version_num = 'highway_9999'")
    with pytest.raises(SchemaError, match="highway_9999"):
        Scheduler(_settings(postgres_url)).run()


def test_no_database_of_a_kind_that_it_can_use_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="HIGHWAY_DATABASE_URL"):
        Scheduler(Settings())


def test_it_goes_on_after_postgresql_was_killed_and_says_so_once_as_does_one_started_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    home = Path(tempfile.mkdtemp(prefix="hwpg"))
    server = EmbeddedPostgres(home)
    try:
        url = server.start()
        require_schema(url)
        with _running(Scheduler(_settings(url, poll_seconds=0.2))):
            connection = DurableConnection(url)
            assert eventually(_seen(connection))
            connection.run("CHECKPOINT")
            connection.close()
            os.kill(int((home / "postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            assert eventually(lambda: _said(caplog, "waits for the database"))
            assert not eventually(lambda: len(_said(caplog, "waits for the database")) > 1, within=1.5)
            with _running(Scheduler(_settings(url))):
                assert eventually(lambda: len(_said(caplog, "waits for the database")) == 2)
                server.start()
                _sleepers(connection, 1, "interval '0.1 s'")
                assert eventually(lambda: Rows(connection).queued())
                assert eventually(lambda: len(_said(caplog, "works again")) == 2)
            connection.close()
        assert len(_said(caplog, "waits for the database")) == 2
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if words in one.getMessage()]


class _Clock:
    """Its hands are turned by the test."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Any:
        raise AssertionError("the Scheduler asked for the wall clock of its machine")


def _counting(function: Callable[..., Any], asked: list[str]) -> Callable[..., Any]:
    def counted(connection: DurableConnection, sql: str, *values: Any) -> Any:
        asked.append(sql)
        return function(connection, sql, *values)

    return counted


def _nightly(schedule: str, **more: Any) -> Any:
    tasks = {"say": {"operator_type": "task", "function": "tools.log.info", "args": ["x"]}}
    return compile_document(Source({"name": "nightly", "schedule": schedule, "tasks": tasks, **more}, "<test>"))[0]
