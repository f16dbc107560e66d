"""What the pages and the examples show runs, and ends as they say."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.engine import run_workflow
from highway_core.persistence.in_memory import InMemoryPersistenceManager
from tests.documentation import PAGES, ROOT, Block, blocks, documents

EXAMPLES = ROOT / "examples"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set nothing but where runs are stored."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
    return kept | {"HIGHWAY_DATABASE_URL": f"sqlite:///{folder / 'runs.sqlite3'}"} | more


@dataclass(frozen=True)
class Ended:
    """One run: its summary, its tasks by status, and its results by key."""

    summary: Mapping[str, Any]
    tasks: Mapping[str, int]
    results: Mapping[str, Any]


def run(source: Path, folder: Path, inputs: Mapping[str, Any] | None = None, **more: str) -> Ended:
    """Run a file; what has ended is told from what the store holds."""
    store = InMemoryPersistenceManager()
    settings = Settings.from_env(environment(folder, **more))
    summary = run_workflow(source, "the-run", inputs=inputs, persistence_manager=store, settings=settings)
    saved = store.load_run("the-run")
    state, _ = store.load_workflow_state("the-run")
    assert saved is not None and state is not None
    return Ended(summary, Counter(row.status.value for row in saved.tasks.values()), state.results)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with every document of the pages in it, under its name."""
    for block in documents():
        (tmp_path / f"{block.name}.yaml").write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.name, marks=[pytest.mark.docker] if block.needs_docker else [])
        for block in documents()
    ],
)
def test_every_document_on_a_page_ends_as_the_page_says(block: Block, written: Path) -> None:
    ended = run(written / f"{block.name}.yaml", written, block.inputs)
    assert ended.summary["status"] == block.ends, ended.summary["error"]


def python_file(page: str, name: str, folder: Path) -> Path:
    """The block of Python that stands for the file ``name``, written to where it says."""
    (block,) = [block for block in blocks(page) if block.language == "python" and block.file == name]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    return path


def call(tool: str, folder: Path, *args: Any) -> Any:
    """The result of a task that calls ``tool`` of the folder."""
    source = {"name": "call", "tasks": {"one": {"operator_type": "task", "function": tool, "args": [*args]}}}
    store = InMemoryPersistenceManager()
    settings = Settings.from_env(environment(folder, HIGHWAY_TOOLS_DIR=str(folder / "my_tools")))
    summary = run_workflow(source, persistence_manager=store, settings=settings)
    return summary["result"] if summary["error"] is None else summary["error"]


def test_the_workflow_in_python_runs(tmp_path: Path) -> None:
    ended = run(python_file("README.md", "report.py", tmp_path), tmp_path)
    assert ended.summary["status"] == "completed", ended.summary["error"]
    assert ended.tasks == {"completed": 4, "skipped": 1}


def test_a_workflow_runs_from_code_of_ones_own(tmp_path: Path) -> None:
    python_file("README.md", "report.py", tmp_path)
    (block,) = [block for block in blocks("README.md") if block.language == "python" and block.file is None]
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:2] == ["completed", "None"]


def test_the_tool_in_the_readme_is_found(tmp_path: Path) -> None:
    python_file("README.md", "my_tools/text.py", tmp_path)
    assert call("text.shout", tmp_path, "hello") == "HELLO!"


def test_the_tools_on_the_tools_page_do_what_they_say(tmp_path: Path) -> None:
    python_file("docs/tools.md", "my_tools/orders.py", tmp_path)
    assert call("orders.price", tmp_path, [{"price": 80}, {"price": 20}], 0.5) == {"total": 50.0}
    assert "an order needs lines" in call("orders.price", tmp_path, [])
    assert call("orders.wait_for_stock", tmp_path, "screw", 0.001) is False


def test_every_python_block_on_the_pages_is_run_by_a_test() -> None:
    shown = {(page, block.file) for page in PAGES for block in blocks(page) if block.language == "python"}
    assert shown == {
        ("README.md", "report.py"),
        ("README.md", None),
        ("README.md", "my_tools/text.py"),
        ("docs/tools.md", "my_tools/orders.py"),
    }


