"""The ways to make a call through a bulkhead: in this thread, in a thread of its own, or in an event loop.

A call in a thread of its own that outlives ``timeout_seconds`` is given up: its slot is free at once and its late
answer is ignored. Python cannot kill the thread; what must really stop is run by the engine's executors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

from highway_core.tools.bulkhead_config import BulkheadConfig, BulkheadError, ExecutionResult
from highway_core.tools.bulkhead_gate import Gate, Waiter
from highway_core.tools.circuit_breaker import BulkheadState
from highway_core.utils.stopping import StopScope


class Bulkhead:
    """A bounded number of calls at a time. ``monotonic`` is the breaker's clock."""

    def __init__(self, config: BulkheadConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.name = config.name
        self._gate = Gate(config, monotonic)
        self._numbers = count(1)

    def context(self, stop: StopScope | None = None) -> HeldSlot:
        """Hold a slot in the calling thread: ``with bulkhead.context(): …``.

        Entering waits in the queue for at most ``wait_timeout_seconds`` and ends early when ``stop`` is stopped; it
        raises a BulkheadError or TaskStoppedError. ``timeout_seconds`` is not applied: nothing can interrupt the
        calling thread.
        """
        return HeldSlot(self._gate, stop)

    def execute(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[ExecutionResult]:
        """Call ``func`` in a daemon thread as soon as a slot is free.

        Raises BulkheadFullError or BulkheadCircuitOpenError at once. What ``func`` raises arrives through the future
        as BulkheadError with the exception as its ``__cause__``.
        """
        return self._submit(partial(func, *args, **kwargs)).future

    def execute_sync(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ExecutionResult:
        """As :meth:`execute`, but wait for it. Never raises: ``error`` is the exception, of its own type."""
        submitted = time.monotonic()
        try:
            return self._submit(partial(func, *args, **kwargs)).future.result()
        except BulkheadError as error:
            elapsed = time.monotonic() - submitted
            return ExecutionResult(False, None, error.__cause__ or error, elapsed, self.name)

    async def execute_async(self, func: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        """Await ``func(…)`` in the running loop. Returns its bare value and raises what it raises."""
        import asyncio  # noqa: PLC0415 - slow to import, and only code that has already imported it gets here

        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        def answer() -> bool:
            loop.call_soon_threadsafe(answered.set)
            return True

        waiter = self._gate.enter(answer)
        try:
            if waiter.granted is None:
                async with asyncio.timeout(self.config.wait_timeout_seconds):
                    await answered.wait()
        except TimeoutError:
            if self._gate.slots.withdraw(waiter):
                raise self._gate.waited_too_long() from None
        except asyncio.CancelledError:
            if not self._gate.slots.withdraw(waiter) and waiter.granted:
                self._gate.slots.release()
            raise
        _start(self._gate, waiter)
        with _Working(self._gate):
            try:
                async with asyncio.timeout(self.config.timeout_seconds) as limit:
                    return await func(*args, **kwargs)
            except TimeoutError as error:
                if limit.expired():
                    raise self._gate.ran_too_long() from error
                raise

    def get_state(self) -> BulkheadState:
        """FAILED after :meth:`shutdown`, else the breaker's state (HEALTHY without one)."""
        return self._gate.state()

    def is_healthy(self) -> bool:
        return self.get_state() in {BulkheadState.HEALTHY, BulkheadState.DEGRADED}

    def get_stats(self) -> dict[str, Any]:
        """Counters since the start or the last :meth:`reset_stats`; ``total_executions`` are the calls that began."""
        return self._gate.stats()

    def reset_stats(self) -> None:
        """Counters to zero; the breaker keeps what it knows."""
        self._gate.reset_stats()

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Refuse the queue and later calls; wait at most ``timeout`` seconds for running ones. True if none is left."""
        self._gate.slots.close()
        return self._gate.slots.wait_until_free(timeout)

    def _submit(self, work: Callable[[], Any]) -> _ThreadCall:
        call = _ThreadCall(self._gate, work, f"{self.name}-{next(self._numbers)}")
        call.submit()
        return call


class _Working:
    """The time between ``Gate.begin`` and ``Gate.end``."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        """The slot is already held."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.end(error)


class HeldSlot(_Working):
    """The context manager of :meth:`Bulkhead.context`."""

    __slots__ = ("_stop",)

    def __init__(self, gate: Gate, stop: StopScope | None) -> None:
        super().__init__(gate)
        self._stop = stop

    def __enter__(self) -> None:
        answered = threading.Event()

        def answer() -> bool:
            answered.set()
            return True

        waiter = self._gate.enter(answer)
        if waiter.granted is None:
            self._wait(waiter, answered)
        _start(self._gate, waiter)

    def _wait(self, waiter: Waiter, answered: threading.Event) -> None:
        gate, stop = self._gate, self._stop
        if stop is None:
            answered.wait(gate.config.wait_timeout_seconds)
        else:
            with stop.on_stop(answered.set):
                answered.wait(gate.config.wait_timeout_seconds)
        withdrawn = gate.slots.withdraw(waiter)
        if stop is not None and stop.stopped:
            if waiter.granted:
                gate.slots.release()
            stop.check()
        if withdrawn:
            raise gate.waited_too_long()


def _start(gate: Gate, waiter: Waiter) -> None:
    """The caller's request has been answered: begin, or give back what it holds and raise the refusal."""
    if not waiter.granted:
        raise gate.closed()
    refusal = gate.begin()
    if refusal is not None:
        gate.slots.release()
        raise refusal


class _ThreadCall:
    """One call of ``Bulkhead.execute``. Whoever ends it first (the work, a timer, the shutdown) tells its future."""

    def __init__(self, gate: Gate, work: Callable[[], Any], call_id: str) -> None:
        self.future: Future[ExecutionResult] = Future()
        self._gate = gate
        self._work = work
        self._call_id = call_id
        self._context = copy_context()
        self._lock = threading.Lock()
        self._over = False
        self._waiter: Waiter | None = None
        self._timer: threading.Timer | None = None
        self._submitted = self._started = time.monotonic()

    def submit(self) -> None:
        with self._lock:  # an answer from another thread waits until the queue's timer is set
            self._waiter = self._gate.enter(self._answered)
            if self._waiter.granted is None:
                self._start_timer(self._gate.config.wait_timeout_seconds, self._give_up_waiting)
                return
        refusal = self._gate.begin()
        if refusal is not None:
            self._gate.slots.release()
            raise refusal
        self.future.set_running_or_notify_cancel()
        self._start_thread()

    def _answered(self) -> bool:
        with self._lock:
            self._stop_timer()
            granted = self._waiter is not None and self._waiter.granted
        if not self.future.set_running_or_notify_cancel():
            return False
        refusal = self._gate.begin() if granted else self._gate.closed()
        if refusal is not None:
            self.future.set_exception(refusal)
            return False
        self._start_thread()
        return True

    def _give_up_waiting(self) -> None:
        if self._waiter is not None and self._gate.slots.withdraw(self._waiter):
            refusal = self._gate.waited_too_long()
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(refusal)

    def _start_thread(self) -> None:
        self._started = time.monotonic()
        with self._lock:
            self._start_timer(self._gate.config.timeout_seconds, self._give_up_working)
        thread = threading.Thread(target=self._context.run, args=(self._run,), name=self._call_id, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine gives no more threads
            if self._end(error):
                self._deliver(None, error)

    def _run(self) -> None:
        result = None
        with _Caught() as caught:
            result = self._work()
        if self._end(caught.error):
            self._deliver(result, caught.error)

    def _give_up_working(self) -> None:
        error = self._gate.ran_too_long()
        if self._end(error):
            self.future.set_exception(error)

    def _end(self, error: BaseException | None) -> bool:
        """True for the first caller only; frees the slot."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            self._stop_timer()
        self._gate.end(error)
        return True

    def _deliver(self, result: Any, error: BaseException | None) -> None:
        if error is None:
            now = time.monotonic()
            queued = self._started - self._submitted
            name = self._gate.config.name
            self.future.set_result(
                ExecutionResult(True, result, None, now - self._started, name, queued, self._call_id)
            )
            return
        wrapped = BulkheadError(str(error) or type(error).__name__)
        wrapped.__cause__ = error
        self.future.set_exception(wrapped)

    def _start_timer(self, seconds: float | None, give_up: Callable[[], None]) -> None:
        if seconds is not None:
            self._timer = threading.Timer(seconds, give_up)
            self._timer.daemon = True
            self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Caught:
    """Holds back whatever the block raises, to hand it to a future: nothing is lost and the thread ends quietly."""

    error: BaseException | None = None

    def __enter__(self) -> _Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True
