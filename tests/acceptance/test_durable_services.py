"""The services as an operator has them: started in any order, restarted when they die, stopped in good order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from highway_core.services.embedded_postgres import EmbeddedPostgres
from tests.acceptance.services import Services
from tests.command_line import CLI, CommandLine, workflow
from tests.waiting import eventually, runs

CHAIN = workflow(
    "a: {function: tools.log.info, args: [one]}", "b: {function: tools.log.info, args: [two], dependencies: [a]}"
)
HELD = workflow(
    "a: {function: held.until, args: [gate]}", "b: {function: tools.log.info, args: [two], dependencies: [a]}"
)
TOOLS = """
import time
from pathlib import Path

@tool("held.until")
def until(name):
    with open("started", "a") as file:
        file.write("x")
    while not Path(name).exists():
        time.sleep(0.01)

@tool("held.shell")
def shell():
    import subprocess
    subprocess.Popen(["sleep", "600"])
    open("started", "a").write("x")
    time.sleep(600)
"""


def submitted(services: Services, document: str = CHAIN, name: str = "flow") -> str:
    """The id of a new run."""
    done = services.cli("submit", services.command_line.write(f"{name}.yaml", document), "--json")
    assert done.code == 0, done.err
    return str(done.json["workflow_id"])


def started(services: Services, times: int = 1) -> bool:
    """Whether the held task was begun so often."""
    file = services.folder / "started"
    return file.exists() and len(file.read_text()) >= times


def test_everything_together_is_ready_runs_a_workflow_and_stops(services: Services) -> None:
    everything = services.all(workers=2).ready()
    assert f"API: {services.url}" in everything.log()
    assert services.answers("/readyz")["ready"] is True
    assert (len(everything.children("worker")), len(everything.children())) == (2, 4)
    assert services.is_over(submitted(services)) == "completed"
    assert everything.stop(signal.SIGTERM) == 0
    assert not services.left_behind()


def test_it_is_not_ready_before_a_worker_is(services: Services) -> None:
    everything = services.all()
    everything.ready()
    told = services.answers("/readyz")
    assert told["live_workers"] >= 1


def test_ctrl_c_stops_everything_in_good_order(services: Services) -> None:
    everything = services.all("--no-api").ready()
    assert everything.stop(signal.SIGINT) == 0
    assert not services.left_behind()


def test_without_the_api_there_is_none(services: Services) -> None:
    everything = services.all("--no-api").ready()
    assert not everything.children("api")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", services.port)) != 0
    assert services.is_over(submitted(services)) == "completed"  # straight through the database


@pytest.mark.parametrize("kind", ["worker", "scheduler", "api"])
def test_a_service_that_is_killed_is_started_again_and_that_is_said(services: Services, kind: str) -> None:
    everything = services.all().ready()
    (victim,) = everything.children(kind)
    os.kill(victim, signal.SIGKILL)
    everything.says(rf"^{kind}\S* ended with SIGKILL after .* it is started again")
    assert eventually(lambda: everything.children(kind) not in ([], [victim]), within=30)
    services.answers("/readyz")
    assert services.is_over(submitted(services)) == "completed"


def test_services_on_their_own_start_and_stop_in_any_order(services: Services) -> None:
    worker = services.worker()  # on a database without a schema
    run_id = submitted(services)
    assert services.is_over(run_id) == "completed", "chains need no Scheduler"
    scheduler, api = services.scheduler(), services.api()
    services.answers("/readyz")
    assert [services.cli("health", kind).code for kind in ("worker", "scheduler")] == [0, 0]
    assert worker.stop() == 0
    assert services.cli("health", "worker").code == 1
    second = submitted(services, name="second")
    third = services.worker("--concurrency", "2")
    assert services.is_over(second) == "completed"
    assert [scheduler.stop(), third.stop(), api.stop()] == [0, 0, 0]
    assert not services.left_behind()


def test_sigterm_lets_what_is_being_done_finish(services: Services) -> None:
    services.command_line.tools(TOOLS)
    everything = services.all("--no-api").ready()
    run_id = submitted(services, HELD)
    assert eventually(lambda: started(services))
    everything.send(signal.SIGTERM)
    everything.says("^Stopping")
    (services.folder / "gate").touch()
    assert everything.ends() == 0
    told = services.tasks(run_id)
    assert (told["a"], told["b"]) == ("completed", "QUEUED")


def test_what_does_not_finish_in_the_grace_time_is_left_to_others_and_costs_no_attempt(services: Services) -> None:
    services.command_line.tools(TOOLS)
    worker = services.worker(HIGHWAY_GRACE_SECONDS="0.5")
    run_id = submitted(services, HELD)
    assert eventually(lambda: started(services))
    begun = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begun < 0.5 + 2
    assert services.tasks(run_id)["a"] == "QUEUED"
    (services.folder / "gate").touch()
    services.worker()
    assert services.is_over(run_id) == "completed"
    assert next(task["attempt"] for task in services.status(run_id)["tasks"] if task["task_id"] == "a") == 1


def test_the_second_sigterm_ends_everything_at_once(services: Services) -> None:
    services.command_line.tools(TOOLS)
    everything = services.all(workers=2).ready()
    submitted(services, HELD)
    assert eventually(lambda: started(services))
    everything.send(signal.SIGTERM)
    everything.says("^Stopping")
    begun = time.monotonic()
    assert everything.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 5
    assert eventually(lambda: not services.left_behind())


def test_the_second_sigterm_ends_a_worker_at_once(services: Services) -> None:
    services.command_line.tools(TOOLS)
    worker = services.worker()
    submitted(services, HELD)
    assert eventually(lambda: started(services))
    worker.send(signal.SIGTERM)
    time.sleep(0.2)  # two signals at the same moment are one
    assert worker.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert eventually(lambda: not services.left_behind())


def test_when_the_supervisor_is_killed_the_services_go_too(services: Services) -> None:
    everything = services.all(workers=2).ready()
    children = everything.children()
    everything.send(signal.SIGKILL)
    assert eventually(lambda: not any(map(runs, children)), within=20)
    assert not services.left_behind()


def test_a_killed_worker_takes_its_processes_with_it(services: Services) -> None:
    services.command_line.tools(TOOLS)
    worker = services.worker()
    shell = workflow("a: {function: tools.shell.run, args: ['touch started; sleep 600 & sleep 600']}")
    submitted(services, shell)
    assert eventually((services.folder / "started").exists, within=30)
    worker.send(signal.SIGKILL)
    worker.ends()
    assert eventually(lambda: not services.left_behind(), within=20)


def test_a_database_that_is_not_there_yet_is_waited_for_and_that_is_said_once(
    services: Services, postgres_server: str
) -> None:
    missing = services.environ["HIGHWAY_DATABASE_URL"].replace("/test_", "/later_test_")
    worker, scheduler = services.worker(HIGHWAY_DATABASE_URL=missing), services.scheduler(HIGHWAY_DATABASE_URL=missing)
    for service in (worker, scheduler):
        service.says("waits for the database, and tries again: .*later_test_")
    time.sleep(1.5)  # the time in which a loop without pauses would say it a hundred times
    assert [service.log().count("waits for the database") for service in (worker, scheduler)] == [1, 1]
    created = urlsplit(missing).path.strip("/")
    _sql(postgres_server, f"CREATE DATABASE {created}")
    try:
        for service in (worker, scheduler):
            service.says("works again")
        assert worker.stop() == 0
        assert scheduler.stop() == 0
    finally:
        services.close()
        _sql(postgres_server, f"DROP DATABASE {created} WITH (FORCE)")


def test_a_database_that_goes_away_is_waited_for_and_does_not_keep_services_from_stopping(
    embedded_services: Services,
) -> None:
    services = embedded_services
    database = EmbeddedPostgres(Path(services.environ["HIGHWAY_HOME"]))
    database.start()
    try:
        worker, scheduler = services.worker(), services.scheduler()
        assert services.is_over(submitted(services)) == "completed"
        database.stop()
        for service in (worker, scheduler):
            service.says("waits for the database")
        database.start()
        back = time.monotonic()
        assert services.is_over(submitted(services, name="second")) == "completed"
        assert time.monotonic() - back < 15
        assert all(service.log().count("tries again") < 10 for service in (worker, scheduler))
        database.stop()
        stopped = time.monotonic()
        assert [worker.stop(), scheduler.stop()] == [0, 0]
        assert time.monotonic() - stopped < 10
    finally:
        database.stop()


@pytest.mark.parametrize("command", ["start-worker", "start-scheduler", "start-api", "start-services"])
def test_a_schema_of_a_newer_highway_is_refused(services: Services, command: str) -> None:
    assert services.cli("db", "upgrade").code == 0
    _sql(services.environ["HIGHWAY_DATABASE_URL"], "UPDATE alembic_version SET version_num = 'highway_9999'")
    service = services.api()
    assert service.ends() == 1
    assert "Error: " in service.log()
    assert "highway_9999" in service.log()
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("command", ["start-worker", "start-scheduler", "start-api"])
def test_no_database_is_a_sentence_that_says_how_to_get_one(highway: CommandLine, command: str) -> None:
    del highway.environ["HIGHWAY_DATABASE_URL"]
    done = highway("durable", command)
    assert done.code == 1
    assert done.err.startswith("Error: No database is named")
    assert "HIGHWAY_DATABASE_URL" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["start-services", "start-api"])
def test_a_port_that_is_taken_is_said_before_anything_starts(services: Services, command: str) -> None:
    with socket.create_server(("127.0.0.1", services.port)):
        started = services.all() if command == "start-services" else services.api()
        assert started.ends() == 1
    assert f"Error: The API cannot listen at 127.0.0.1:{services.port}" in started.log()
    assert "--port" in started.log()


def test_an_api_beyond_this_machine_asks_for_a_key(services: Services) -> None:
    everything = services.all("--host", "0.0.0.0").ready()
    url = f"http://127.0.0.1:{services.port}"
    refused = services.cli("list", "--api", url)
    assert refused.code == 1
    assert "key" in refused.err
    made = services.cli("keys", "create", "ada", "--scopes", "runs:read", "--json")
    assert made.code == 0, made.err
    assert services.cli("list", "--api", url, HIGHWAY_API_KEY=made.json["key"]).code == 0
    assert services.cli("keys", "revoke", made.json["key_id"]).code == 0
    listed = services.cli("keys", "list").out
    assert "revoked" in listed
    assert made.json["key"] not in listed
    assert everything.stop() == 0


def test_the_embedded_postgresql_is_started_found_and_stopped(embedded_services: Services) -> None:
    everything = embedded_services.all().ready()
    run_id = submitted(embedded_services)
    assert embedded_services.is_over(run_id) == "completed"
    assert embedded_services.cli("db", "check").code == 0
    assert everything.stop() == 0
    assert not embedded_services.left_behind()
    refused = embedded_services.cli("status", run_id)
    assert refused.code == 1
    assert "no embedded PostgreSQL runs" in refused.err
    again = embedded_services.all().ready()
    assert embedded_services.tasks(run_id)["b"] == "completed"
    assert again.stop() == 0


def test_the_embedded_postgresql_is_started_again_when_it_is_killed(embedded_services: Services) -> None:
    everything = embedded_services.all().ready()
    pid_file = Path(embedded_services.environ["HIGHWAY_HOME"]) / "postgres" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    everything.says("The embedded PostgreSQL is gone; it is started again")
    assert eventually(lambda: embedded_services.cli("list").code == 0, within=60)
    assert embedded_services.is_over(submitted(embedded_services)) == "completed"
    assert everything.stop() == 0


def test_a_terminal_that_is_closed_leaves_nothing(services: Services) -> None:
    """What a closed terminal does: SIGHUP to the foreground group, and nobody reads any more."""
    reader, writer = os.pipe()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may stand before the tests
    process = subprocess.Popen(
        [sys.executable, str(CLI), "durable", "start-services", "--no-api"],
        env=services.environ,
        cwd=services.folder,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        start_new_session=True,
    )
    signal.signal(signal.SIGHUP, before)
    os.close(writer)
    said = b""
    while b"Ready." not in said:
        more = os.read(reader, 65536)
        assert more, said
        said += more
    os.close(reader)
    os.killpg(process.pid, signal.SIGHUP)
    process.wait(30)
    assert eventually(lambda: not services.left_behind(), within=20)


def _sql(url: str, statement: str) -> None:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
