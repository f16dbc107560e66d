"""Real workers and a real Scheduler as processes of their own, a client in this one, and what all of it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from highway_core.config import Settings, normalise_database_url
from highway_core.engine.durable.operations import DurableRuns, StartRequest
from highway_core.engine.durable.wiring import durable_services, open_durable
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import Source, compile_document
from highway_core.errors import RunConflictError
from highway_core.persistence.durable_connection import ConnectionPool, DurableConnection
from highway_core.persistence.run_reads import RunReads
from highway_core.persistence.run_waiter import RunWaiter
from highway_core.tools.registry import ToolRegistry
from highway_core.utils.json_values import dumps, loads
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).parent / "tools"
_PATIENCE = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """One service, and what the kernel says of it."""

    def __init__(self, module: str, environ: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            command = [sys.executable, "-m", module]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pid = self._process.pid

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def peak(self) -> float:
        """Mebibytes that it needed at the most."""
        return self._status("VmHWM") / 1024

    @property
    def memory(self) -> float:
        """Mebibytes that it needs now."""
        return self._status("VmRSS") / 1024

    @property
    def threads(self) -> int:
        return int(self._status("Threads"))

    @property
    def files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def cpu(self) -> float:
        """Seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def _status(self, name: str) -> float:
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return float(text.partition(f"\n{name}:")[2].split()[0])


class System:
    """Services over one database."""

    def __init__(self, url: str, home: Path, **environ: str) -> None:
        self.url = url
        self.workflows = home / "workflows"
        self.workflows.mkdir(exist_ok=True)
        self._log = home / "services.log"
        self._environ = {
            **os.environ,
            "HIGHWAY_DATABASE_URL": url,
            "HIGHWAY_HOME": str(home),
            "HIGHWAY_TOOLS_DIR": str(TOOLS),
            "HIGHWAY_WORKFLOWS_DIR": str(self.workflows),
            "PYTHONPATH": str(ROOT),
            **environ,
        }
        self.settings = Settings(
            database_url=normalise_database_url(url), home=home, tools_dir=TOOLS, workflows_dir=self.workflows
        )
        self._tools = ToolRegistry(self.settings)
        self.runs: DurableRuns = open_durable(self.settings, durable_services(self.settings))
        self.reads = RunReads(ConnectionPool(self.settings.database_url))
        self.waiter = RunWaiter(self.settings.database_url, self.reads.statuses)
        self.connection = DurableConnection(self.settings.database_url)
        self.workers: list[Process] = []
        self.scheduler: Process | None = None

    def start_workers(self, number: int) -> None:
        """And wait until they have said that they are there."""
        for _ in range(number):
            self.workers.append(Process("highway_core.services.worker", self._environ, self._log))
        pids = [one.pid for one in self.workers]
        there = "SELECT count(*) FROM workers WHERE service = 'worker' AND pid = ANY (%s)"
        assert eventually(lambda: self.value(there, pids) == len(pids), within=_PATIENCE), self.logged()

    def start_scheduler(self) -> None:
        self.scheduler = Process("highway_core.services.scheduler", self._environ, self._log)

    def kill_workers(self) -> None:
        """Without a word."""
        for one in self.workers:
            one.kill()
        self.workers.clear()

    @property
    def services(self) -> list[Process]:
        return [*self.workers, *([self.scheduler] if self.scheduler else [])]

    def close(self) -> None:
        for one in self.services:
            one.stop()
        self.waiter.close()
        self.runs.close()
        self.connection.close()

    def register(self, name: str, document: Mapping[str, Any]) -> None:
        """A workflow that others may start."""
        (self.workflows / f"{name}.json").write_text(dumps({**document, "name": name}), encoding="utf-8")

    def compile(self, document: Mapping[str, Any], inputs: Sequence[str] = ()) -> CompiledWorkflow:
        return compile_document(Source(dict(document), "scale"), self._tools, inputs)[0]

    def submit(self, workflow: CompiledWorkflow, **more: Any) -> str:
        return self.runs.start(StartRequest(workflow, **more)).run_id

    def submit_many(self, workflow: CompiledWorkflow, number: int, at_once: int = 500) -> list[str]:
        ids: list[str] = []
        while len(ids) < number:
            part = [StartRequest(workflow) for _ in range(min(at_once, number - len(ids)))]
            ids += [one.run_id for one in self.runs.start_many(part) if not isinstance(one, RunConflictError)]
        return ids

    def ends(self, run_id: str, within: float) -> str:
        """Wait for the end of a run; its status."""
        over = self.waiter.wait_for_end(run_id, within)
        ((status, error),) = self.fetch("SELECT status, error_message FROM workflows WHERE workflow_id = %s", run_id)
        if not over:
            counts = self.fetch("SELECT status, count(*) FROM tasks WHERE workflow_id = %s GROUP BY 1", run_id)
            raise AssertionError(f"{run_id} is {status} after {within:g} s ({error}): {counts}\n{self.logged()}")
        return str(status)

    def statuses(self, run_id: str) -> dict[str, int]:
        """Status → number of tasks."""
        return {
            status: int(number)
            for status, number in self.fetch(
                "SELECT status, count(*) FROM tasks WHERE workflow_id = %s GROUP BY 1", run_id
            )
        }

    def completions(self, run_id: str, path: str) -> int:
        """How often a task has been completed, as the log has it."""
        sql = "SELECT count(*) FROM event_log WHERE workflow_id = %s AND task_id = %s AND kind = 'task.completed'"
        return int(self.value(sql, run_id, path))

    def transactions(self) -> int:
        """How many there have been in this database so far."""
        sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(self.value(sql))

    def result(self, run_id: str, path: str) -> Any:
        text = self.value("SELECT result_value_json FROM tasks WHERE workflow_id = %s AND task_id = %s", run_id, path)
        return loads(text or "null")

    def seconds(self, run_id: str) -> float:
        """How long a run has taken, by the database's clock."""
        return float(
            self.value("SELECT extract(epoch FROM end_time - start_time) FROM workflows WHERE workflow_id = %s", run_id)
        )

    def fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.fetch(sql, values)

    def value(self, sql: str, *values: Any) -> Any:
        return self.connection.value(sql, values)

    def logged(self) -> str:
        """The end of what the services said."""
        return self._log.read_text()[-3000:] if self._log.exists() else ""


@contextmanager
def running(url: str, home: Path, workers: int, **environ: str) -> Iterator[System]:
    """A system whose services are up."""
    with ExitStack() as stack:
        system = System(url, home, **environ)
        stack.callback(system.close)
        system.start_scheduler()
        system.start_workers(workers)
        yield system
