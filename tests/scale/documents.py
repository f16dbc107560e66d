"""Documents of any size."""

from __future__ import annotations

from typing import Any

Task = dict[str, Any]
Document = dict[str, Any]


def call(function: str, *args: Any, after: list[str] | None = None, **more: Any) -> Task:
    """A task."""
    return {"operator_type": "task", "function": function, "args": list(args), "dependencies": after or [], **more}


def document(tasks: dict[str, Task], **more: Any) -> Document:
    return {"name": "scale", **more, "tasks": tasks}


def fan_out(width: int, function: str = "scale.quick", *args: Any) -> Document:
    """One task, then ``width`` tasks, then one that joins them."""
    middle = {f"t{n}": call(function, *args, after=["begin"]) for n in range(width)}
    return document({"begin": call("scale.quick"), **middle, "end": call("scale.quick", after=[*middle])})


def foreach(size: int, function: str = "scale.quick", *args: Any) -> Document:
    """A loop over ``size`` items, all at the same time, and one task after it."""
    body = [{"task_id": "one", **call(function, *args, result_key="seen")}]
    loop = {"operator_type": "foreach", "items": list(range(size)), "parallel": True, "loop_body": body}
    return document({"each": loop, "end": call("scale.quick", after=["each"])})


def chain(length: int) -> Document:
    return document({f"t{n}": call("scale.quick", after=[f"t{n - 1}"] if n else []) for n in range(length)})


def rounds(number: int) -> Document:
    """A ``while`` of so many iterations, each with two tasks, the second of which counts."""
    body = [
        {"task_id": "work", **call("scale.quick", 1)},
        {"task_id": "count", **call("tools.memory.increment", "rounds", after=["work"])},
    ]
    condition = f"{{{{memory.rounds}}}} == null or {{{{memory.rounds}}}} < {number}"
    loop = {"operator_type": "while", "condition": condition, "max_iterations": number + 1, "loop_body": body}
    return document({"again": loop, "end": call("scale.quick", after=["again"])})


def family(children: dict[str, str]) -> Document:
    """One task that starts a run of another workflow for each branch."""
    started = {branch: {"workflow_name": name} for branch, name in children.items()}
    return document({"kids": {"operator_type": "child_workflow", "children": started}})


def large_results(number: int, size: int) -> Document:
    """So many results of ``size`` characters in one run; two of them are named by somebody."""
    middle = {f"t{n}": call("scale.big", size, after=["begin"], result_key=f"r{n}") for n in range(number)}
    last = {
        "first": call("scale.length", "{{r0}}", after=[*middle]),
        "second": call("scale.length", "{{results.r1}}", after=["first"]),
    }
    return document({"begin": call("scale.quick"), **middle, **last})


def large_iterations(number: int, size: int) -> Document:
    """Each iteration leaves a large result, which only its own next task names."""
    body = [
        {"task_id": "big", **call("scale.big", size)},
        {"task_id": "length", **call("scale.length", "{{big}}", after=["big"], result_key="length")},
    ]
    loop = {"operator_type": "foreach", "items": list(range(number)), "parallel": True, "loop_body": body}
    return document({"each": loop, "end": call("scale.quick", "{{each}}", after=["each"])})


def sleeper(seconds: float) -> Document:
    return document({"sleep": {"operator_type": "wait", "wait_for": f"PT{seconds:g}S"}})
