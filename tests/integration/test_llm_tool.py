"""``tools.llm.call`` with a service of either protocol: what is sent, what comes back, what stays secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from highway_core.errors import TaskError, TaskTimeoutError
from highway_core.tools import llm
from tests.hostile_server import Server, running_server
from tests.tool_context import context_with, inside, settings_with

KEY = "sk-very-secret"
OPENAI = {
    "model": "small-2",
    "choices": [{"message": {"role": "assistant", "content": "Four."}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
ANTHROPIC = {
    "model": "large-1",
    "content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": "Fo"}, {"type": "text", "text": "ur."}],
    "usage": {"input_tokens": 9, "output_tokens": 2},
}


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


def ask(server: Server, endpoint: str = "", **arguments: Any) -> dict[str, Any]:
    # The operator's own service may be a neighbour even where tasks may not ask neighbours.
    settings = settings_with(llm_endpoint=server.url(endpoint), llm_api_key=KEY, http_block_private=True)
    with inside(context_with(settings)):
        return llm.call(**({"prompt": "2 + 2?", "model": "small"} | arguments))


def answer(server: Server, path: str, content: object, status: str = "200 OK") -> None:
    server.answers(path, json.dumps(content).encode(), status=status, headers="Content-Type: application/json\r\n")


@pytest.mark.parametrize("endpoint", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_an_openai_compatible_service_is_asked_wherever_its_endpoint_ends(server: Server, endpoint: str) -> None:
    answer(server, "/v1/chat/completions", OPENAI)
    result = ask(server, endpoint, system="Be brief.", temperature=0.2)
    assert result == {"text": "Four.", "model": "small-2", "usage": {"input_tokens": 9, "output_tokens": 2}}
    sent = server.received[0]
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(sent.body) == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
        "max_tokens": 1024,
        "temperature": 0.2,
    }


def test_an_anthropic_service_is_asked_in_its_own_way(server: Server) -> None:
    answer(server, "/v1/messages", ANTHROPIC)
    result = ask(server, provider="anthropic", system="Be brief.", max_tokens=50)
    assert result == {"text": "Four.", "model": "large-1", "usage": {"input_tokens": 9, "output_tokens": 2}}
    sent = server.received[0]
    assert (sent.headers["x-api-key"], sent.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert json.loads(sent.body) == {
        "model": "small",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "max_tokens": 50,
    }


def test_the_endpoint_tells_the_provider(server: Server) -> None:
    answer(server, "/api/messages", ANTHROPIC)
    assert ask(server, "/api/messages")["text"] == "Four."


def test_without_an_endpoint_the_settings_are_named() -> None:
    with inside(context_with()), pytest.raises(TaskError, match="set HIGHWAY_LLM_ENDPOINT"):
        llm.call("hello", "small")


def test_an_unknown_provider_is_refused_before_anything_is_sent(server: Server) -> None:
    with pytest.raises(TaskError, match=r"openai .* or anthropic, not 'acme'"):
        ask(server, provider="acme")
    assert server.received == []


def test_a_refusal_is_told_in_the_services_words_without_the_key(server: Server) -> None:
    answer(server, "/v1/chat/completions", {"error": {"message": f"Wrong key {KEY}"}}, "401 Unauthorized")
    with pytest.raises(TaskError, match=r"answered 401 Unauthorized: .*Wrong key") as failed:
        ask(server)
    assert KEY not in str(failed.value)


def test_the_key_does_not_follow_a_redirect(server: Server) -> None:
    server.answers("/v1/chat/completions", status="307 Moved", headers="Location: /elsewhere\r\n")
    with pytest.raises(TaskError, match="answered 307"):
        ask(server)
    assert len(server.received) == 1


@pytest.mark.parametrize("content", [[], {}, "text", {"choices": []}, {"choices": [{"message": None}]}, 7, ANTHROPIC])
def test_an_answer_in_another_form_is_an_error_that_doubts_the_provider(server: Server, content: object) -> None:
    answer(server, "/v1/chat/completions", content)
    with pytest.raises(TaskError, match="did not answer as openai does"):
        ask(server)


def test_a_service_that_thinks_too_long_is_left(server: Server) -> None:
    server.on("/v1/chat/completions", lambda _, connection: server.stopping.wait(60) and None)
    with pytest.raises(TaskTimeoutError, match=r"within 0.2 s"):
        ask(server, timeout=0.2)


def test_a_key_that_no_header_can_hold_is_not_shown(server: Server) -> None:
    settings = settings_with(llm_endpoint=server.url(), llm_api_key=f"{KEY}\n")
    with inside(context_with(settings)), pytest.raises(TaskError) as failed:
        llm.call("hello", "small")
    assert KEY not in str(failed.value)
