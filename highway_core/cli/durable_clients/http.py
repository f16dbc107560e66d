"""Requests to an API somewhere."""

from __future__ import annotations

import requests
import requests.auth

from highway_core.cli.durable_clients.answers import TIMEOUT, UNREACHABLE, RefusedError, Request
from highway_core.errors import ConfigError

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0


class HttpTransport:
    """One API; ``key`` is shown to it and to no other: redirects are not followed."""

    def __init__(self, endpoint: str, key: str | None) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"'{endpoint}' is not the address of an API; it begins with http:// or https://.")
        self._endpoint = endpoint.rstrip("/")
        self._session = requests.Session()
        self._session.auth = _Bearer(key)

    def send(self, request: Request) -> tuple[int, bytes]:
        try:
            answer = self._session.request(
                request.method,
                self._endpoint + request.path,
                params=dict(request.query),
                json=request.body,
                headers={"Accept": "application/json", **(request.headers or {})},
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS + request.patience),
                allow_redirects=False,
            )
        except requests.Timeout:
            raise RefusedError(0, TIMEOUT, f"The API at {self._endpoint} does not answer in time.") from None
        except requests.RequestException as error:
            raise RefusedError(
                0,
                UNREACHABLE,
                f"There is no API at {self._endpoint} ({_reason(error)}). Start one with 'highway durable start-api',"
                " or correct --api or HIGHWAY_API_ENDPOINT.",
            ) from None
        return answer.status_code, answer.content

    def close(self) -> None:
        self._session.close()


class _Bearer(requests.auth.AuthBase):
    """The key, or nothing; without it requests would look for a password in ``~/.netrc``."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _reason(error: requests.RequestException) -> str:
    """The innermost cause: what wraps it repeats the whole request."""
    cause: BaseException = error
    while True:
        inner = cause.__cause__ or cause.__context__
        if inner is None:
            break
        cause = inner
    return " ".join(str(cause).split())[:200]
