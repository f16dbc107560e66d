"""One bulkhead: slots, queue, times, errors, shutdown."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from highway_core.errors import TaskError, TaskStoppedError
from highway_core.tools.bulkhead import (
    Bulkhead,
    BulkheadCircuitOpenError,
    BulkheadConfig,
    BulkheadError,
    BulkheadFullError,
    BulkheadIsolationError,
    BulkheadState,
    BulkheadTimeoutError,
)
from highway_core.utils.stopping import StopScope
from tests.waiting import eventually

SOON = 10.0


def bulkhead_of(**bounds: Any) -> Bulkhead:
    return Bulkhead(BulkheadConfig("payments", **bounds))


@contextmanager
def slot_taken_by_another_thread(bulkhead: Bulkhead) -> Iterator[threading.Event]:
    """Setting the event gives the slot back."""
    taken, give_back = threading.Event(), threading.Event()

    def hold() -> None:
        with bulkhead.context():
            taken.set()
            give_back.wait(SOON)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(SOON)
    yield give_back
    give_back.set()
    holder.join(SOON)


def boom() -> None:
    raise LookupError("no such account")


def test_no_more_calls_than_slots_are_inside_at_the_same_time() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=3, max_queue_size=50)
    lock = threading.Lock()
    inside, most = 0, 0
    together = threading.Barrier(3)

    def work() -> None:
        nonlocal inside, most
        with bulkhead.context():
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(SOON)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert most == 3
    assert bulkhead.get_stats()["successful_executions"] == 30


def test_a_call_beyond_slots_and_queue_is_refused_at_once() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, max_queue_size=0)
    with slot_taken_by_another_thread(bulkhead):
        with pytest.raises(BulkheadFullError, match="'payments' is full: 1 calls are running"), bulkhead.context():
            pass
        assert bulkhead.get_stats()["rejected_executions"] == 1


def test_waiting_in_the_queue_has_a_timeout_of_its_own_and_leaves_the_queue() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, wait_timeout_seconds=0.02)
    with slot_taken_by_another_thread(bulkhead):
        with pytest.raises(BulkheadTimeoutError, match=r"no slot became free within 0\.02 s"), bulkhead.context():
            pass
        assert bulkhead.get_stats()["current_queue_size"] == 0


def test_who_waits_gets_the_slot_that_is_given_back() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1)
    with slot_taken_by_another_thread(bulkhead) as give_back:
        threading.Thread(target=lambda: eventually(lambda: queued(bulkhead) == 1) and give_back.set()).start()
        with bulkhead.context():
            assert give_back.is_set()
    assert bulkhead.get_stats()["active_tasks"] == 0


def queued(bulkhead: Bulkhead) -> int:
    return int(bulkhead.get_stats()["current_queue_size"])


def test_a_stopped_attempt_stops_waiting_for_its_slot() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1)
    stop = StopScope()
    with slot_taken_by_another_thread(bulkhead):
        threading.Thread(target=lambda: eventually(lambda: queued(bulkhead) == 1) and stop.stop("cancelled")).start()
        with pytest.raises(TaskStoppedError, match="cancelled"), bulkhead.context(stop):
            pass
        assert queued(bulkhead) == 0
    assert bulkhead.get_stats()["active_tasks"] == 0


def test_the_block_keeps_its_own_exception_and_gives_the_slot_back() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, max_queue_size=0)
    with pytest.raises(LookupError), bulkhead.context():
        boom()
    with bulkhead.context():
        pass
    stats = bulkhead.get_stats()
    assert (stats["failed_executions"], stats["successful_executions"]) == (1, 1)


def test_a_stopped_call_counts_neither_as_success_nor_as_failure() -> None:
    bulkhead = bulkhead_of(circuit_breaker_enabled=True, failure_threshold=1)
    with pytest.raises(TaskStoppedError), bulkhead.context():
        raise TaskStoppedError("cancelled")
    stats = bulkhead.get_stats()
    assert (stats["total_executions"], stats["failed_executions"], stats["successful_executions"]) == (1, 0, 0)
    assert bulkhead.get_state() is BulkheadState.HEALTHY


def test_the_future_brings_result_name_and_id() -> None:
    result = bulkhead_of().execute(lambda left, right: left + right, 2, right=3).result(SOON)
    assert (result.success, result.result, result.error) == (True, 5, None)
    assert (result.bulkhead_name, result.execution_id) == ("payments", "payments-1")


def test_an_error_arrives_as_bulkhead_error_with_its_cause() -> None:
    future = bulkhead_of().execute(boom)
    with pytest.raises(BulkheadError, match="no such account") as caught:
        future.result(SOON)
    assert isinstance(caught.value.__cause__, LookupError)


def test_execute_sync_hands_out_the_error_in_its_own_type() -> None:
    result = bulkhead_of().execute_sync(boom)
    assert not result.success
    assert isinstance(result.error, LookupError)


def test_a_tool_that_exits_is_an_error_and_not_the_end_of_the_thread_pool() -> None:
    def leave() -> None:
        raise SystemExit(3)

    bulkhead = bulkhead_of(max_concurrent_calls=1)
    assert isinstance(bulkhead.execute_sync(leave).error, SystemExit)
    assert bulkhead.execute_sync(lambda: "still there").result == "still there"


def test_a_call_that_runs_too_long_frees_its_slot_at_once() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, max_queue_size=0, timeout_seconds=0.02)
    never = threading.Event()
    first = bulkhead.execute_sync(never.wait, SOON)
    assert isinstance(first.error, BulkheadTimeoutError)
    assert bulkhead.execute_sync(lambda: "next").result == "next"
    never.set()


def test_the_late_answer_of_a_call_that_was_given_up_is_ignored() -> None:
    bulkhead = bulkhead_of(timeout_seconds=0.02)
    go_on, answered = threading.Event(), threading.Event()

    def slow() -> str:
        go_on.wait(SOON)
        answered.set()
        return "late"

    assert isinstance(bulkhead.execute_sync(slow).error, BulkheadTimeoutError)
    go_on.set()
    assert answered.wait(SOON)
    assert bulkhead.execute_sync(lambda: "next").success
    stats = bulkhead.get_stats()
    assert (stats["total_executions"], stats["failed_executions"], stats["successful_executions"]) == (2, 1, 1)


def test_time_in_the_queue_does_not_count_as_running_time() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, timeout_seconds=5.0)
    with slot_taken_by_another_thread(bulkhead) as give_back:
        future = bulkhead.execute(lambda: "done")
        enough = time.monotonic() + 0.05
        assert eventually(lambda: time.monotonic() >= enough)
        give_back.set()
        result = future.result(SOON)
    assert result.queued_time >= 0.05
    assert result.execution_time < result.queued_time


def test_a_future_in_the_queue_times_out_while_it_waits() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, wait_timeout_seconds=0.02)
    with slot_taken_by_another_thread(bulkhead):
        result = bulkhead.execute_sync(lambda: "never")
    assert isinstance(result.error, BulkheadTimeoutError)
    assert bulkhead.get_stats()["total_executions"] == 1


def test_a_cancelled_future_passes_its_slot_on() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1)
    with slot_taken_by_another_thread(bulkhead) as give_back:
        cancelled, next_one = bulkhead.execute(lambda: "a"), bulkhead.execute(lambda: "b")
        assert cancelled.cancel()
        give_back.set()
        assert next_one.result(SOON).result == "b"


def test_execute_raises_full_at_once_and_execute_sync_returns_it() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, max_queue_size=0)
    with slot_taken_by_another_thread(bulkhead):
        with pytest.raises(BulkheadFullError):
            bulkhead.execute(lambda: None)
        assert isinstance(bulkhead.execute_sync(lambda: None).error, BulkheadFullError)


def test_the_threads_are_daemons_and_see_the_callers_context_variables() -> None:
    seen = ContextVar("seen", default="nothing")
    seen.set("the caller's")
    assert bulkhead_of().execute_sync(lambda: threading.current_thread().daemon).result
    assert bulkhead_of().execute_sync(seen.get).result == "the caller's"


def test_without_asking_for_it_failures_never_isolate() -> None:
    bulkhead = bulkhead_of(failure_threshold=1)
    for _ in range(5):
        bulkhead.execute_sync(boom)
    assert bulkhead.get_state() is BulkheadState.HEALTHY
    assert bulkhead.execute_sync(lambda: 1).success


def test_an_isolated_bulkhead_refuses_and_then_tries_one_call() -> None:
    seconds = [0.0]
    config = BulkheadConfig("payments", circuit_breaker_enabled=True, failure_threshold=2, success_threshold=1)
    bulkhead = Bulkhead(config, monotonic=lambda: seconds[0])
    for _ in range(2):
        bulkhead.execute_sync(boom)
    assert bulkhead.get_state() is BulkheadState.ISOLATED
    assert not bulkhead.is_healthy()
    with pytest.raises(BulkheadCircuitOpenError, match=r"next trial call is due in 30\.0 s"):
        bulkhead.execute(lambda: 1)
    seconds[0] = 30.0
    assert bulkhead.execute_sync(lambda: 1).success
    assert bulkhead.get_state() is BulkheadState.HEALTHY
    assert bulkhead.get_stats()["isolations"] == 1


def test_a_long_queue_behind_a_failure_is_refused_without_deep_recursion() -> None:
    bulkhead = bulkhead_of(
        max_concurrent_calls=1, max_queue_size=5000, circuit_breaker_enabled=True, failure_threshold=1
    )
    go_on = threading.Event()

    def fail_when_told() -> None:
        go_on.wait(SOON)
        boom()

    first = bulkhead.execute(fail_when_told)
    waiting = [bulkhead.execute(lambda: None) for _ in range(3000)]
    go_on.set()
    assert first.exception(SOON) is not None
    assert all(isinstance(future.exception(SOON), BulkheadCircuitOpenError) for future in waiting)
    assert eventually(lambda: bulkhead.get_stats()["active_tasks"] == 0)


async def give(value: Any) -> Any:
    return value


async def async_boom() -> None:
    boom()


def test_execute_async_returns_the_bare_value_and_raises_the_bare_error() -> None:
    bulkhead = bulkhead_of()
    assert asyncio.run(bulkhead.execute_async(give, 7)) == 7
    with pytest.raises(LookupError):
        asyncio.run(bulkhead.execute_async(async_boom))
    assert bulkhead.get_stats()["failed_executions"] == 1


def test_coroutines_wait_for_their_slot_and_time_out() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, timeout_seconds=0.02)

    async def two() -> list[Any]:
        slow = bulkhead.execute_async(asyncio.sleep, SOON)
        return await asyncio.gather(slow, bulkhead.execute_async(give, 1), return_exceptions=True)

    slow, quick = asyncio.run(two())
    assert isinstance(slow, BulkheadTimeoutError)
    assert quick == 1
    assert bulkhead.get_stats()["active_tasks"] == 0


def test_a_coroutine_whose_wait_is_too_long_or_cancelled_leaves_the_queue() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1, wait_timeout_seconds=0.02)

    async def cancel_one() -> None:
        waiting = asyncio.create_task(bulkhead.execute_async(give, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with slot_taken_by_another_thread(bulkhead):
        with pytest.raises(BulkheadTimeoutError, match="no slot became free"):
            asyncio.run(bulkhead.execute_async(give, 1))
        asyncio.run(cancel_one())
        assert queued(bulkhead) == 0


def test_an_idle_shutdown_takes_milliseconds_and_nothing_gets_in_afterwards() -> None:
    bulkhead = bulkhead_of()
    bulkhead.execute_sync(lambda: None)
    started = time.monotonic()
    assert bulkhead.shutdown()
    assert time.monotonic() - started < 0.5
    assert bulkhead.get_state() is BulkheadState.FAILED
    with pytest.raises(BulkheadIsolationError, match="takes no more calls"), bulkhead.context():
        pass


def test_a_shutdown_refuses_the_queue_and_waits_no_longer_than_told() -> None:
    bulkhead = bulkhead_of(max_concurrent_calls=1)
    with slot_taken_by_another_thread(bulkhead):
        waiting = bulkhead.execute(lambda: None)
        assert not bulkhead.shutdown(timeout=0.02)
        assert isinstance(waiting.exception(SOON), BulkheadIsolationError)


def test_a_reset_sets_the_counters_to_zero() -> None:
    bulkhead = bulkhead_of(max_queue_size=7, max_concurrent_calls=2)
    bulkhead.execute_sync(boom)
    bulkhead.reset_stats()
    assert bulkhead.get_stats() == {
        "name": "payments",
        "state": "healthy",
        "total_executions": 0,
        "successful_executions": 0,
        "failed_executions": 0,
        "rejected_executions": 0,
        "current_queue_size": 0,
        "max_queue_size": 7,
        "concurrent_capacity": 2,
        "active_tasks": 0,
    }


def test_every_refusal_is_a_task_error() -> None:
    children = {BulkheadIsolationError, BulkheadTimeoutError, BulkheadFullError, BulkheadCircuitOpenError}
    assert set(BulkheadError.__subclasses__()) == children
    assert issubclass(BulkheadError, TaskError)
