"""What the services have to do while they are tormented: runs of every shape, started, watched, decided on, paused and
cancelled.

Everybody here speaks to the API as a client does: again until told, under the same key.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.chaos.cluster import Cluster, effect
from tests.chaos.http import Caller
from tests.chaos.invariants import Said

Tasks = dict[str, dict[str, Any]]
ADD = {"operator_type": "task", "function": "tools.memory.increment", "args": ["total"]}
ASK = {
    "operator_type": "task",
    "function": "human.request_approval",
    "kwargs": {"approval_prompt": "Go on?", "manager_email": "a@b.example"},
}
FINAL = frozenset({"completed", "failed", "cancelled"})
CHILD = {"name": "child", "tasks": {"a": effect(), "b": effect("a")}}
"""What ``parent`` starts; to be found by that name in the folder of workflows."""


def chain(rng: random.Random) -> Tasks:
    tasks = {"t0": effect()}
    for n in range(1, rng.randint(3, 12)):
        tasks[f"t{n}"] = effect(f"t{n - 1}", seconds=rng.choice([0, 0, 0, 0.05]))
    return tasks


def diamond(rng: random.Random) -> Tasks:
    sides = {f"s{n}": effect("a", seconds=rng.choice([0, 0.1])) for n in range(rng.randint(2, 8))}
    adds = {f"n{n}": {**ADD, "dependencies": [f"s{n}"]} for n in range(len(sides))}
    return {"a": effect(), **sides, **adds, "z": effect(*sides)}


def foreach(rng: random.Random) -> Tasks:
    body = [{**effect(seconds=0.02), "task_id": "one"}, {**effect("one"), "task_id": "two"}]
    loop = {"operator_type": "foreach", "items": list(range(rng.randint(2, 8))), "parallel": rng.random() < 0.5}
    return {"each": {**loop, "loop_body": body}, "z": {**effect(), "dependencies": ["each"]}}


def turns(rng: random.Random) -> Tasks:
    condition = f"{{{{memory.total}}}} == null or {{{{memory.total}}}} < {rng.randint(2, 6)}"
    body = [{**ADD, "task_id": "add"}, {**effect(), "task_id": "turn", "dependencies": ["add"]}]
    loop = {"operator_type": "while", "condition": condition, "loop_body": body}
    return {"turns": loop, "z": {**effect(), "dependencies": ["turns"]}}


def either(rng: random.Random) -> Tasks:
    check = {"operator_type": "condition", "condition": f"{rng.randint(0, 1)} == 1", "dependencies": ["a"]}
    arms = {"if_true": "yes", "if_false": "no"}
    taken = {**effect(), "dependencies": ["check"]}
    joined = {"operator_type": "join", "join_tasks": ["yes", "no"], "join_mode": "any_of"}
    return {"a": effect(), "check": {**check, **arms}, "yes": taken, "no": taken, "j": joined}


def sleeper(rng: random.Random) -> Tasks:
    nap = {"operator_type": "wait", "wait_for": f"PT{rng.uniform(0.1, 3):.2f}S", "dependencies": ["a"]}
    return {"a": effect(), "nap": nap, "z": {**effect(), "dependencies": ["nap"]}}


def events(rng: random.Random) -> Tasks:
    name = "go-{{run.id}}"
    come = {"operator_type": "wait_for_event", "event_name": name, "timeout_seconds": 600}
    go = {"operator_type": "emit_event", "event_name": name, "dependencies": ["a"]}
    return {"a": effect(), "come": come, "go": go, "z": {**effect(), "dependencies": ["come"]}}


def flaky(rng: random.Random) -> Tasks:
    delay = {"max_retries": 50, "delay": f"PT{rng.uniform(0.05, 1):.2f}S"}
    return {"a": effect(tool="chaos.fail", failures=rng.randint(1, 3)) | {"retry_policy": delay}, "z": effect("a")}


def hopeless(rng: random.Random) -> Tasks:
    again = {"retry_policy": {"max_retries": 2, "delay": "PT0.05S"}}
    return {"a": effect(tool="chaos.fail", failures=1_000) | again, "z": effect("a")}


def asking(rng: random.Random) -> Tasks:
    return {
        "a": effect(),
        "q": {**ASK, "dependencies": ["a"]},
        "z": effect("q"),
    }


def parent(rng: random.Random) -> Tasks:
    children = {f"c{n}": {"workflow_name": "child"} for n in range(rng.randint(1, 3))}
    both = {"operator_type": "child_workflow", "children": children, "dependencies": ["a"]}
    return {"a": effect(), "both": both, "z": {**effect(), "dependencies": ["both"]}}


def forked(rng: random.Random) -> Tasks:
    fan = {"operator_type": "parallel", "branches": {"left": ["l1", "l2"], "right": ["r1"]}, "dependencies": ["a"]}
    left = {"l1": effect(seconds=rng.choice([0, 0.05])), "l2": effect("l1")}
    joined = {"operator_type": "join", "join_tasks": ["fan"], "join_mode": "all_of"}
    return {"a": effect(), "fan": fan, **left, "r1": effect(), "j": joined, "z": {**effect(), "dependencies": ["j"]}}


def late(rng: random.Random) -> Tasks:
    """An approval whose time may end before anybody decides; long enough for the question itself to be asked."""
    policy = {"timeout": f"PT{rng.choice([1.5, 3, 60])}S", "kill_on_timeout": False}
    return {"q": {**ASK, "timeout_policy": policy}, "z": {**effect(), "dependencies": ["q"]}}


def slow(rng: random.Random) -> Tasks:
    """Longer than a lease."""
    return {"a": effect(seconds=rng.uniform(1, 4)), "z": effect("a")}


SHAPES: tuple[Callable[[random.Random], Tasks], ...] = (
    chain,
    chain,
    chain,
    diamond,
    diamond,
    foreach,
    turns,
    either,
    sleeper,
    events,
    flaky,
    hopeless,
    asking,
    late,
    parent,
    forked,
    slow,
)


class Clients:
    """Threads that start runs, look at them, decide, pause and cancel, until they are told to stop."""

    def __init__(self, cluster: Cluster, seed: int, most_open: int) -> None:
        self._port = cluster.services.port
        self._most_open = most_open
        self._no_more = threading.Event()
        self._over = threading.Event()
        self._ended: set[str] = set()
        self._paused: str | None = None
        self.begun = 0
        """Operations that had to be acknowledged sooner or later: starts."""
        self.acknowledged: dict[str, str | None] = {}
        """Run id → the key under which it was started."""
        self.told: list[tuple[str, str]] = []
        self.decided: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.failures: list[str] = []
        """What no client should ever be told."""
        early, long = (self._start, self._cancel, self._pause), (self._look, self._decide)
        deeds = [*((one, self._no_more) for one in early), *((one, self._over) for one in long)]
        self._threads = [
            threading.Thread(
                target=self._go_on, args=(deed, until, random.Random(f"{seed}{deed.__name__}")), daemon=True
            )
            for deed, until in deeds
        ]
        self._early = self._threads[: len(early)]
        for thread in self._threads:
            thread.start()

    @property
    def testimony(self) -> Said:
        """What was told to anybody."""
        return Said(self.acknowledged, self.told, self.decided)

    def calm(self) -> None:
        """Start, pause and cancel nothing any more; what waits for a decision still gets one."""
        self._no_more.set()
        for thread in self._early:
            thread.join()

    def close(self) -> None:
        self._no_more.set()
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(
        self, deed: Callable[[Caller, random.Random], float], until: threading.Event, rng: random.Random
    ) -> None:
        caller = Caller(self._port, timeout=10)
        while not until.is_set() or (self._paused is not None and deed == self._pause):
            try:
                pause = deed(caller, rng)
            except (OSError, http.client.HTTPException):
                self.calls["lost"] += 1
                pause = 0.1
            except Exception as error:
                self.failures.append(f"{deed.__name__}: {error!r}")
                pause = 1.0
            until.wait(pause)
        caller.close()

    def _told(self, run_id: str, status: str) -> None:
        self.told.append((run_id, status))
        if status in FINAL:
            self._ended.add(run_id)

    def _asked(self, what: str, code: int, answer: Any, *may_be: int) -> bool:
        """True if it was done; nothing but ``may_be`` is a way to refuse it, and 503 is one always."""
        self.calls[f"{what} {code}"] += 1
        if code not in {200, 202, 503, *may_be}:
            self.failures.append(f"{what}: {code} {answer}")
        return code in {200, 202}

    def _start(self, caller: Caller, rng: random.Random) -> float:
        if len(self.acknowledged) - len(self._ended) > self._most_open:
            return 0.05
        key = f"key-{self.begun}"
        shape = rng.choice(SHAPES)
        document = {"name": shape.__name__, "tasks": shape(rng)}
        self.begun += 1
        for _ in range(1_200):
            try:
                code, answer = caller.start(document, key, {"marker": key})
            except (OSError, http.client.HTTPException):
                self.calls["start lost"] += 1
            else:
                if self._asked("start", code, answer):
                    self.acknowledged[answer["workflow_id"]] = key
                    return 0.0
            if self._over.wait(0.1):
                break
        raise AssertionError(f"{key} could not be started for minutes")

    def _look(self, caller: Caller, rng: random.Random) -> float:
        left = [one for one in list(self.acknowledged) if one not in self._ended]
        again = [rng.choice(self.told)[0]] if self.told else []
        for run_id in left[:50] + again:
            code, answer = caller.ask("GET", f"/workflow/status/{run_id}")
            if self._asked("status", code, answer):
                self._told(run_id, answer["workflow_status"])
        return 0.05

    def _decide(self, caller: Caller, rng: random.Random) -> float:
        code, answer = caller.ask("GET", "/api/v1/approvals")
        for one in answer.get("data", ()) if code == 200 else ():
            verb = rng.choice(["approve", "reject"])
            code, said = caller.ask("POST", f"/api/v1/approvals/{one['key']}/{verb}", {})
            if self._asked("decide", code, said, 409, 410):
                self.decided[one["key"]] = {"approve": "APPROVED", "reject": "DENIED"}[verb]
        return 0.2

    def _cancel(self, caller: Caller, rng: random.Random) -> float:
        if self.acknowledged and rng.random() < 0.3:
            run_id = list(self.acknowledged)[-1]
            code, answer = caller.ask("POST", f"/workflow/cancel/{run_id}", {})
            if self._asked("cancel", code, answer, 409):
                self._told(run_id, "cancelled")
        return 0.1

    def _pause(self, caller: Caller, rng: random.Random) -> float:
        """One run at a time stands still for a while."""
        if self._paused is not None:
            code, answer = caller.ask("POST", f"/workflow/unpause/{self._paused}", {})
            if self._asked("unpause", code, answer, 409) or code == 409:
                self._paused = None
        elif self.acknowledged and not self._no_more.is_set():
            self._paused = list(self.acknowledged)[-1]
            code, answer = caller.ask("POST", f"/workflow/pause/{self._paused}", {})
            self._asked("pause", code, answer, 409)
        return rng.uniform(0.1, 0.6)
