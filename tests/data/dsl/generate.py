"""Writes the corpus: the same workflows as the installed highway-dsl release serialises them.

Run it under one release at a time; the files go to ``tests/data/dsl/<release>/<name>.yaml`` (three also as JSON)::

    pip install --no-deps --target old-dsl highway-dsl==1.3.0
    PYTHONPATH=old-dsl python tests/data/dsl/generate.py

Each workflow names the parts of the DSL that it needs; a release without one of them skips the workflow. Nothing here
asks for a version number. ``expected.yaml`` says how each workflow ends, whatever release wrote it.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from highway_dsl import RetryPolicy, TimeoutPolicy, WorkflowBuilder, workflow_dsl

Step = WorkflowBuilder
LOG = "tools.log.info"
RUN = "tools.command.run"
AS_JSON_TOO = {"condition_arms", "parallel_branches", "policies"}

CORPUS: dict[str, tuple[tuple[str, ...], Callable[[], WorkflowBuilder]]] = {}


def corpus(*needs: str) -> Callable[[Callable[[], WorkflowBuilder]], Callable[[], WorkflowBuilder]]:
    """Put a workflow into the corpus; ``needs`` are ``Class.method`` or ``Model.field`` names of the DSL."""

    def register(build: Callable[[], WorkflowBuilder]) -> Callable[[], WorkflowBuilder]:
        CORPUS[build.__name__] = (needs, build)
        return build

    return register


def is_there(need: str) -> bool:
    owner, _, member = need.partition(".")
    cls = getattr(workflow_dsl, owner, None)
    return cls is not None and (hasattr(cls, member) or member in getattr(cls, "model_fields", {}))


def start(name: str, **variables: Any) -> WorkflowBuilder:
    builder = WorkflowBuilder(name)
    builder.workflow.set_variables(variables)
    return builder


def say(builder: Step, task_id: str, text: str | None = None, **options: Any) -> Step:
    """A task that prints a line; the line is its result when ``result_key`` is given."""
    return builder.task(task_id, RUN, args=[f"echo {text or task_id}"], **options)


def fail(builder: Step, task_id: str, **options: Any) -> Step:
    return builder.task(task_id, RUN, args=["false"], **options)


def nothing(builder: Step) -> Step:
    """An arm without tasks."""
    return builder


@corpus()
def linear_chain() -> WorkflowBuilder:
    b = start("linear_chain", who="world", stock={"apples": [3, 5]})
    b.task("greet", RUN, args=["echo", "hello {{inputs.who}}"], result_key="greeting")
    say(b, "again", "{{greeting}}, again", result_key="second")
    b.task("remember", "tools.memory.set", args=["apples", "{{variables.stock.apples.1}}"], result_key="remembered")
    say(b, "count", "{{memory.apples}} apples", result_key="counted")
    return b.task("note", LOG, args=["Übersicht: {{second}}"])


@corpus()
def condition_arms() -> WorkflowBuilder:
    b = start("condition_arms", size=7, fragile=False, rush=False)
    say(b, "measure", result_key="measured")
    b.condition(
        "check_size",
        condition="{{variables.size}} > 5",
        if_true=lambda big: say(
            say(say(big, "pack"), "label").condition(
                "check_fragile",
                condition="{{variables.fragile}} == true",
                if_true=lambda arm: say(arm, "add_sticker"),
                if_false=nothing,
            ),
            "ship",
        ),
        if_false=lambda small: say(say(small, "refuse"), "refund"),
    )
    say(b, "notify")
    b.condition(
        "check_rush",
        condition="{{variables.rush}} == true and {{variables.size}} > 1",
        if_true=lambda arm: say(say(arm, "call_courier"), "book_van"),
        if_false=nothing,
    )
    return say(b, "close", result_key="closed")


@corpus()
def fan_in_after_arms() -> WorkflowBuilder:
    """The shape of the expense report: three possible ends, and one task that depends on all of them."""
    b = start("fan_in_after_arms", decision="DENIED", reason="HUMAN_INPUT")
    b.condition(
        "check_approval",
        condition="{{variables.decision}} == 'APPROVED'",
        if_true=lambda arm: arm.parallel(
            "process_approved",
            branches={"pay": lambda p: say(p, "run_payment"), "mail": lambda p: say(p, "notify_approved")},
        ),
        if_false=lambda arm: arm.condition(
            "check_timeout",
            condition="{{variables.reason}} == 'TIMEOUT'",
            if_true=lambda late: say(late, "escalate"),
            if_false=lambda denied: say(denied, "notify_denied", result_key="denial"),
        ),
    )
    return say(b, "close_report", dependencies=["process_approved", "escalate", "notify_denied"], result_key="closed")


def three_branches(b: Step) -> Step:
    return b.parallel(
        "fan",
        branches={
            "left": lambda p: say(say(p, "left_one"), "left_two", "{{variables.unit}}", result_key="left_out"),
            "Middle": lambda p: say(p.wait("middle_pause", timedelta(milliseconds=50)), "middle_say"),
            "right": lambda p: say(p, "right_say", result_key="right_out"),
        },
    )


@corpus()
def parallel_branches() -> WorkflowBuilder:
    b = start("parallel_branches", unit="kg")
    b.task("begin", LOG, args=["begin"])
    three_branches(b)
    say(b, "fan_in", "{{left_out}} {{right_out}}", dependencies=["fan"], result_key="joined")
    return b.task("end", LOG, args=["{{joined}}"])


@corpus()
def parallel_by_task_id() -> WorkflowBuilder:
    """The fan-in names branch tasks, not the operator."""
    b = start("parallel_by_task_id", unit="kg")
    three_branches(b)
    say(
        b,
        "fan_in",
        "{{left_out}} {{right_out}}",
        dependencies=["left_two", "middle_say", "right_say"],
        result_key="joined",
    )
    return say(b, "early", dependencies=["left_one"])


@corpus()
def nested_parallel() -> WorkflowBuilder:
    b = start("nested_parallel")
    b.parallel(
        "outer",
        branches={
            "deep": lambda p: say(
                say(p, "deep_first").parallel(
                    "inner",
                    branches={"x": lambda q: say(q, "in_x", result_key="x_out"), "y": lambda q: say(q, "in_y")},
                ),
                "deep_last",
                "{{x_out}} seen",
                result_key="deep_out",
            ),
            "flat": lambda p: say(p, "flat_only"),
        },
    )
    return say(b, "after", "{{deep_out}} outside", result_key="after_out")


@corpus()
def parallel_failure() -> WorkflowBuilder:
    b = start("parallel_failure")
    b.parallel(
        "fan",
        branches={
            "bad": lambda p: say(fail(p, "breaks"), "never_reached"),
            "good": lambda p: say(p.wait("good_pause", timedelta(milliseconds=100)), "good_end"),
        },
    )
    return say(b, "after")


@corpus()
def parallel_in_arm() -> WorkflowBuilder:
    b = start("parallel_in_arm", go=True, stop=False)

    def fan(arm: Step, name: str) -> Step:
        fork = arm.parallel(
            f"{name}_fan",
            branches={"a": lambda p: say(p, f"{name}_a"), "b": lambda p: say(say(p, f"{name}_b1"), f"{name}_b2")},
        )
        return say(fork, f"{name}_last")

    b.condition(
        "check_go",
        condition="{{variables.go}} == true",
        if_true=lambda arm: fan(say(arm, "taken_first"), "taken"),
        if_false=lambda arm: say(arm, "not_gone"),
    )
    b.condition(
        "check_stop",
        condition="{{variables.stop}} == true",
        if_true=lambda arm: fan(arm, "dead"),
        if_false=lambda arm: say(arm, "not_stopped"),
    )
    return say(b, "after")


USERS = [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 25}, {"name": "Eve", "age": 41}]


@corpus()
def foreach_dicts() -> WorkflowBuilder:
    b = start("foreach_dicts", users=USERS, nobody=[])
    b.task("reset", "tools.memory.set", args=["total", 0])
    b.foreach(
        "each_user",
        items="{{variables.users}}",
        loop_body=lambda body: (
            say(body, "hello", "hello {{item.name}}", result_key="line")
            .task("add_age", "tools.memory.add", args=["total", "{{item.age}}"])
            .task("log_line", LOG, args=["{{line}} ({{index}})"])
        ),
    )
    say(b, "report", "{{memory.total}}", result_key="total_age")
    b.foreach("each_nobody", items="{{variables.nobody}}", loop_body=lambda body: say(body, "never"))
    return say(b, "end")


@corpus("ForEachOperator.result_key")
def foreach_results() -> WorkflowBuilder:
    b = start("foreach_results", letters=["a", "b"])
    b.foreach(
        "each_letter",
        items="{{variables.letters}}",
        loop_body=lambda body: say(body, "print_letter", "{{index}} {{item}}", result_key="line"),
        result_key="lines",
    )
    return say(b, "report", "{{lines.length}} lines, last {{lines.1.line}}", result_key="reported")


@corpus("ForEachOperator.parallel")
def foreach_parallel() -> WorkflowBuilder:
    b = start("foreach_parallel", numbers=[1, 2, 3, 4])
    b.task("reset", "tools.memory.set", args=["sum", 0])
    b.foreach(
        "each_number",
        items="{{variables.numbers}}",
        loop_body=lambda body: body.task("add", "tools.memory.add", args=["sum", "{{item}}"]),
        parallel=True,
    )
    say(b, "report", "{{memory.sum}}", result_key="sum_text")
    b.foreach(
        "each_fails_once",
        items="{{variables.programs}}",
        loop_body=lambda body: say(body.task("call", RUN, args=["{{item}}"]), "after_call"),
        parallel=True,
    )
    b.workflow.set_variables({"programs": ["true", "false", "true"]})
    return say(b, "end")


@corpus("ForEachOperator.dynamic")
def foreach_dynamic() -> WorkflowBuilder:
    b = start("foreach_dynamic", numbers=[1, 2])
    b.foreach("each_number", items="{{variables.numbers}}", loop_body=lambda body: say(body, "show"), dynamic=True)
    return say(b, "end")


@corpus()
def foreach_failure() -> WorkflowBuilder:
    b = start("foreach_failure", programs=["true", "false", "true"])
    b.foreach(
        "each_program",
        items="{{variables.programs}}",
        loop_body=lambda body: say(body.task("call", RUN, args=["{{item}}"]), "after_call"),
    )
    return say(b, "end")


@corpus()
def while_counter() -> WorkflowBuilder:
    b = start("while_counter")
    b.task("reset", "tools.memory.set", args=["counter", 0])
    b.while_loop(
        "count_up",
        condition="{{memory.counter}} < 3",
        loop_body=lambda body: say(
            body.task("increment", "tools.memory.increment", args=["counter"], result_key="step"),
            "show",
            "at {{step.new_value}}",
            result_key="shown",
        ),
    )
    say(b, "report", "{{shown}} of {{memory.counter}}", result_key="reported")
    b.while_loop("not_once", condition="{{memory.counter}} > 99", loop_body=lambda body: say(body, "never"))
    return say(b, "end")


@corpus()
def while_limit() -> WorkflowBuilder:
    b = start("while_limit")
    b.while_loop(
        "for_ever",
        condition="1 == 1",
        loop_body=lambda body: body.task("turn", "tools.memory.increment", args=["turns"]),
        metadata={"max_iterations": 2},
    )
    return say(b, "after")


@corpus()
def foreach_in_while() -> WorkflowBuilder:
    b = start("foreach_in_while", amounts=[1, 10])
    b.task("reset_rounds", "tools.memory.set", args=["rounds", 0])
    b.task("reset_total", "tools.memory.set", args=["total", 0])
    b.while_loop(
        "rounds",
        condition="{{memory.rounds}} < 2",
        loop_body=lambda body: body.foreach(
            "each_amount",
            items="{{variables.amounts}}",
            loop_body=lambda inner: inner.task("add", "tools.memory.add", args=["total", "{{item}}"]),
        ).task("next_round", "tools.memory.increment", args=["rounds"]),
    )
    return say(b, "report", "{{memory.total}}", result_key="total_text")


@corpus()
def nested_foreach() -> WorkflowBuilder:
    b = start("nested_foreach", shops=[{"city": "Rome", "goods": ["tea", "jam"]}, {"city": "Bonn", "goods": ["rye"]}])
    b.task("reset", "tools.memory.set", args=["last", ""])
    b.foreach(
        "each_shop",
        items="{{variables.shops}}",
        loop_body=lambda shop: say(shop, "open_shop", "{{item.city}}").foreach(
            "each_good",
            items="{{item.goods}}",
            loop_body=lambda good: good.task(
                "price", "tools.memory.set", args=["last", "{{item}} in {{each_shop.item.city}}"]
            ),
        ),
    )
    return say(b, "report", "{{memory.last}}", result_key="last_text")


@corpus()
def foreach_in_branch() -> WorkflowBuilder:
    b = start("foreach_in_branch", letters=["a", "b"])
    b.parallel(
        "fan",
        branches={
            "loop": lambda p: say(
                p.foreach(
                    "each_letter",
                    items="{{variables.letters}}",
                    loop_body=lambda body: say(say(body, "first", "{{item}}"), "second", "{{index}}"),
                ),
                "loop_done",
            ),
            "plain": lambda p: say(p, "plain_only"),
        },
    )
    return say(b, "after")


@corpus()
def parallel_in_loop() -> WorkflowBuilder:
    b = start("parallel_in_loop", letters=["a", "b"])
    b.foreach(
        "each_letter",
        items="{{variables.letters}}",
        loop_body=lambda body: say(
            body.parallel(
                "fan",
                branches={
                    "up": lambda p: say(p, "go_up", "{{item}} up", result_key="up"),
                    "down": lambda p: say(p, "go_down", "{{item}} down", result_key="down"),
                },
            ),
            "meet",
            "{{up}}, {{down}}",
        ),
    )
    return say(b, "after")


@corpus()
def condition_in_loop() -> WorkflowBuilder:
    b = start("condition_in_loop", guests=[{"name": "Ann", "kind": "vip"}, {"name": "Bob", "kind": "plain"}])
    b.foreach(
        "each_guest",
        items="{{variables.guests}}",
        loop_body=lambda body: say(
            say(body, "greet", "hello {{item.name}}").condition(
                "is_vip",
                condition="{{item.kind}} == 'vip'",
                if_true=lambda arm: say(say(arm, "gift"), "wrap"),
                if_false=lambda arm: say(arm, "card"),
            ),
            "stamp",
        ),
    )
    return say(b, "after")


@corpus()
def loop_in_arm() -> WorkflowBuilder:
    b = start("loop_in_arm", letters=["a", "b"], go=True)
    b.condition(
        "check_go",
        condition="{{variables.go}} == true",
        if_true=lambda arm: say(
            arm.foreach(
                "each_taken", items="{{variables.letters}}", loop_body=lambda body: say(body, "show", "{{item}}")
            ),
            "taken_last",
        ),
        if_false=lambda arm: say(
            arm.foreach("each_dead", items="{{variables.letters}}", loop_body=lambda body: say(body, "never")),
            "dead_last",
        ),
    )
    return say(b, "after")


@corpus()
def waits() -> WorkflowBuilder:
    b = start("waits")
    b.wait("by_timedelta", timedelta(milliseconds=150))
    b.wait("past_moment", datetime(2020, 1, 1, tzinfo=UTC))
    b.wait("past_naive_moment", datetime(2020, 1, 1, 12, 30))  # noqa: DTZ001 - naive on purpose: it means UTC
    b.wait("by_old_text", "duration:0.1")
    b.wait("by_iso_text", "PT0.05S")
    b.wait("by_short_text", "50ms")
    return say(b, "end", "awake", result_key="end_text")


@corpus()
def policies() -> WorkflowBuilder:
    quick = RetryPolicy(max_retries=2, delay=timedelta(milliseconds=10), backoff_factor=1.5)
    b = start("policies")
    say(b, "begin")
    say(b, "steady", dependencies=["begin"], retry_policy=quick).timeout(timedelta(minutes=1))
    fail(b, "flaky", dependencies=["begin"], retry_policy=quick)
    b.task(
        "slow",
        RUN,
        args=["sleep 5"],
        dependencies=["begin"],
        timeout_policy=TimeoutPolicy(timeout=timedelta(milliseconds=200), kill_on_timeout=True),
    )
    fail(b, "flaky_too", dependencies=["begin"]).retry(1, timedelta(milliseconds=10), 1.0)
    return say(b, "after_steady", dependencies=["steady"])


@corpus("Workflow.default_retry_policy")
def default_retry() -> WorkflowBuilder:
    b = start("default_retry")
    b.workflow.set_default_retry_policy(RetryPolicy(max_retries=1, delay=timedelta(milliseconds=10), backoff_factor=1))
    say(b, "begin")
    fail(b, "by_default", dependencies=["begin"])
    fail(
        b,
        "by_its_own",
        dependencies=["begin"],
        retry_policy=RetryPolicy(max_retries=0, delay=timedelta(milliseconds=10), backoff_factor=1),
    )
    return say(b, "end", dependencies=["begin"])


@corpus("WorkflowBuilder.on_failure")
def callbacks() -> WorkflowBuilder:
    b = start("callbacks")
    say(b, "work", result_key="worked").on_success("note_good").on_failure("note_bad")
    say(b, "note_good", result_key="good_note")
    say(b, "note_bad")
    fail(b, "risky", dependencies=["work"]).on_failure("alert").on_success("praise")
    say(b, "alert", "{{failed_task_id}} broke", result_key="alert_text")
    say(b, "praise")
    return say(b, "after_alert", dependencies=["alert"])


@corpus("WorkflowBuilder.switch")
def switch_cases() -> WorkflowBuilder:
    b = start("switch_cases", tier=2, channel="fax")
    b.switch("route", "{{variables.tier}}", {"1": "basic", "2": "plus"}, default="unknown")
    say(b, "basic", dependencies=["route"])
    say(b, "plus", dependencies=["route"])
    say(b, "plus_extra", dependencies=["plus"])
    say(b, "unknown", dependencies=["route"])
    say(b, "merge", dependencies=["basic", "plus_extra", "unknown"])
    say(b, "after_route", dependencies=["route"])
    b.switch("send", "{{variables.channel}}", {"mail": "send_mail"}, default="send_none", dependencies=["merge"])
    say(b, "send_mail", dependencies=["send"])
    say(b, "send_none", dependencies=["send"])
    b.switch("no_match", "{{variables.channel}}", {"mail": "never"}, dependencies=["merge"])
    say(b, "never", dependencies=["no_match"])
    return say(b, "end", dependencies=["no_match"])


@corpus("WorkflowBuilder.wait_for_event")
def events() -> WorkflowBuilder:
    b = start("events", order="A-17")
    say(b, "begin")
    b.wait_for_event("listen", "order_paid", timeout_seconds=30, dependencies=["begin"])
    b.wait("pause", timedelta(milliseconds=50), dependencies=["begin"])
    b.emit_event(
        "announce", "order_paid", payload={"order": "{{variables.order}}", "amount": 5}, dependencies=["pause"]
    )
    b.wait_for_event("late", "order_paid", dependencies=["announce"])
    return say(
        b,
        "report",
        "{{listen.payload.order}} {{late.payload.amount}}",
        dependencies=["listen", "late"],
        result_key="paid",
    )


@corpus("WorkflowBuilder.join")
def join_modes() -> WorkflowBuilder:
    mode = workflow_dsl.JoinMode
    b = start("join_modes")
    say(b, "begin")
    say(b, "good", dependencies=["begin"])
    fail(b, "bad", dependencies=["begin"])
    b.join("both_done", ["good", "bad"], mode.ALL_OF)
    b.wait("pause", timedelta(milliseconds=100), dependencies=["begin"])
    say(b, "slow", dependencies=["pause"])
    b.join("first", ["good", "slow"], mode.ANY_OF)
    b.join("all_good", ["good", "slow"], mode.ALL_SUCCESS, dependencies=["both_done"])
    b.join("one_good", ["bad", "slow"], mode.ONE_SUCCESS, dependencies=["bad", "slow"])
    return say(b, "end", dependencies=["both_done", "first", "all_good", "one_good"])


@corpus("WorkflowBuilder.join")
def join_failures() -> WorkflowBuilder:
    mode = workflow_dsl.JoinMode
    b = start("join_failures")
    say(b, "begin")
    say(b, "good", dependencies=["begin"])
    fail(b, "bad", dependencies=["begin"])
    b.wait("pause", timedelta(milliseconds=50), dependencies=["begin"])
    fail(b, "late_bad", dependencies=["pause"])
    b.join("strict", ["good", "bad"], mode.ALL_SUCCESS, dependencies=["good", "bad"])
    say(b, "after_strict")
    b.join("none_good", ["bad", "late_bad"], mode.ONE_SUCCESS, dependencies=["bad", "late_bad"])
    return b.join("inherits", ["bad", "late_bad"], mode.ANY_OF, dependencies=["bad", "late_bad"])


@corpus("BaseOperator.trigger_rule")
def trigger_rules() -> WorkflowBuilder:
    rule = workflow_dsl.TriggerRule
    b = start("trigger_rules", never=False)
    say(b, "ok")
    fail(b, "bad", dependencies=["ok"])
    b.condition(
        "choose",
        condition="{{variables.never}} == true",
        if_true=lambda arm: say(arm, "dead"),
        if_false=lambda arm: say(arm, "live"),
        dependencies=["ok"],
    )
    say(b, "all_success_live", dependencies=["ok", "dead"])
    say(b, "all_success_dead", dependencies=["dead"])
    say(b, "all_success_bad", dependencies=["ok", "bad", "dead"])
    say(b, "all_done", dependencies=["ok", "bad", "dead"], trigger_rule=rule.ALL_DONE)
    say(b, "one_success", dependencies=["bad", "live"], trigger_rule=rule.ONE_SUCCESS)
    say(b, "one_success_none", dependencies=["bad", "dead"], trigger_rule=rule.ONE_SUCCESS)
    say(b, "one_done", dependencies=["bad", "dead"], trigger_rule=rule.ONE_DONE)
    say(b, "one_done_none", dependencies=["dead"], trigger_rule=rule.ONE_DONE)
    say(b, "none_failed", dependencies=["ok", "dead"], trigger_rule=rule.NONE_FAILED)
    say(b, "none_failed_bad", dependencies=["ok", "bad"], trigger_rule=rule.NONE_FAILED)
    ends = ["all_success_bad", "all_done", "one_success_none", "none_failed_bad"]
    return say(b, "absorb", dependencies=ends, trigger_rule=rule.ALL_DONE)


@corpus("WorkflowBuilder.activity")
def activities() -> WorkflowBuilder:
    b = start("activities")
    b.activity("long_call", RUN, args=["echo from afar"], result_key="answer")
    return say(b, "end", "{{answer}}", result_key="heard")


@corpus("BaseOperator.circuit_breaker_policy")
def circuit_breaker() -> WorkflowBuilder:
    breaker = workflow_dsl.CircuitBreakerPolicy(failure_threshold=2, isolation_duration=timedelta(seconds=1))
    b = start("circuit_breaker")
    b.activity("guarded_call", RUN, args=["echo fine"], circuit_breaker_policy=breaker, result_key="answer")
    return say(b, "end")


@corpus("BaseOperator.idempotency_key")
def idempotency() -> WorkflowBuilder:
    b = start("idempotency", order="A-17")
    key = "charge-{{variables.order}}"
    b.task("charge", "tools.memory.increment", args=["charges"], idempotency_key=key, result_key="first")
    b.task("charge_again", "tools.memory.increment", args=["charges"], idempotency_key=key, result_key="second")
    b.task("other", "tools.memory.increment", args=["charges"], idempotency_key=f"{key}-other", result_key="third")
    return say(b, "end")


@corpus("WorkflowBuilder.precondition")
def guards() -> WorkflowBuilder:
    b = start("guards", amount=50, code="AB-12")
    say(b, "begin")
    say(b, "checked", "{{variables.amount}}", dependencies=["begin"], result_key="result").precondition(
        "{{variables.amount}}", "in_range", [1, 100]
    ).precondition("{{variables.code}}", "matches_regex", "[A-Z]{2}-[0-9]+").postcondition("{{result}}", "equals", "50")
    say(b, "refused", dependencies=["begin"]).precondition(
        "{{variables.amount}}", "in_range", [100, 200], "the amount is out of bounds"
    )
    say(b, "rejected", dependencies=["begin"], result_key="made").postcondition(
        "{{made}}", "in_set", ["gold", "silver"], "that is no metal"
    )
    return say(b, "after_checked", dependencies=["checked"])


@corpus("WorkflowBuilder.multi_choice")
def multi_choice() -> WorkflowBuilder:
    b = start("multi_choice", amount=500)
    b.multi_choice(
        "inform",
        branches={
            "audit": ("{{variables.amount}} > 100", lambda p: say(say(p, "audit_log"), "audit_mail")),
            "phone": ("{{variables.amount}} > 1000", lambda p: say(say(p, "phone_call"), "phone_note")),
            "mail": ("true", lambda p: say(p, "send_mail")),
        },
        minimum_branches=2,
    )
    return say(b, "after")


@corpus("WorkflowBuilder.multi_choice")
def multi_choice_too_few() -> WorkflowBuilder:
    b = start("multi_choice_too_few", amount=50)
    b.multi_choice(
        "inform",
        branches={
            "audit": ("{{variables.amount}} > 100", lambda p: say(p, "audit_log")),
            "mail": ("{{variables.amount}} > 10", lambda p: say(p, "send_mail")),
        },
        minimum_branches=2,
    )
    return say(b, "after")


@corpus("WorkflowBuilder.reflexive")
def reflexive() -> WorkflowBuilder:
    """The generator counts its drafts; the verifier looks up what was prepared for that draft: no, then yes."""
    b = start("reflexive")
    b.task("reject_first", "tools.memory.set", args=["draft-1", False])
    b.task("accept_second", "tools.memory.set", args=["draft-2", True])
    b.reflexive(
        "draft",
        generator="tools.memory.increment",
        generator_kwargs={"key": "drafts"},
        verifier="tools.memory.get",
        verifier_kwargs={"key": "draft-{{output.new_value}}"},
        max_turns=3,
    )
    return say(b, "end", "{{memory.drafts}}", result_key="drafts")


@corpus("WorkflowBuilder.reflexive")
def reflexive_rejected() -> WorkflowBuilder:
    b = start("reflexive_rejected")
    b.task("reject_all", "tools.memory.set", args=["drafts-verdict", False])
    b.reflexive(
        "draft",
        generator="tools.memory.increment",
        generator_kwargs={"key": "drafts"},
        verifier="tools.memory.get",
        verifier_kwargs={"key": "{{output.key}}-verdict"},
        max_turns=2,
    )
    return say(b, "end")


@corpus("WorkflowBuilder.terminate")
def early_exit() -> WorkflowBuilder:
    b = start("early_exit", halt=True)
    say(b, "begin")
    b.condition(
        "check_halt",
        condition="{{variables.halt}} == true",
        if_true=lambda arm: say(
            arm.terminate("stop", status="completed", result={"code": 7}, reason="nothing left to do"), "after_stop"
        ),
        if_false=lambda arm: say(arm, "go_on"),
    )
    return say(b, "after")


@corpus("WorkflowBuilder.terminate")
def early_failure() -> WorkflowBuilder:
    b = start("early_failure")
    say(b, "begin")
    b.terminate("stop", status="failed", reason="the vault is empty")
    return say(b, "after")


@corpus("WorkflowBuilder.parallel_with_join")
def fork_join() -> WorkflowBuilder:
    b = start("fork_join")
    b.parallel_with_join(
        "split",
        branches={
            "left": lambda p: say(p, "left_say", "left", result_key="left_out"),
            "right": lambda p: say(p, "right_say", "right", result_key="right_out"),
        },
        timeout_seconds=30,
        timeout=20,
    )
    return say(b, "after", "{{split_results.left.status}}", result_key="left_status")


@corpus("WorkflowBuilder.child_workflows")
def child_runs() -> WorkflowBuilder:
    b = start("child_runs")
    b.child_workflow("one_child", "linear_chain", inputs={"who": "child"}, result_key="one")
    b.child_workflows(
        "two_children",
        {
            "chain": {"workflow_name": "linear_chain", "inputs": {"who": "second child"}},
            "count": {"workflow_name": "while_counter", "inputs": {}},
        },
        result_key="two",
        timeout_seconds=30,
    )
    return say(b, "end", "{{one.one_child.status}}", result_key="child_status")


@corpus("WorkflowBuilder.child_workflows")
def child_failure() -> WorkflowBuilder:
    b = start("child_failure")
    b.child_workflow("bad_child", "parallel_failure")
    return say(b, "after")


@corpus("Workflow.schedule")
def scheduled_report() -> WorkflowBuilder:
    b = start("scheduled_report")
    b.workflow.set_schedule("30 2 * * 1-5").set_start_date(datetime(2024, 1, 1, tzinfo=UTC)).set_catchup(True)
    b.workflow.set_max_active_runs(3).add_tags("nightly", "bank").description = "Runs at night, or by hand."
    b.task("write_report", LOG, args=["report"], description="Write the report: 100 % of it")
    return b


@corpus("Workflow.deadline_seconds")
def with_deadline() -> WorkflowBuilder:
    b = WorkflowBuilder("with_deadline", version="3.1.4-rc.1", deadline_seconds=60, deadline_action="cancel")
    say(b, "begin")
    return say(b, "end")


@corpus()
def tricky_checksum_validator() -> WorkflowBuilder:
    """A name, and a branch name, that the newer releases refuse to build; the engine still has to load them."""
    b = start("Tricky Checksum Validator", base=10)
    b.task("set_multiplier", "tools.memory.set", args=["multiplier", 7], result_key="set_ok")
    b.parallel(
        "Both Sums",
        branches={
            "Alpha Branch": lambda p: say(p, "Alpha-1", "{{variables.base}}", result_key="alpha"),
            "Beta.Branch": lambda p: say(p, "Beta-1", "{{memory.multiplier}}", result_key="beta"),
        },
    )
    return say(b, "final", "{{alpha}}-{{beta}}", result_key="checksum")


def main() -> None:
    target = Path(__file__).parent / (sys.argv[1] if len(sys.argv) > 1 else version("highway-dsl"))
    target.mkdir(exist_ok=True)
    for name, (needs, build) in CORPUS.items():
        if not all(is_there(need) for need in needs):
            continue
        try:
            workflow = build().build()
        except ValueError as error:
            if "Workflow name" not in str(error):
                raise
            print(f"{name}: this release refuses the name", file=sys.stderr)
            continue
        (target / f"{name}.yaml").write_text(workflow.to_yaml(), encoding="utf-8")
        if name in AS_JSON_TOO:
            (target / f"{name}.json").write_text(workflow.to_json() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
