"""What is wrong with a request or a document is told in sentences that name the field, what was given and expected."""

from __future__ import annotations

import inspect
from itertools import chain
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel

from highway_core.api import approval_models, run_models
from highway_core.api.bodies import Query, Strict, read_body, read_query
from highway_core.api.problems import ApiError
from highway_core.engine.loader import Source, compile_document
from highway_core.errors import DocumentError

MODELS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": model
    for module in (run_models, approval_models)
    for name, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, (Strict, Query)) and model.__module__ == module.__name__
}
JUNK: list[Any] = [None, True, 1.5, -1, 10**30, "", "x\u202e\x1b", "x" * 20_000, [], [[1]], {}, {"a": 1}]


def refused(model: type[BaseModel], body: Any = None, query: str | None = None) -> ApiError:
    """What is said of a request."""
    with Flask("test").test_request_context("/", json=body, query_string=query, method="POST"):
        with pytest.raises(ApiError) as refusal:
            read_body(model) if query is None else read_query(model)
        return refusal.value


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (run_models.StartAny, {"priority": "high"}, "'priority' must be a whole number, not 'high'."),
        (run_models.StartAny, {"priority": True}, "'priority' must be a whole number, not true."),
        (run_models.StartAny, {"priority": 2_000_000}, "'priority' must be at most 1,000,000, not 2000000."),
        (run_models.StartAny, {"queue": None}, "'queue' must be a text, not null."),
        (run_models.StartAny, {"document": 7}, "'document' must be a mapping or a text, not 7."),
        (run_models.StartAny, {"nmae": "x"}, "'nmae' is not known (did you mean 'name'?)."),
        (run_models.CancelBody, {"a": 1}, "'a' is not known (it takes reason)."),
        (
            run_models.CancelBody,
            {"reason": "x" * 3_000},
            "'reason' must be a text of at most 2,000 characters, not of 3,000.",
        ),
        (
            run_models.StartWire,
            {"inputs": []},
            "'workflow_definition' is missing; 'inputs' must be a mapping, not a list.",
        ),
        (run_models.ItemsBody, {"items": []}, "'items' must be a list of 1 or more, not of 0."),
        (run_models.Nothing, dict.fromkeys("abcdefg"), "and 2 more."),
    ],
)
def test_a_body_is_refused_in_sentences(model: type[BaseModel], body: Any, expected: str) -> None:
    error = refused(model, body)
    assert (error.status, error.code) == (422, "invalid_body")
    assert error.detail.endswith(expected)


@pytest.mark.parametrize(
    ("model", "query", "expected"),
    [
        (run_models.Wait, "wait=nan", "'wait' must be a finite number, not 'nan'."),
        (run_models.StatusQuery, "task_limit=1.5", "'task_limit' must be a whole number, not '1.5'."),
        (run_models.ListQuery, "since=soon", "'since' must be a moment such as 2030-01-31T09:00:00Z, not 'soon'."),
        (run_models.ListQuery, "status=odd", "completed', 'failed' or 'cancelled', not 'odd'."),
    ],
)
def test_a_query_is_refused_in_sentences(model: type[BaseModel], query: str, expected: str) -> None:
    error = refused(model, query=query)
    assert (error.status, error.code) == (400, "invalid_query")
    assert error.detail.endswith(expected)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_nobody_hears_the_words_of_the_library(name: str) -> None:
    model = MODELS[name]
    for field, junk in chain.from_iterable([(field, one) for one in JUNK] for field in (*model.model_fields, "other")):
        data = {field: junk}
        with Flask("test").test_request_context("/", json=data, method="POST"):
            try:
                read_body(model)
            except ApiError as error:
                told = f"{error.detail} {error.more['problems']}"
                assert not any(word in told for word in ("Input should", "valid ", "Extra inputs", "Field required")), (
                    told
                )
                assert len(error.detail) < 1_000
                assert error.detail.isprintable()


def test_a_problem_says_where_it_is() -> None:
    (problem,) = refused(run_models.CancelBody, {"resaon": 1}).more["problems"]
    assert problem == {
        "place": "resaon",
        "message": "'resaon' is not known",
        "hint": "did you mean 'reason'?",
        "position": "",
    }


@pytest.mark.parametrize(
    ("task", "place", "message"),
    [
        ({"function": 5}, "tasks.a.function", "must be a text, not 5"),
        ({"dependencies": "b"}, "tasks.a.dependencies", "must be a list, not 'b'"),
        ({"retry_policy": {"max_retries": -1}}, "tasks.a.retry_policy.max_retries", "must be at least 0, not -1"),
        (
            {"retry_policy": {"max_retries": "many"}},
            "tasks.a.retry_policy.max_retries",
            "must be a whole number, not 'many'",
        ),
        ({"timeout_policy": {}}, "tasks.a.timeout_policy", "missing field 'timeout'"),
        (
            {"preconditions": [{"variable": "x", "check": "in_range"}]},
            "tasks.a.preconditions[0]",
            "in_range needs value: [min, max]",
        ),
    ],
)
def test_a_document_is_refused_in_the_same_words(task: dict[str, Any], place: str, message: str) -> None:
    document = {"name": "n", "tasks": {"a": {"operator_type": "task", "function": "f", **task}}}
    with pytest.raises(DocumentError) as refusal:
        compile_document(Source(document, "n"))
    assert (place, message) in [(one.place, one.message) for one in refusal.value.problems]
