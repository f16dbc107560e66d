"""What the services have to do while they are tormented: runs of every shape, started, watched, decided and cancelled.

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

Tasks = dict[str, dict[str, Any]]
ADD = {"operator_type": "task", "function": "tools.memory.increment", "args": ["total"]}
ASK = {"operator_type": "task", "function": "human.request_approval"}
FINAL = frozenset({"completed", "failed", "cancelled"})


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
        "q": {**ASK, "kwargs": {"approval_prompt": "Go on?"}, "dependencies": ["a"]},
        "z": effect("q"),
    }


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
    slow,
)


class Clients:
    """Threads that start runs, look at them, decide and cancel, until they are told to stop."""

    def __init__(self, cluster: Cluster, seed: int, most_open: int) -> None:
        self._port = cluster.services.port
        self._most_open = most_open
        self._no_more = threading.Event()
        self._over = threading.Event()
        self.acknowledged: dict[str, str] = {}
        """Run ids, by the key under which they were started."""
        self.told: list[tuple[str, str]] = []
        self.calls: Counter[str] = Counter()
        self._threads = [
            threading.Thread(
                target=self._go_on, args=(deed, until, random.Random(f"{seed}{deed.__name__}")), daemon=True
            )
            for until, deeds in ((self._no_more, (self._start, self._cancel)), (self._over, (self._look, self._decide)))
            for deed in deeds
        ]
        for thread in self._threads:
            thread.start()

    def calm(self) -> None:
        """Start and cancel nothing any more; what waits for a decision still gets one."""
        self._no_more.set()
        for thread in self._threads[:2]:
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
        while not until.is_set():
            try:
                pause = deed(caller, rng)
            except (OSError, http.client.HTTPException, ValueError):
                self.calls["lost"] += 1
                pause = 0.1
            until.wait(pause)
        caller.close()

    def _start(self, caller: Caller, rng: random.Random) -> float:
        if len(self.acknowledged) - len({one for one, status in self.told if status in FINAL}) > self._most_open:
            return 0.05
        key = f"key-{len(self.acknowledged)}"
        shape = rng.choice(SHAPES)
        document = {"name": shape.__name__, "tasks": shape(rng)}
        for _ in range(600):
            try:
                code, answer = caller.start(document, key)
            except (OSError, http.client.HTTPException, ValueError):
                self.calls["start lost"] += 1
                code, answer = 0, {}
            if code:
                self.calls[f"start {code}"] += 1
            if code == 202:
                self.acknowledged[key] = answer["workflow_id"]
                return 0.0
            assert code in {0, 503}, (code, answer)
            self._over.wait(0.1)
        raise AssertionError(f"{key} could not be started for a minute")

    def _look(self, caller: Caller, rng: random.Random) -> float:
        done = {one for one, status in self.told if status in FINAL}
        left = [one for one in list(self.acknowledged.values()) if one not in done]
        for run_id in left[:50]:
            code, answer = caller.ask("GET", f"/workflow/status/{run_id}")
            self.calls[f"status {code}"] += 1
            if code == 200:
                self.told.append((run_id, answer["workflow_status"]))
        again = rng.choice(self.told)[0] if self.told else None
        if again is not None:
            code, answer = caller.ask("GET", f"/workflow/status/{again}")
            if code == 200:
                self.told.append((again, answer["workflow_status"]))
        return 0.05

    def _decide(self, caller: Caller, rng: random.Random) -> float:
        code, answer = caller.ask("GET", "/api/v1/approvals")
        for one in answer.get("data", ()) if code == 200 else ():
            code, _ = caller.ask("POST", f"/api/v1/approvals/{one['key']}/{rng.choice(['approve', 'reject'])}", {})
            self.calls[f"decide {code}"] += 1
        return 0.2

    def _cancel(self, caller: Caller, rng: random.Random) -> float:
        if self.acknowledged and rng.random() < 0.3:
            run_id = list(self.acknowledged.values())[-1]
            code, answer = caller.ask("POST", f"/workflow/cancel/{run_id}", {})
            self.calls[f"cancel {code}"] += 1
            if code == 200:
                self.told.append((run_id, answer.get("workflow_status") or answer.get("status") or "cancelled"))
        return 0.1
