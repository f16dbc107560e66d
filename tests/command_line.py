"""The command line as a user has it: real processes, each test with a folder and a database of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

CLI = Path(__file__).parents[1] / "cli.py"
EXAMPLES = CLI.parent / "examples"
_PATIENCE = 60


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs ``cli.py`` in ``folder``. Without the caller's own settings, and not deaf to Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "runs.sqlite3"
        self.environ = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        self.environ |= {"HIGHWAY_DATABASE_URL": f"sqlite:///{self.database}", "HOME": str(folder)}

    def write(self, name: str, content: str) -> str:
        """A file in the folder; its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return name

    def tools(self, content: str) -> None:
        """Register tools in ``HIGHWAY_TOOLS_DIR`` from now on."""
        self.write("tools/own.py", f"from highway_core.tools.decorators import tool\n{content}")
        self.environ["HIGHWAY_TOOLS_DIR"] = str(self.folder / "tools")

    def __call__(self, *arguments: str, **environ: str) -> Done:
        """Run a command to its end."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=_PATIENCE)
        return Done(process.returncode, out.decode(), err.decode())

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a command."""
        # Where the suite runs in the background of a script, SIGINT is ignored, and would be in the command.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            [sys.executable, str(CLI), *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """What a query finds in the database; nothing if there is none yet."""
        if not self.database.exists():
            return []
        engine = create_engine(f"sqlite:///{self.database}")
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query), values)]
        finally:
            engine.dispose()

    def runs(self) -> list[tuple[Any, ...]]:
        """Run id and status of every run."""
        return self.rows("SELECT workflow_id, status FROM workflows ORDER BY start_time")


def _is_setting(name: str) -> bool:
    return name.startswith(("HIGHWAY_", "POSTGRES_", "DB_", "PYTHONIOENCODING", "FORCE_COLOR")) or name in {
        "DATABASE_URL",
        "NO_DOCKER_USE",
        "USE_PG",
    }


def workflow(*tasks: str, name: str = "testing", head: str = "") -> str:
    """A YAML document of tasks in flow style: ``a: {function: tools.log.info}``; ``task`` is the usual operator."""
    lines = [line if "operator_type" in line else line.replace("{", "{operator_type: task, ", 1) for line in tasks]
    return "\n".join([f"name: {name}", head, "tasks:", *(f"  {line}" for line in lines)])
