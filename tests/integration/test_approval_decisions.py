"""A decision is taken once: against another one, against the clock and against the end of the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from highway_core.errors import ApprovalError
from highway_core.lifecycle import ApprovalStatus, RunStatus
from highway_core.persistence.approval_store import (
    MAX_COMMENT,
    Approval,
    DecisionRefusedError,
    Refusal,
    approval_result,
)
from highway_core.persistence.durable_connection import DurableConnection
from highway_core.utils.approval_token import approval_token, new_approval
from tests.approvals import KEY, MANAGER, PROMPT, Office, an_office
from tests.waiting import eventually


@pytest.fixture
def office(postgres_url: str) -> Iterator[Office]:
    with an_office(postgres_url) as office:
        yield office


def refused(decide: Callable[[], object]) -> DecisionRefusedError:
    with pytest.raises(DecisionRefusedError) as caught:
        decide()
    return caught.value


def test_a_token_finds_its_approval_and_nothing_else_does(office: Office) -> None:
    asked = office.ask()
    found = office.store.by_token(asked.token)
    assert found is not None
    assert (found.approval_id, found.run_id, found.task_id) == (asked.approval_id, "run-1", "request_manager_approval")
    assert (found.prompt, found.assignee, found.choices) == (PROMPT, MANAGER, ("APPROVED", "DENIED"))
    assert found.refusal is None
    for other in (
        "",
        asked.token[:-1],
        asked.token + "A",
        asked.token_hash,
        asked.approval_id,
        new_approval(KEY).token,
    ):
        assert office.store.by_token(other) is None


def test_the_token_is_nowhere_in_the_database_and_can_be_made_again(office: Office) -> None:
    asked = office.ask()
    assert asked.token == approval_token(KEY, asked.approval_id)
    assert asked.token not in str(office.sql("SELECT a::text FROM approvals AS a"))
    assert approval_token(b"another key of another place", asked.approval_id) != asked.token


def test_a_decision_names_who_when_how_and_why_and_lets_the_task_go_on(office: Office) -> None:
    asked = office.ask()
    with Listening(office) as ears:
        decided = office.store.decide(asked.approval_id, "DENIED", by="bob", via="api", comment="too much")
        assert eventually(lambda: ("highway_work", "default") in ears.notifications())
    assert office.queued() == "QUEUED"
    assert office.store.by_id(asked.approval_id) == decided
    assert decided.decided_at is not None
    assert approval_result(decided) == {
        "status": "DENIED",
        "reason": "HUMAN_INPUT",
        "decided_by": "bob",
        "decided_at": decided.decided_at.isoformat(),
        "comment": "too much",
    }


def test_the_second_is_told_what_the_first_decided_even_if_it_is_the_same(office: Office) -> None:
    asked = office.ask()
    office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page")
    for decision in ("APPROVED", "DENIED"):
        error = refused(lambda choice=decision: office.store.decide(asked.approval_id, choice, by="bob", via="page"))
        assert error.reason is Refusal.DECIDED
        assert (error.approval.decision, error.approval.decided_by) == ("APPROVED", "ann")
        assert "APPROVED, by ann at " in str(error)


@pytest.mark.parametrize("decision", ["", "approved", "MAYBE", "x' or 'a'=='a", "APPROVED "])
def test_what_is_no_choice_changes_nothing(office: Office, decision: str) -> None:
    asked = office.ask()
    error = refused(lambda: office.store.decide(asked.approval_id, decision, by="ann", via="token"))
    assert error.reason is Refusal.CHOICE
    assert "APPROVED, DENIED" in str(error)
    assert office.queued() == "WAITING_FOR_EVENT"
    assert office.store.decide(asked.approval_id, "DENIED", by="ann", via="token").decision == "DENIED"


def test_after_its_time_nobody_decides_and_the_result_is_the_timeout(office: Office) -> None:
    asked = office.ask(seconds=-1)
    error = refused(lambda: office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page"))
    assert error.reason is Refusal.EXPIRED
    assert office.queued() == "WAITING_FOR_EVENT"
    assert approval_result(error.approval) == {"status": "TIMEOUT", "reason": "TIMEOUT"}


def test_an_open_approval_has_no_result(office: Office) -> None:
    found = office.store.by_id(office.ask().approval_id)
    assert found is not None
    with pytest.raises(ApprovalError, match="no result yet"):
        approval_result(found)


@pytest.mark.parametrize("status", [RunStatus.CANCELLED, RunStatus.COMPLETED, RunStatus.FAILED])
def test_a_run_that_is_over_needs_no_decision(office: Office, status: RunStatus) -> None:
    asked = office.ask()
    office.end_run("run-1", status)
    error = refused(lambda: office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page"))
    assert error.reason is Refusal.RUN_OVER
    assert f"the run is {status}" in str(error)
    assert office.queued() is None


def test_the_link_of_a_former_attempt_is_worth_nothing(office: Office) -> None:
    first, second = office.ask(fence=1), office.ask(fence=2)
    error = refused(lambda: office.store.decide(first.approval_id, "APPROVED", by="ann", via="page"))
    assert error.reason is Refusal.CANCELLED
    assert office.queued() == "WAITING_FOR_EVENT"
    assert office.store.decide(second.approval_id, "APPROVED", by="ann", via="page").decision == "APPROVED"


def test_while_a_run_is_paused_a_decision_is_taken_and_kept(office: Office) -> None:
    asked = office.ask()
    office.sql("UPDATE workflows SET status = %s", RunStatus.PAUSED.value)
    office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page")
    assert office.queued() == "QUEUED"


def test_a_worker_that_looked_before_the_decision_loses_its_claim(office: Office) -> None:
    asked = office.ask()
    office.sql("UPDATE task_queue SET status = 'running', fence = 7, worker_id = 'w', lease_until = now()")
    office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page")
    assert office.sql("SELECT status, fence, worker_id, lease_until, due_at FROM task_queue") == [
        ("QUEUED", 7, None, None, None)
    ]


def test_a_lost_row_of_the_queue_is_put_back(office: Office) -> None:
    asked = office.ask(fence=5)
    office.sql("DELETE FROM task_queue")
    office.store.decide(asked.approval_id, "APPROVED", by="ann", via="page")
    assert office.sql("SELECT kind, status, queue, payload_json FROM task_queue") == [
        ("approval", "QUEUED", "default", "5")
    ]


def test_an_unknown_id_is_a_key_error(office: Office) -> None:
    assert office.store.by_id("nobody") is None
    with pytest.raises(KeyError, match="nobody"):
        office.store.decide("nobody", "APPROVED", by="ann", via="api")


def test_what_people_write_is_stored_as_clean_text(office: Office) -> None:
    asked = office.ask()
    decided = office.store.decide(
        asked.approval_id, "DENIED", by=" a\0n\nn\ud800 ", via="api", comment=" \0no\r\nno\u202e\x1b[2J\t1 \udfff"
    )
    assert (decided.decided_by, decided.comment) == ("an n", "no\nno[2J\t1")
    again = office.store.by_id(asked.approval_id)
    assert again is not None
    assert (again.decided_by, again.comment) == ("an n", "no\nno[2J\t1")


def test_a_long_comment_is_cut(office: Office) -> None:
    comment = office.store.decide(office.ask().approval_id, "DENIED", by="a", via="api", comment="é" * 5000).comment
    assert comment is not None
    assert len(comment) == MAX_COMMENT
    assert comment.endswith("é…")


def test_open_approvals_come_page_by_page_the_oldest_first(office: Office) -> None:
    made = [office.ask(f"run-{n % 3}", f"ask_{n}", assignee=f"m{n % 2}").approval_id for n in range(20)]
    office.ask("run-0", "late", seconds=-1)
    office.store.decide(made[0], "APPROVED", by="a", via="api")
    seen: list[Approval] = []
    while page := office.store.open(limit=7, after=(seen[-1].created_at, seen[-1].approval_id) if seen else None):
        seen += page
    assert [one.approval_id for one in seen] == made[1:]
    of_one = office.store.open(run_id="run-1", assignee="m0")
    assert [one.task_id for one in of_one] == ["ask_4", "ask_10", "ask_16"]


def test_two_callers_at_the_same_moment_make_one_decision_five_hundred_times(office: Office) -> None:
    asked = [office.ask(f"run-{n}").approval_id for n in range(500)]
    start = threading.Barrier(2)
    told: dict[str, list[tuple[str, Approval | DecisionRefusedError]]] = {one: [] for one in asked}

    def everything(decision: str) -> None:
        for one in asked:
            start.wait(timeout=30)
            try:
                told[one].append((decision, office.store.decide(one, decision, by=decision.lower(), via="page")))
            except DecisionRefusedError as error:
                told[one].append((decision, error))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(everything, ("APPROVED", "DENIED")))
    winners = {"APPROVED": 0, "DENIED": 0}
    for one, ((_, first), (_, second)) in told.items():
        taken, lost = (first, second) if isinstance(first, Approval) else (second, first)
        assert isinstance(taken, Approval)
        assert isinstance(lost, DecisionRefusedError)
        assert lost.reason is Refusal.DECIDED
        assert lost.approval == office.store.by_id(one) == taken
        winners[str(taken.decision)] += 1
    assert office.sql("SELECT count(*) FROM approvals WHERE status = %s", ApprovalStatus.DECIDED.value) == [(500,)]
    assert office.sql("SELECT count(*) FROM task_queue WHERE status = 'QUEUED'") == [(500,)]
    assert min(winners.values()) > 0, "one of the two always won: they did not race"


def test_a_decision_and_the_end_of_its_time_exclude_each_other(office: Office) -> None:
    """Half of them are decided right when they end; a worker ends them under the run's lock as soon as they are due."""
    rounds, outcomes = 200, {Refusal.EXPIRED: 0, Refusal.DECIDED: 0}
    numbers = count()

    def worker(asked: str, ends: threading.Event) -> bool:
        ends.wait(timeout=10)
        with office.pool.connection() as connection:
            while True:
                with connection.transaction():
                    connection.run("SELECT 1 FROM workflows WHERE workflow_id = 'run-1' FOR NO KEY UPDATE")
                    status, due = connection.fetch(
                        "SELECT status, expires_at <= clock_timestamp() FROM approvals WHERE approval_id = %s", (asked,)
                    )[0]
                    if status == ApprovalStatus.DECIDED:
                        return False
                    if due:
                        update = "UPDATE approvals SET status = %s WHERE approval_id = %s AND status = %s"
                        words = (ApprovalStatus.EXPIRED.value, asked, ApprovalStatus.PENDING.value)
                        return connection.run(update, words) == 1

    def person(asked: str, ends: threading.Event) -> bool:
        ends.wait(timeout=10)
        try:
            office.store.decide(asked, "APPROVED", by="ann", via="page")
        except DecisionRefusedError as error:
            assert error.reason is Refusal.EXPIRED
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        for _ in range(rounds):
            number = next(numbers)
            asked = office.ask(task_id=f"ask_{number}", seconds=0.0005 + (number % 10) * 0.0005).approval_id
            go = threading.Event()
            both = threads.submit(worker, asked, go), threads.submit(person, asked, go)
            go.set()
            expired, decided = (one.result(timeout=20) for one in both)
            assert expired != decided
            found = office.store.by_id(asked)
            assert found is not None
            assert found.refusal is (Refusal.DECIDED if decided else Refusal.EXPIRED)
            outcomes[found.refusal] += 1
    assert min(outcomes.values()) > 0, outcomes


