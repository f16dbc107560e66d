"""Tools of the conformance table. Any worker of any mode can load them: they keep nothing but what a run gives them."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime

from highway_core.errors import PermanentTaskError
from highway_core.tools.context import ToolContext
from highway_core.tools.decorators import tool


@tool("test.echo")
def echo(value=None):
    """Returns what it is given."""
    return value


@tool("test.add")
def add(*numbers):
    """The sum of its arguments."""
    return sum(numbers)


@tool("test.fail")
def fail(message="boom"):
    """Raises RuntimeError."""
    raise RuntimeError(message)


@tool("test.fail_permanently")
def fail_permanently(message="no use"):
    """Raises the error that is not retried."""
    raise PermanentTaskError(message)


@tool("test.flaky")
def flaky(context: ToolContext, failures, value="ok"):
    """Fails in the first ``failures`` attempts of the task."""
    if context.attempt <= failures:
        raise RuntimeError(f"attempt {context.attempt} fails")
    return value


@tool("test.fail_if")
def fail_if(value, bad, message="bad value"):
    """Raises if the two are equal, else returns the value."""
    if value == bad:
        raise RuntimeError(f"{message}: {value}")
    return value


@tool("test.pause", stoppable=True)
def pause(context: ToolContext, seconds, value=None):
    """Takes its time; stops when it is told to."""
    context.stop.wait(seconds)
    context.stop.check()
    return value


@tool("test.stubborn")
def stubborn(seconds):
    """Takes its time and hears nothing."""
    time.sleep(seconds)
    return "late"


@tool("test.exit")
def leave(code=3):
    """Calls sys.exit."""
    raise SystemExit(code)


@tool("test.interrupt_self")
def interrupt_self():
    """Raises a BaseException that is no Exception."""
    raise GeneratorExit("odd")


@tool("test.unstorable")
def unstorable():
    """Returns what JSON cannot hold."""
    return {"lock": threading.Lock()}


@tool("test.datetime")
def a_datetime():
    """Returns a datetime, which is stored as text."""
    return {"at": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)}


@tool("test.set_variable")
def set_variable(context: ToolContext, name, value):
    """Sets a variable of the run."""
    context.set_variable(name, value)
    return value


@tool("test.verify_length")
def verify_length(output, minimum):
    """A verdict on a generated text."""
    good = len(str(output)) >= minimum
    return {"ok": good, "feedback": None if good else f"{len(str(output))} is shorter than {minimum}"}


@tool("test.grow")
def grow(prompt="x"):
    """Generates its prompt twice."""
    return prompt + prompt


@tool("test.reject")
def reject(output=None):
    """A verifier that never accepts."""
    raise RuntimeError(f"no: {output}")


@tool("test.kind")
def kind(value):
    """The name of its argument's type: bool is not int, int is not float."""
    return type(value).__name__


@tool("test.append", transactional=True)
def append(context: ToolContext, key, value):
    """Appends to a list in the run's memory."""
    context.state.memory[key] = [*context.state.memory.get(key, ()), value]
    return value


@tool("test.scribble")
def scribble(values):
    """Changes its argument in place, as careless tools do."""
    values.append("scribbled")
    return len(values)


@tool("test.waited")
def waited(context: ToolContext, failures, since, least):
    """Fails in the first ``failures`` attempts; then whether ``least`` seconds have passed since a moment."""
    if context.attempt <= failures:
        raise RuntimeError(f"attempt {context.attempt} fails")
    return (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds() >= least


@tool("test.slow_once", stoppable=True)
def slow_once(context: ToolContext, seconds):
    """Takes its time in the first attempt only."""
    if context.attempt == 1:
        context.stop.wait(seconds)
        context.stop.check()
    return context.attempt


@dataclass(frozen=True)
class Point:
    """A value that JSON does not know."""

    x: int
    y: int


@tool("test.encodable")
def encodable():
    """Returns what JSON does not know and pydantic can encode."""
    return {"point": Point(1, 2), "raw": b"hi", "pair": (1, 2), "day": date(2030, 1, 2)}


@tool("test.nan")
def not_a_number():
    """Returns a float that JSON does not have."""
    return {"rows": [1.0, float("nan")]}
