"""``tools.llm.call``: ask a language model behind an OpenAI-compatible or Anthropic HTTP endpoint of the settings."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from highway_core.errors import TaskError
from highway_core.tools.context import tool_settings
from highway_core.tools.decorators import tool
from highway_core.tools.http_client import Answer, Call, exchange, shown_url

Provider = Literal["openai", "anthropic"]
_ANTHROPIC_VERSION = "2023-06-01"
_PATHS: dict[Provider, str] = {"openai": "/chat/completions", "anthropic": "/messages"}
_VERSIONED = re.compile(r"/v\d+[a-z0-9]*$")


@tool("tools.llm.call", stoppable=True)
def call(  # noqa: PLR0913 - what the services take; documents name them
    prompt: str,
    model: str,
    provider: str | None = None,
    system: str | None = None,
    max_tokens: int | None = 1024,
    temperature: float | None = None,
    *,
    timeout: float = 60,
) -> dict[str, Any]:
    """``{text, model, usage: {input_tokens, output_tokens}}`` of one answer to ``prompt``.

    ``provider`` is ``openai`` (also every service that speaks its protocol) or ``anthropic``; without it the endpoint
    tells. HIGHWAY_LLM_ENDPOINT and HIGHWAY_LLM_API_KEY say where and with which key.
    """
    settings = tool_settings()
    endpoint = settings.llm_endpoint
    if endpoint is None:
        raise TaskError(
            "tools.llm.call has no service to ask: set HIGHWAY_LLM_ENDPOINT (for instance https://api.openai.com/v1 or "
            "https://api.anthropic.com) and HIGHWAY_LLM_API_KEY."
        )
    chosen = _provider(provider, endpoint)
    request: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if max_tokens is not None:
        request[_limit_name(endpoint)] = max_tokens
    if temperature is not None:
        request["temperature"] = temperature
    if system is not None and chosen == "anthropic":
        request["system"] = system
    elif system is not None:
        request["messages"].insert(0, {"role": "system", "content": system})
    answer = exchange(
        Call(
            "POST",
            _address(endpoint, chosen),
            headers=_key_headers(chosen, settings.llm_api_key),
            json=request,
            timeout=timeout,
            follow_redirects=False,  # the key is for this service
            trusted=True,
        )
    )
    return _result(answer, chosen, model, settings.llm_api_key)


def _provider(provider: str | None, endpoint: str) -> Provider:
    if provider in {"openai", "anthropic"}:
        return "anthropic" if provider == "anthropic" else "openai"
    if provider is not None:
        raise TaskError(f"provider must be openai (or what speaks its protocol) or anthropic, not {provider!r}.")
    host = urlsplit(endpoint).hostname or ""
    return "anthropic" if host.endswith("anthropic.com") or endpoint.endswith("/messages") else "openai"


def _address(endpoint: str, provider: Provider) -> str:
    """The endpoint may be written with its path, up to its version, or as the host alone."""
    base, path = endpoint.rstrip("/"), _PATHS[provider]
    if base.endswith(path):
        return base
    return base + path if _VERSIONED.search(base) else f"{base}/v1{path}"


def _limit_name(endpoint: str) -> str:
    # OpenAI's own newer models refuse the name that all others know.
    return "max_completion_tokens" if urlsplit(endpoint).hostname == "api.openai.com" else "max_tokens"


def _key_headers(provider: Provider, key: str | None) -> dict[str, str]:
    headers = {"anthropic-version": _ANTHROPIC_VERSION} if provider == "anthropic" else {}
    if key:
        headers |= {"x-api-key": key} if provider == "anthropic" else {"Authorization": f"Bearer {key}"}
    return headers


def _result(answer: Answer, provider: Provider, model: str, key: str | None) -> dict[str, Any]:
    place = f"The language model service {shown_url(answer.url)}"
    if not 200 <= answer.status < 300:
        said = answer.problem().replace(key, "***") if key else answer.problem()
        raise TaskError(f"{place} answered {said}")
    try:
        content = answer.parsed()
        text = _anthropic_text(content) if provider == "anthropic" else _openai_text(content)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TaskError(f"{place} did not answer as {provider} does; is the provider right?") from error
    return {"text": text, "model": str(content.get("model") or model), "usage": _usage(content.get("usage"))}


def _openai_text(content: dict[str, Any]) -> str:
    said = content["choices"][0]["message"]["content"]
    return said if isinstance(said, str) else "".join(part.get("text", "") for part in said or [])


def _anthropic_text(content: dict[str, Any]) -> str:
    return "".join(block["text"] for block in content["content"] if block.get("type") == "text")


def _usage(usage: Any) -> dict[str, int]:
    """Both services count the same things under different names."""
    counts = usage if isinstance(usage, dict) else {}
    read = counts.get("input_tokens", counts.get("prompt_tokens")) or 0
    written = counts.get("output_tokens", counts.get("completion_tokens")) or 0
    return {"input_tokens": int(read), "output_tokens": int(written)}
