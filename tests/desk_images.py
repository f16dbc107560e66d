"""What an image of a durable run holds, so that two images of one version can be held against each other."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from highway_core.engine.decisions import Iteration
from highway_core.engine.durable.driver import child_run_id
from highway_core.engine.durable.image import IN_QUEUE, Image
from highway_core.engine.durable.timeouts import timeouts
from highway_core.engine.readiness import Arrivals
from highway_core.engine.run_state import Instance, Scope
from highway_core.lifecycle import TASK_WAITING, TaskStatus

Dump = dict[str, Any]


def dump(image: Image) -> Dump:
    """Everything that decides what the image does next."""
    run = image.run
    told: Dump = {
        "run.status": run.status,
        "run.error": run.error,
        "run.variables": dict(run.variables),
        "run.memory": dict(run.memory),
        "run.log_seq": image.changes.log_seq,
        "run.children": _children(image),
        "run.in_queue": {one.path for one in image.in_queue},
        "run.tasks": (run.scopes.open_iterations, run.scopes.tasks),
        "run.ready": {
            one.path
            for one in (*image.ready, *image.backlog)
            if one.status is TaskStatus.QUEUED and not one.scope.dead and one not in image.in_queue
        },
    }
    scopes = [run.root]
    while scopes:
        scope = scopes.pop()
        scopes.extend(scope.inner)
        told[f"scope {scope.prefix}"] = {
            "open": scope.open,
            "dead": scope.dead,
            "outputs": _own(scope.outputs, scope),
            "results": _own(scope.results, scope),
        }
        for instance in scope.instances:
            told[instance.path] = _of(instance)
    return told


def _children(image: Image) -> dict[str, set[str]]:
    """Of the attempts that wait for them; others are being cancelled, and may be so twice."""
    told: dict[str, set[str]] = {}
    for path, children in image.children.items():
        task = image.instance(path)
        if task is not None and task.status is TaskStatus.WAITING_FOR_CHILDREN:
            mark = child_run_id("", task, "").partition("#")[2]
            told[path] = {child for child in children if child.rpartition("/")[2].partition("#")[2] == mark}
    return told


def _own(values: Any, scope: Scope) -> Mapping[str, Any]:
    own = values.maps[0] if isinstance(values, ChainMap) else values
    return {} if scope.owner is not None and scope.owner.node.task.operator_type == "while" else dict(own)


def _of(one: Instance) -> dict[str, Any]:
    told: dict[str, Any] = {
        "status": one.status,
        "attempt": one.attempt,
        "epoch": one.epoch if one.stored else None,
        "error": one.error,
        "opened": one.opened,
        "taken": one.taken,
        "key": one.key,
        "added": one.added,
        "cause": one.cause and one.cause.path,
        "blame": one.blame and one.blame.path,
        "wake_at": one.wake_at and round(one.wake_at.timestamp(), 3),
        "stored": one.stored,
    }
    if one.status is TaskStatus.PENDING:
        told["arrivals"] = {name: getattr(one.arrivals, name) for name in Arrivals.__slots__}
    if one.status in TASK_WAITING:
        told["timeouts"] = {kind: round(moment, 3) for kind, moment in timeouts(one).items()}
    if one.is_open:
        told["progress"] = one.progress or None
        if one.node.children:
            told["members left"] = one.children_left
            told["outcomes"] = sorted(one.outcomes, key=lambda child: str(child.key))
        if one.spawn is not None and isinstance(one.spawn.scopes[0], Iteration):
            first = one.spawn.scopes[0].index
            told["iterations left"] = one.children_left
            told["spawned"] = first + one.spawned
            told["of"] = first + len(one.spawn.scopes)
            told["outcomes"] = sorted(one.outcomes, key=lambda child: str(child.key))
        if one.status is TaskStatus.WAITING_FOR_CHILDREN:
            told["inner"] = sorted(scope.prefix for scope in one.scope.inner if scope.owner is one)
    else:
        told["result"] = one.result_text
        told["ended"] = one.ended_seq
    return told


def differences(cached: Dump, fresh: Dump) -> list[str]:
    """Where the image that a process has kept is not what a new one would be."""
    wrong = []
    for name in sorted(cached.keys() | fresh.keys()):
        kept, new = cached.get(name), fresh.get(name)
        if name == "run.children":
            if any(not children <= (kept or {}).get(path, set()) for path, children in (new or {}).items()):
                wrong.append(f"{name}: kept {kept}, new {new}")
            continue
        if kept is None or new is None or not isinstance(kept, dict):
            if kept != new:
                wrong.append(f"{name}: kept {kept}, new {new}")
            continue
        if {kept.get("status"), new.get("status")} <= IN_QUEUE:
            kept, new = _claimed(kept, new, name, wrong)
        wrong += [
            f"{name}.{key}: kept {kept.get(key)!r}, new {new.get(key)!r}"
            for key in sorted(kept.keys() | new.keys())
            if kept.get(key) != new.get(key)
        ]
    return wrong


def _claimed(
    kept: dict[str, Any], new: dict[str, Any], name: str, wrong: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A claim changes the row of its task without a version of its own: only its owner has heard of it."""
    if kept["status"] is TaskStatus.RUNNING and new["status"] is not TaskStatus.RUNNING:
        wrong.append(f"{name}: kept as running, new as {new['status']}")
    if new["epoch"] is not None and kept["epoch"] is not None and new["epoch"] < kept["epoch"]:
        wrong.append(f"{name}: kept with fence {kept['epoch']}, new with {new['epoch']}")
    drop = {"status", "attempt", "epoch", "wake_at"}
    if kept["status"] is not TaskStatus.RUNNING:
        drop.add("blame")
    return {key: kept[key] for key in kept.keys() - drop}, {key: new[key] for key in new.keys() - drop}
