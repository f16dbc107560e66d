"""``validate FILE…``: everything that is wrong, or looks it, in every file; nothing is run."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

from highway_core.cli.given_files import check_workflow_file
from highway_core.cli.json_report import as_text
from highway_core.cli.messages import error_message, problem_lines
from highway_core.cli.output import Output
from highway_core.cli.text import counted
from highway_core.config import current_settings
from highway_core.engine.loader import compile_document, read_source
from highway_core.errors import DocumentError, Problem
from highway_core.tools.registry import ToolRegistry


@dataclass(frozen=True, slots=True)
class _Checked:
    """What there is to say about one file."""

    file: str
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    name: str | None = None
    tasks: int = 0


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 if every file may start, else 1."""
    registry = ToolRegistry(current_settings())
    checked = [_check(file, registry) for file in options.workflow_paths]
    good = not any(one.problems for one in checked)
    if options.json:
        output.say(as_text({"valid": good, "files": [_as_dict(one) for one in checked]}))
    else:
        for one in checked:
            output.say("\n".join(_lines(one)))
    return 0 if good else 1


def _check(file: str, registry: ToolRegistry) -> _Checked:
    try:
        check_workflow_file(file)
        workflow, warnings = compile_document(read_source(file), registry)
    except DocumentError as error:
        return _Checked(file, error.problems, error.warnings)
    except (FileNotFoundError, RecursionError) as error:
        return _Checked(file, (Problem("", error_message(error)),))
    return _Checked(file, (), tuple(warnings), workflow.model.name, workflow.graph.size())


def _lines(one: _Checked) -> list[str]:
    verdict = f"✅ {one.file}: valid, {counted(one.tasks, 'task')}"
    if one.problems:
        verdict = f"❌ {one.file}: {counted(len(one.problems), 'problem')}"
    if one.warnings:
        verdict += f", {counted(len(one.warnings), 'warning')}"
    return [verdict, *problem_lines(one.problems), *(f"{line} [warning]" for line in problem_lines(one.warnings))]


def _as_dict(one: _Checked) -> dict[str, Any]:
    return {
        "file": one.file,
        "valid": not one.problems,
        "name": one.name,
        "tasks": one.tasks,
        "problems": [asdict(problem) for problem in one.problems],
        "warnings": [asdict(problem) for problem in one.warnings],
    }
