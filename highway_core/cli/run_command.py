"""``run FILE``: one workflow to its end in this process, with progress, a summary, and the way out of a failure."""

from __future__ import annotations

import logging
import uuid
from argparse import Namespace
from collections.abc import Iterable
from importlib import import_module
from signal import Signals
from typing import Any

from highway_core.cli.given_files import check_workflow_file, read_variables
from highway_core.cli.json_report import as_text, error_report, run_report
from highway_core.cli.messages import EXPECTED, error_message
from highway_core.cli.output import Output
from highway_core.cli.plain_progress import PlainProgress
from highway_core.cli.progress import NoProgress, Progress
from highway_core.cli.signals import StopSignals, exit_code
from highway_core.cli.summary import summary_lines, verdict, way_out
from highway_core.cli.task_log import TaskLog
from highway_core.cli.text import own_command
from highway_core.config import current_settings
from highway_core.engine.engine import LocalEngine
from highway_core.engine.graph import CompiledWorkflow
from highway_core.engine.loader import read_source
from highway_core.engine.run import Run
from highway_core.errors import HighwayError, StorageError
from highway_core.lifecycle import RunStatus
from highway_core.persistence.manager import SavedRun
from highway_core.utils.naming import did_you_mean

_logger = logging.getLogger(__name__)
_RULE = "-" * 50


def run(options: Namespace, output: Output) -> int:
    """The exit code: 0 completed, 1 failed or not startable, 130 or 143 interrupted."""
    command = _Run(options, output)
    try:
        return command.carry_out()
    except (HighwayError, *EXPECTED) as error:
        _logger.debug("the command failed", exc_info=True)
        command.report_error(error)
        return 1


class _Run:
    """One call of the command."""

    def __init__(self, options: Namespace, output: Output) -> None:
        self._file: str = options.workflow_path
        self._options = options
        self._output = output
        self._run_id: str = options.run_id or f"cli-run-{uuid.uuid4()}"
        self._began = False

    def carry_out(self) -> int:
        """Raises what keeps the run from starting, or from being stored."""
        check_workflow_file(self._file)
        settings = current_settings()
        inputs = {**read_variables(self._options.vars_file), **dict(self._options.var)}
        engine = LocalEngine(settings)
        try:
            saved = engine.store.load_run(self._run_id) if self._options.run_id else None
            if saved is not None and not inputs:
                inputs = dict(saved.record.inputs)
            workflow = engine.compile(read_source(self._file), inputs)
            _warn_of_slips(inputs, workflow)
            self._output.limit_prints(settings.max_output_bytes)
            return self._drive(engine, workflow, inputs, saved)
        finally:
            engine.close()

    def _drive(
        self, engine: LocalEngine, workflow: CompiledWorkflow, inputs: dict[str, Any], saved: SavedRun | None
    ) -> int:
        progress = self._progress()
        log = TaskLog(progress, self._announce, keep_all=self._options.json)
        orchestrator = engine.orchestrator(workflow, self._run_id, inputs, log)
        with StopSignals(orchestrator.interrupt, on_terminal=self._output.is_terminal) as signals:
            with progress.showing(log):
                try:
                    run = orchestrator.run()
                except KeyboardInterrupt:
                    if log.run is None:
                        raise
                    run = log.run
            if saved is not None and log.was_over:
                log.recall(saved)
            stopped_by = signals.received if run.status is RunStatus.CANCELLED else None
            self._report(run, log, stopped_by)
        if stopped_by is not None:
            return exit_code(stopped_by)
        return 0 if run.status is RunStatus.COMPLETED else 1

    def _announce(self) -> None:
        self._began = True
        self._say(f"Running LOCAL workflow from: {self._file} (Run ID: {self._run_id})", _RULE)

    def _progress(self) -> Progress:
        if self._options.json:
            return NoProgress()
        if self._output.is_terminal:
            live: Progress = import_module("highway_core.cli.live_progress").LiveProgress(self._output)
            return live
        return PlainProgress(self._output)

    def _report(self, run: Run, log: TaskLog, stopped_by: Signals | None) -> None:
        if self._options.json:
            self._output.say(as_text(run_report(run, log)))
            return
        self._say(_RULE, verdict(run, None if stopped_by is None else stopped_by.name))
        if log.was_over:
            self._say("This run was completed before; nothing was done again.")
        self._say(*summary_lines(log, run))
        if run.status is not RunStatus.COMPLETED:
            self._say(*way_out(log, self._resume_command()))

    def report_error(self, error: BaseException) -> None:
        """Say why the run did not start, or was given up."""
        message = error_message(error)
        if self._began and isinstance(error, StorageError):
            message += f"\nWhat is stored is kept. To go on: {self._resume_command()}"
        if self._options.json:
            self._output.say(as_text(error_report(error, message, self._run_id)))
        else:
            self._output.complain(f"Error: {message}")

    def _resume_command(self) -> str:
        return own_command("run", self._file, "--run-id", self._run_id)

    def _say(self, *lines: str) -> None:
        if not self._options.json:
            self._output.say("\n".join(lines))


def _warn_of_slips(names: Iterable[str], workflow: CompiledWorkflow) -> None:
    """An input may have any name; one that is almost a variable's was probably meant to be that."""
    variables = workflow.model.variables
    for name in names:
        hint = "" if name in variables else did_you_mean(name, variables)
        if hint:
            _logger.warning("The workflow has no variable '%s': %s", name, hint)
