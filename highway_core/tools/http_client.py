"""One HTTP exchange as tools make them: bounded in time, size, redirects and reach, and stopped with its attempt."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from highway_core.config import Settings
from highway_core.errors import TaskError
from highway_core.tools.context import current_context, tool_settings
from highway_core.tools.http_connection import Watch, WatchedAdapter

MAX_REDIRECTS: Final = 3
_CHUNK = 64 * 1024
_LONGEST: Final = 1e8
"""Seconds; more than this no timer takes."""
_SHOWN = 500
_METHOD = re.compile(r"[A-Z]+")
_KEPT_ELSEWHERE = frozenset({"accept", "accept-encoding", "content-type", "content-length", "user-agent"})
"""The headers that follow a redirect to another server; any other may hold a key."""
_OF_A_BODY = ("Content-Type", "Content-Length", "Transfer-Encoding")


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask. ``timeout`` is for the whole exchange, in seconds; ``trusted``: the operator chose the address."""

    method: str
    url: str
    headers: Mapping[str, Any] | None = None
    params: Mapping[str, Any] | None = None
    json: Any = None
    data: Any = None
    timeout: float = 30
    follow_redirects: bool = True
    trusted: bool = False

    @property
    def name(self) -> str:
        """How errors call it: without user, password and query, which may be secret."""
        return f"{self.method} {shown_url(self.url)}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read to its end."""

    status: int
    reason: str
    headers: dict[str, str]
    url: str
    content_type: str
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text that can be stored; what is no text in it is replaced."""
        return (self._decoded() or self.body.decode("utf-8", "replace")).replace("\0", "\ufffd")

    @property
    def is_text(self) -> bool:
        """Whether :attr:`text` holds all there is."""
        decoded = self._decoded()
        return decoded is not None and "\0" not in decoded

    @property
    def looks_like_json(self) -> bool:
        return "json" in self.content_type.lower() or self.body.lstrip()[:1] in {b"{", b"["}

    def _decoded(self) -> str | None:
        """In the character set that the answer names, else UTF-8."""
        charset = re.search(r"charset=[\"']?([\w.:-]+)", self.content_type, re.IGNORECASE)
        try:
            return self.body.decode(charset[1] if charset else "utf-8")
        except (LookupError, UnicodeError):
            return None

    def parsed(self) -> Any:
        """The body as JSON; ValueError if it is none, or none that can be stored (NaN, endless nesting)."""
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def problem(self) -> str:
        """``404 Not Found: <the beginning of the body>``."""
        said = self.text.strip()[:_SHOWN]
        return f"{self.status} {self.reason}".strip() + (f": {said}" if said else "")


def exchange(call: Call) -> Answer:
    """Carry ``call`` out for the attempt of this thread.

    Any status is an answer. TaskError if there is none: nobody there, a forbidden address, too many redirects, a body
    beyond HIGHWAY_MAX_RESPONSE_BYTES or cut off. TaskTimeoutError after ``call.timeout``, TaskStoppedError if stopped.
    """
    context, settings = current_context(), tool_settings()
    watch = Watch(
        call.name,
        timeout=_seconds(call),
        stop=context.stop if context else None,
        block_private=settings.http_block_private and not call.trusted,
    )
    request = _prepared(call)
    with watch.active(), contextlib.closing(WatchedAdapter()) as adapter:
        try:
            return _Exchange(watch, adapter, settings).run(request, MAX_REDIRECTS if call.follow_redirects else None)
        except (requests.RequestException, HTTPError, OSError) as error:
            watch.check()
            # Without the cause: its text has the whole URL, and keys travel in queries.
            raise TaskError(f"{call.name}: {_reason(error)}.") from None


def shown_url(url: object) -> str:
    """``url`` without what may be secret in it."""
    if not isinstance(url, str):
        return f"a {type(url).__name__}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")


def check_scheme(url: object, name: str) -> None:
    """TaskError, which ``name`` begins, unless ``url`` is one of HTTP."""
    if not isinstance(url, str) or not url.strip().lower().startswith(("http://", "https://")):
        raise TaskError(f"{name}: only http:// and https:// addresses are allowed.")


class _Exchange:
    """A request and the redirects that follow from it, over one adapter."""

    def __init__(self, watch: Watch, adapter: WatchedAdapter, settings: Settings) -> None:
        self._watch = watch
        self._adapter = adapter
        self._limit = settings.max_response_bytes
        # The proxies of the environment are ignored on purpose, its certificates are not.
        self._verify: bool | str = (
            settings.environ.get("REQUESTS_CA_BUNDLE") or settings.environ.get("SSL_CERT_FILE") or True
        )

    def run(self, request: requests.PreparedRequest, redirects: int | None) -> Answer:
        """``redirects`` is how many may still be followed; None: a redirect is the answer."""
        with contextlib.closing(self._send(request)) as response:
            target = response.headers.get("location") if response.is_redirect else None
            if target is None or redirects is None:
                return self._read(response)
        if not redirects:
            raise TaskError(f"{self._watch.name}: redirected more than {MAX_REDIRECTS} times.")
        return self.run(self._redirected(request, response, target), redirects - 1)

    def _send(self, request: requests.PreparedRequest) -> requests.Response:
        self._watch.check()
        # Not through a session: that reads the body of a redirect to its end, however long it is.
        return self._adapter.send(request, stream=True, timeout=self._watch.remaining(), verify=self._verify)

    def _read(self, response: requests.Response) -> Answer:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(_CHUNK):
            size += len(chunk)
            if size > self._limit:
                raise TaskError(
                    f"{self._watch.name}: the answer is larger than {self._limit:,} bytes (HIGHWAY_MAX_RESPONSE_BYTES)."
                )
            chunks.append(chunk)
        self._watch.check()
        return Answer(
            status=response.status_code,
            reason=response.reason or "",
            headers=dict(response.headers),
            url=str(response.url),
            content_type=response.headers.get("content-type", ""),
            body=b"".join(chunks),
        )

    def _redirected(
        self, request: requests.PreparedRequest, response: requests.Response, target: str
    ) -> requests.PreparedRequest:
        with contextlib.suppress(UnicodeError):
            target = target.encode("latin-1").decode("utf-8")  # headers are read as Latin-1, and written as UTF-8
        following = request.copy()
        try:
            url = urljoin(str(request.url), target)
            check_scheme(url, f"{self._watch.name}: redirected to {shown_url(url)}")
            following.prepare_url(url, None)
            elsewhere = _origin(str(following.url)) != _origin(str(request.url))
        except ValueError as error:
            raise TaskError(f"{self._watch.name}: redirected to an address that cannot be read.") from error
        if elsewhere:
            for name in [name for name in following.headers if name.lower() not in _KEPT_ELSEWHERE]:
                del following.headers[name]
        if response.status_code == 303 or (response.status_code in {301, 302} and request.method == "POST"):
            following.method = "HEAD" if request.method == "HEAD" else "GET"
            following.body = None
            for name in _OF_A_BODY:
                following.headers.pop(name, None)
        return following


def _prepared(call: Call) -> requests.PreparedRequest:
    method = call.method.upper()
    if not _METHOD.fullmatch(method):
        raise TaskError(f"'{call.method}' is no HTTP method.")
    if call.json is not None and call.data is not None:
        raise TaskError(f"{call.name}: give the body as json or as data, not as both.")
    check_scheme(call.url, call.name)
    data = call.data.encode() if isinstance(call.data, str) else call.data
    headers = {"User-Agent": "highway-core"} | {str(name): str(value) for name, value in (call.headers or {}).items()}
    request = requests.Request(method, call.url.strip(), headers=headers, params=call.params, json=call.json, data=data)
    try:
        prepared = request.prepare()
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError) as error:
        # Its text repeats the URL or the header.
        raise TaskError(f"{call.name}: the request cannot be made ({type(error).__name__}).") from None
    except (requests.RequestException, ValueError, TypeError) as error:
        raise TaskError(f"{call.name}: the request cannot be made: {_reason(error)}.") from error
    prepared.headers.setdefault("Accept", "*/*")
    prepared.headers.setdefault("Accept-Encoding", "gzip, deflate")
    return prepared


def _seconds(call: Call) -> float:
    timeout = call.timeout
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise TaskError(f"{call.name}: timeout must be a number of seconds above zero, not {timeout!r}.")
    return min(timeout, _LONGEST) if math.isfinite(timeout) else _LONGEST


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _reason(error: BaseException) -> str:
    """What went wrong, from under the layers that repeat the URL."""
    inner: object = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((part for part in reversed(error.args) if isinstance(part, BaseException)), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