def commands() -> list[str]:
    """The commands that name a file which is there: an example, or one that the README shows. Those of DURABLE mode are
    run, in their order, by ``tests/acceptance/test_expense_report_in_browser.py``."""
    shown = {block.file for block in blocks("README.md")} - {None}
    lines = [line for block in blocks("README.md") if block.language == "sh" for line in block.text.splitlines()]
    calls = [
        line.rpartition("&& ")[2].partition("   ")[0]
        for line in lines
        if "python cli.py" in line and "cli.py durable" not in line
    ]
    return [one for one in calls if any(word in shown or (ROOT / word).is_file() for word in shlex.split(one)[3:])]


def test_the_readme_shows_commands() -> None:
    assert len(commands()) >= 5


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_succeeds(command: str, tmp_path: Path) -> None:
    for block in blocks("README.md"):
        if block.file is not None:
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    program, script, *words = shlex.split(command)
    assert (program, script) == ("python", "cli.py")
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *words],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Example:
    """A file, what it says of its end, and the end: the run's status, and its tasks by status."""

    file: str
    says: str
    status: str
    tasks: Mapping[str, int]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    result: tuple[str, Any] | None = None
    docker: bool = False


SHOWN = [
    Example(
        "hello.yaml", "Ends: completed, 2 tasks.", "completed", {"completed": 2}, {}, ("greeting", "Hello, world!")
    ),
    Example("hello.yaml", "--var who=Ada", "completed", {"completed": 2}, {"who": "Ada"}, ("greeting", "Hello, Ada!")),
    Example(
        "bank_end_of_day.yaml",
        "Ends: completed, 25 tasks done and 6 skipped",
        "completed",
        {"completed": 25, "skipped": 6},
        {},
        ("archive", "ledger-2025-03-31.csv"),
    ),
    Example(
        "bank_end_of_day.yaml",
        "--var control_total=7000     # the other arm: the books stay open",
        "completed",
        {"completed": 25, "skipped": 6},
        {"control_total": 7000},
        ("archive", None),
    ),
    Example(
        "order_processing.yaml",
        "Ends: completed. One order's `charge` is failed, and so is the loop",
        "completed",
        {"completed": 21, "skipped": 12, "failed": 2, "upstream_failed": 1},
        {},
        ("summary", "Turnover: 215"),
    ),
    Example(
        "container_checksum.yaml",
        "Ends: completed, 6 tasks; the checksum is 221 + 26 + 34 = 281.",
        "completed",
        {"completed": 6},
        {},
        ("checksum", "281"),
        docker=True,
    ),
    Example(
        "qa_rework.yaml",
        "Ends: completed after 3 drafts, with 3 tasks skipped",
        "completed",
        {"completed": 13, "skipped": 3},
    ),
    Example(
        "qa_rework.yaml",
        "--var good_enough=9     # gives up after 5 drafts: the run fails",
        "failed",
        {"completed": 17, "skipped": 5, "failed": 1, "upstream_failed": 1},
        {"good_enough": 9},
    ),
    Example(
        "custom_tool.yaml",
        'Ends: completed, 2 tasks; the initials are "G. B. M. H.".',
        "completed",
        {"completed": 2},
        {},
        ("short", {"initials": "G. B. M. H.", "words": 4}),
    ),
    Example(
        "expense_report.py",
        'at\nrequest_manager_approval with "Human tasks are only supported in DURABLE mode."',
        "failed",
        {"completed": 1, "failed": 1, "upstream_failed": 8},
    ),
    Example("graph_document.json", "large sums are escalated", "completed", {"completed": 20, "skipped": 2}),
]


def test_every_example_is_run_by_a_test() -> None:
    assert {one.file for one in SHOWN} == {path.name for path in EXAMPLES.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, id=f"{one.file} {one.says}", marks=[pytest.mark.docker] if one.docker else []) for one in SHOWN],
)
def test_every_example_ends_as_it_says(example: Example, tmp_path: Path) -> None:
    path = EXAMPLES / example.file
    assert example.says in path.read_text(encoding="utf-8")
    ended = run(path, tmp_path, example.inputs, HIGHWAY_TOOLS_DIR=str(EXAMPLES / "tools_dir"))
    assert ended.summary["status"] == example.status, ended.summary["error"]
    assert ended.tasks == example.tasks
    if example.result is not None:
        key, value = example.result
        assert ended.results.get(key) == value
