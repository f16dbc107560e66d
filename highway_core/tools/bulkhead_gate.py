"""The way into a bulkhead: slots, a queue before them (who comes first is served first), a breaker, and counters.

A call goes ``enter`` → (the queue) → ``begin`` → the work → ``end``. Thread-safe throughout.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from highway_core.errors import TaskStoppedError
from highway_core.tools.bulkhead_config import (
    BulkheadCircuitOpenError,
    BulkheadConfig,
    BulkheadError,
    BulkheadFullError,
    BulkheadIsolationError,
    BulkheadTimeoutError,
)
from highway_core.tools.circuit_breaker import BulkheadState, CircuitBreaker


class Waiter:
    """One request for a slot. ``granted`` is None in the queue, then True, or False if the slots were closed.

    ``answer`` is called once, by another thread, when a waiting request is answered; it returns False to pass a
    granted slot on to the next in the queue.
    """

    __slots__ = ("answer", "granted")

    def __init__(self, answer: Callable[[], bool]) -> None:
        self.answer = answer
        self.granted: bool | None = None


class Slots:
    """Whoever holds a slot gives it back with one :meth:`release`."""

    def __init__(self, name: str, limit: int, queue_limit: int) -> None:
        self._name = name
        self._limit = limit
        self._queue_limit = queue_limit
        self._changed = threading.Condition()
        self._waiting: deque[Waiter] = deque()
        self._closed = False
        self.taken = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._closed

    def take(self, answer: Callable[[], bool]) -> Waiter:
        """Take a slot, or a place in the queue; BulkheadFullError if there is neither."""
        waiter = Waiter(answer)
        with self._changed:
            if self._closed:
                raise BulkheadIsolationError(f"Bulkhead '{self._name}' is shut down and takes no more calls.")
            if self.taken < self._limit:
                self.taken += 1
                waiter.granted = True
            elif len(self._waiting) < self._queue_limit:
                self._waiting.append(waiter)
            else:
                raise BulkheadFullError(
                    f"Bulkhead '{self._name}' is full: {self.taken} calls are running and {self.waiting} wait. "
                    f"Raise its max_concurrent_calls or max_queue_size, or give the task a retry_policy."
                )
        return waiter

    def release(self) -> None:
        """Give a slot back: to the first in the queue that takes it, else to nobody."""
        while True:
            with self._changed:
                if not self._waiting:
                    self.taken -= 1
                    self._changed.notify_all()
                    return
                waiter = self._waiting.popleft()
                waiter.granted = True
            # Outside the lock, and in a loop instead of by recursion: a long queue may decline one by one.
            if waiter.answer():
                return

    def withdraw(self, waiter: Waiter) -> bool:
        """Leave the queue; False if the request has been answered in the meantime."""
        with self._changed:
            if waiter.granted is not None:
                return False
            self._waiting.remove(waiter)
            return True

    def close(self) -> None:
        """Answer everyone in the queue with no, and take nobody any more."""
        with self._changed:
            self._closed = True
            refused = list(self._waiting)
            self._waiting.clear()
            for waiter in refused:
                waiter.granted = False
        for waiter in refused:
            waiter.answer()

    def wait_until_free(self, timeout: float) -> bool:
        """Hold the thread until no slot is taken, for at most ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.taken == 0, timeout)


class Gate:
    """What all entry points of one bulkhead share."""

    def __init__(self, config: BulkheadConfig, monotonic: Callable[[], float]) -> None:
        self.config = config
        self.slots = Slots(config.name, config.max_concurrent_calls, config.max_queue_size)
        self.breaker: CircuitBreaker | None = None
        if config.circuit_breaker_enabled:
            self.breaker = CircuitBreaker(
                config.failure_threshold, config.success_threshold, config.isolation_duration, config.name, monotonic
            )
        self._lock = threading.Lock()
        self._started = self._succeeded = self._failed = self._rejected = 0

    def enter(self, answer: Callable[[], bool]) -> Waiter:
        """A slot or a place in the queue; BulkheadError if the breaker is open, the queue full or all is over."""
        try:
            if self.breaker is not None and self.breaker.get_state() is BulkheadState.ISOLATED:
                raise self._isolated()
            return self.slots.take(answer)
        except BulkheadError:
            self.count_rejection()
            raise

    def begin(self) -> BulkheadCircuitOpenError | None:
        """A slot is held and the work would start now: None, or why it must not (the slot stays the caller's)."""
        if self.breaker is not None and not self.breaker.is_request_allowed():
            self.count_rejection()
            return self._isolated()
        with self._lock:
            self._started += 1
        return None

    def end(self, error: BaseException | None) -> None:
        """The work is over. The verdict goes before the slot, so that whoever gets the slot meets it."""
        if error is None:
            verdict = CircuitBreaker.record_success
        elif isinstance(error, TaskStoppedError) or not isinstance(error, Exception | SystemExit):
            verdict = CircuitBreaker.record_nothing  # stopped from here: it says nothing about the other side
        else:
            verdict = CircuitBreaker.record_failure
        with self._lock:
            self._succeeded += verdict is CircuitBreaker.record_success
            self._failed += verdict is CircuitBreaker.record_failure
        if self.breaker is not None:
            verdict(self.breaker)
        self.slots.release()

    def waited_too_long(self) -> BulkheadTimeoutError:
        self.count_rejection()
        return BulkheadTimeoutError(
            f"Bulkhead '{self.config.name}': no slot became free within {self.config.wait_timeout_seconds:g} s "
            f"({self.slots.taken} calls are running, {self.slots.waiting} wait)."
        )

    def ran_too_long(self) -> BulkheadTimeoutError:
        return BulkheadTimeoutError(
            f"Bulkhead '{self.config.name}': the call ran longer than {self.config.timeout_seconds:g} s."
        )

    def closed(self) -> BulkheadIsolationError:
        self.count_rejection()
        return BulkheadIsolationError(f"Bulkhead '{self.config.name}' was shut down while the call was waiting.")

    def count_rejection(self) -> None:
        with self._lock:
            self._rejected += 1

    def state(self) -> BulkheadState:
        if self.slots.closed:
            return BulkheadState.FAILED
        return BulkheadState.HEALTHY if self.breaker is None else self.breaker.get_state()

    def stats(self) -> dict[str, Any]:
        with self._lock:
            counted = {
                "total_executions": self._started,
                "successful_executions": self._succeeded,
                "failed_executions": self._failed,
                "rejected_executions": self._rejected,
            }
        return {
            "name": self.config.name,
            "state": self.state().value,
            **counted,
            "current_queue_size": self.slots.waiting,
            "max_queue_size": self.config.max_queue_size,
            "concurrent_capacity": self.config.max_concurrent_calls,
            "active_tasks": self.slots.taken,
            **({} if self.breaker is None else self.breaker.get_stats()),
        }

    def reset_stats(self) -> None:
        with self._lock:
            self._started = self._succeeded = self._failed = self._rejected = 0

    def _isolated(self) -> BulkheadCircuitOpenError:
        seconds = 0.0 if self.breaker is None else self.breaker.seconds_until_trial()
        when = f"the next trial call is due in {seconds:.1f} s" if seconds else "a trial call is under way"
        return BulkheadCircuitOpenError(f"Bulkhead '{self.config.name}' is isolated after repeated failures; {when}.")
