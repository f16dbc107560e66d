"""Every exception that Highway raises on purpose.

::

    HighwayError
    ├── ConfigError               a setting that cannot be used
    ├── DocumentError             a workflow document that must not start; carries every Problem
    ├── ExpressionError           a condition or template that cannot be parsed or evaluated
    │   └── UnknownReferenceError a {{reference}} that nothing in the run can produce
    ├── LifecycleError            a status move that the table of lifecycle.py does not hold (a bug)
    ├── RunError                  a run that cannot be started, resumed or found
    │   ├── RunNotFoundError
    │   ├── RunConflictError      the run id belongs to another document, or another process runs it
    │   ├── RunInterruptedError   stopped by Ctrl-C or SIGTERM; the run can be resumed
    │   └── RunStateError         what was asked for does not go with the run's status
    ├── ScheduleError             a schedule that cannot be registered or found
    ├── ApprovalError             a decision that cannot be taken
    │   └── DecisionRefusedError  (persistence.approval_store) carries the approval as it stands and the reason
    ├── StorageError              the store could not be read or written
    │   ├── ConnectionLostError   PostgreSQL went away in mid-call: it may or may not have been carried out
    │   └── SchemaError           a database whose schema this version of Highway does not work with
    └── TaskError                 a task that failed; its text becomes the task's error_message
        ├── TaskTimeoutError      an attempt outlived its timeout_policy
        ├── TaskStoppedError      an attempt was told to stop (cancelled, deadline, shutdown)
        ├── GuardError            a precondition or postcondition that does not hold
        ├── PermanentTaskError    a failure that no retry can mend
        ├── ResultError           a result that JSON cannot hold, or that is too large
        ├── OutputLimitError      a tool printed more than HIGHWAY_MAX_OUTPUT_BYTES
        └── ToolNotFoundError     also a KeyError, as the existing library raised
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class HighwayError(Exception):
    """The root: catch this to catch whatever Highway raises on purpose."""


class ConfigError(HighwayError):
    """A setting that cannot be used; names the variable, its value and what it takes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document.

    ``place`` is a path into it (``tasks.fetch.args[0]``), ``position`` is ``file:line:column`` where the
    reader knows it, ``hint`` the nearest right name or the way out.
    """

    place: str
    message: str
    hint: str = ""
    position: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.position, self.place) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class DocumentError(HighwayError):
    """A document that must not start. ``problems`` holds every one of them, in document order; ``warnings`` what its
    author may not have meant."""

    def __init__(self, problems: Sequence[Problem], source: str = "", warnings: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        self.source = source
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{len(self.problems)} problems:\n{lines}"


class ExpressionError(HighwayError):
    """A condition or template that cannot be parsed, or whose operands do not fit each other."""


class UnknownReferenceError(ExpressionError):
    """A ``{{reference}}`` that nothing can produce; the text lists the names that exist."""


class LifecycleError(HighwayError):
    """A status was asked to move where no arrow leads. Always a bug in the engine."""


class RunError(HighwayError):
    """A run that cannot be started, resumed or found."""


class RunNotFoundError(RunError):
    """No run has that id."""


class RunConflictError(RunError):
    """The run id is taken: by another document, or by a process that is running it now."""

    def __init__(self, message: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        """The run that is there."""


class RunInterruptedError(RunError):
    """The run was stopped by a signal; what was completed is saved and the same run id resumes it."""


class RunStateError(RunError):
    """The run is in a status in which it cannot be done: cancelled after its end, unpaused while it runs."""


class ScheduleError(HighwayError):
    """A schedule that cannot be registered, or that does not exist."""


class ApprovalError(HighwayError):
    """A decision cannot be taken: it has been taken, it has expired, its run is over, or it is none of the choices."""


class StorageError(HighwayError):
    """The store could not be read or written; the text says which store and what it answered."""


class ConnectionLostError(StorageError):
    """PostgreSQL went away, rolled a transaction back or cannot write now: what is repeatable may be repeated."""


class SchemaError(StorageError):
    """A database whose schema this version of Highway does not work with; says what to run."""


class TaskError(HighwayError):
    """A task failed. The text becomes the task's ``error_message``."""


class TaskTimeoutError(TaskError):
    """An attempt ran longer than its ``timeout_policy`` allows."""


class TaskStoppedError(TaskError):
    """An attempt was told to stop: cancelled, past a deadline, or the process is shutting down."""


class PermanentTaskError(TaskError):
    """A failure that no retry can mend: a tool raises it, and the task fails at once."""


class GuardError(TaskError):
    """A precondition or a postcondition does not hold."""


class ResultError(TaskError):
    """A result cannot be stored; the text names the path inside the value."""


class OutputLimitError(TaskError):
    """A tool printed more than the limit."""


class ToolNotFoundError(TaskError, KeyError):
    """No tool has that name. ``str()`` gives the plain text, not the quoted form of ``KeyError``."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