def test_a_decision_and_a_cancellation_exclude_each_other(office: Office) -> None:
    outcomes = {True: 0, False: 0}

    def person(asked: str, start: threading.Barrier) -> bool:
        start.wait(timeout=10)
        try:
            office.store.decide(asked, "APPROVED", by="ann", via="page")
        except DecisionRefusedError as error:
            assert error.reason is Refusal.RUN_OVER
            return False
        return True

    def operator(run_id: str, start: threading.Barrier) -> None:
        start.wait(timeout=10)
        office.end_run(run_id)

    with ThreadPoolExecutor(2) as threads:
        for number in range(200):
            run_id = f"run-{number}"
            asked, start = office.ask(run_id).approval_id, threading.Barrier(2)
            both = threads.submit(person, asked, start), threads.submit(operator, run_id, start)
            decided = bool(both[0].result(timeout=20))
            both[1].result(timeout=20)
            found = office.store.by_id(asked)
            assert found is not None
            assert found.status is (ApprovalStatus.DECIDED if decided else ApprovalStatus.CANCELLED)
            assert office.queued(run_id) is None
            outcomes[decided] += 1
    assert min(outcomes.values()) > 0, outcomes


def test_a_decision_waits_for_whoever_holds_the_run(office: Office) -> None:
    asked = office.ask()
    with ThreadPoolExecutor(1) as threads, office.pool.connection() as connection:
        with connection.transaction():
            connection.run("SELECT 1 FROM workflows FOR NO KEY UPDATE")
            waiting = threads.submit(office.store.decide, asked.approval_id, "APPROVED", by="ann", via="page")
            blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            assert eventually(lambda: bool(office.sql(blocked)))
            assert not waiting.done()
            connection.run("UPDATE workflows SET status = %s, end_time = now()", (RunStatus.CANCELLED.value,))
        assert refused(lambda: waiting.result(timeout=10)).reason is Refusal.RUN_OVER


@pytest.mark.parametrize("statement", ["BY_TOKEN", "BY_ID"])
def test_an_approval_is_found_by_an_index(office: Office, statement: str) -> None:
    from highway_core.persistence.statements import approvals as statements

    text = getattr(statements, statement)
    office.sql("SET enable_seqscan = off")
    plan = str(office.sql(f"EXPLAIN {text}", *["x"] * text.count("%s")))
    assert "Seq Scan" not in plan


class Listening:
    """A connection that hears of work."""

    def __init__(self, office: Office) -> None:
        self._connection = DurableConnection(office.url)

    def __enter__(self) -> DurableConnection:
        self._connection.listen("highway_work")
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
