"""``tools.fetch.*`` and ``tools.http.request`` against a server that behaves: what is sent, what comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from highway_core.errors import TaskError
from highway_core.tools import fetch, http
from tests.hostile_server import Server, reply, running_server
from tests.tool_context import context_with, inside

JSON = "Content-Type: application/json\r\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running, inside(context_with()):
        yield running


def test_fetch_gives_status_parsed_json_and_headers(server: Server) -> None:
    url = server.answers("/todo", b'{"id": 1, "tags": ["a"]}', headers=f"{JSON}X-Rate: 7\r\n")
    answer = fetch.get(url, {"X-Token": "abc"})
    assert (answer["status"], answer["data"]) == (200, {"id": 1, "tags": ["a"]})
    assert answer["headers"]["X-Rate"] == "7"
    assert server.received[0].headers["x-token"] == "abc"
    assert json.loads(json.dumps(answer)) == answer


def test_fetch_gives_the_text_of_an_answer_that_is_no_json_with_its_real_status(server: Server) -> None:
    url = server.answers("/page", "<h1>Grüße</h1>".encode(), headers="Content-Type: text/html; charset=utf-8\r\n")
    assert fetch.get(url) == {"status": 200, "data": "<h1>Grüße</h1>", "headers": fetch.get(url)["headers"]}


def test_fetch_gives_the_status_of_a_refusal_and_what_the_server_said(server: Server) -> None:
    answer = fetch.get(server.answers("/gone", b"no such todo", status="410 Gone", headers="X-A: b\r\n"))
    assert (answer["status"], answer["headers"]) == (410, {})
    assert "410 Gone: no such todo" in answer["data"]


def test_fetch_gives_500_when_nobody_answers() -> None:
    answer = fetch.get("http://127.0.0.1:9/")
    assert (answer["status"], answer["headers"]) == (500, {})
    assert "GET http://127.0.0.1:9/: cannot connect to 127.0.0.1:9: connection refused" in answer["data"]


def test_fetch_gives_500_for_a_name_that_no_host_has() -> None:
    answer = fetch.get("http://no-such-host.invalid/")
    assert answer["status"] == 500
    assert "there is no host called 'no-such-host.invalid'" in answer["data"]


def test_fetch_posts_its_data_as_json(server: Server) -> None:
    url = server.answers("/orders", b"{}")
    assert fetch.post(url, {"name": "Zoë", "n": [1, None]}, {"X-A": "b"})["status"] == 200
    sent = server.received[0]
    assert (sent.method, json.loads(sent.body)) == ("POST", {"name": "Zoë", "n": [1, None]})
    assert sent.headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [b'{"a": NaN}', b"[" * 100_000, b'{"a": 1', b""])
def test_fetch_gives_as_text_what_is_not_quite_json(server: Server, body: bytes) -> None:
    answer = fetch.get(server.answers("/odd", body, headers=JSON))
    assert (answer["status"], answer["data"]) == (200, body.decode())


def test_a_request_sends_method_parameters_headers_and_json(server: Server) -> None:
    url = server.answers("/things", b'{"ok": true}', headers=JSON)
    answer = http.request(url, "PATCH", params={"q": "a b", "n": 2}, headers={"X-Count": 3}, json={"a": [1]})  # type: ignore[dict-item]
    assert (answer["status_code"], answer["json"], "text" in answer) == (200, {"ok": True}, False)
    sent = server.received[0]
    assert (sent.method, sent.target, sent.body) == ("PATCH", "/things?q=a+b&n=2", b'{"a": [1]}')
    assert sent.headers["x-count"] == "3"


def test_a_request_sends_text_as_it_is_and_a_mapping_as_a_form(server: Server) -> None:
    url = server.answers("/in")
    http.request(url, "POST", data="grüße")
    http.request(url, "POST", data={"a": "b c"})
    assert [sent.body for sent in server.received] == ["grüße".encode(), b"a=b+c"]
    assert server.received[1].headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_request_that_is_refused_fails_with_status_and_words(server: Server) -> None:
    url = server.answers("/things", b'{"detail": "name is missing"}', status="422 Unprocessable", headers=JSON)
    with pytest.raises(TaskError, match=r"422 Unprocessable: \{\"detail\": \"name is missing\"\}"):
        http.request(f"{url}?token=hidden", "POST")


def test_a_request_may_ask_for_refusals_as_results(server: Server) -> None:
    url = server.answers("/things", b"broken", status="503 Service Unavailable")
    answer = http.request(url, fail_on_error=False)
    assert (answer["status_code"], answer["text"]) == (503, "broken")


def test_a_text_is_read_in_the_character_set_that_it_names(server: Server) -> None:
    url = server.answers("/old", "Grüße".encode("latin-1"), headers="Content-Type: text/plain; charset=ISO-8859-1\r\n")
    assert http.request(url)["text"] == "Grüße"


def test_a_number_that_is_no_json_by_its_type_stays_text(server: Server) -> None:
    assert http.request(server.answers("/n", b"42", headers="Content-Type: text/plain\r\n"))["text"] == "42"
    assert http.request(server.answers("/j", b"42", headers=JSON))["json"] == 42


def test_a_body_that_is_no_text_comes_back_whole(server: Server) -> None:
    body = bytes(range(256))
    answer = http.request(server.answers("/image", body, headers="Content-Type: image/png\r\n"))
    assert base64.b64decode(answer["content_base64"]) == body
    assert "\0" not in answer["text"]


def test_three_redirects_are_followed_and_the_place_is_told(server: Server) -> None:
    for number in range(3):
        server.answers(f"/{number}", b"x" * 100, status="302 Found", headers=f"Location: /{number + 1}\r\n")
    server.answers("/3", b"here")
    answer = http.request(server.url("/0"))
    assert (answer["text"], answer["url"]) == ("here", server.url("/3"))


def test_a_redirect_is_the_answer_when_redirects_are_not_wanted(server: Server) -> None:
    url = server.answers("/a", status="302 Found", headers="Location: /b\r\n")
    answer = http.request(url, follow_redirects=False)
    assert (answer["status_code"], answer["headers"]["Location"], len(server.received)) == (302, "/b", 1)


@pytest.mark.parametrize(
    ("status", "method", "body"), [(302, "GET", b""), (303, "GET", b""), (307, "POST", b'{"a": 1}')]
)
def test_a_redirected_post_becomes_a_get_unless_the_status_keeps_it(
    server: Server, status: int, method: str, body: bytes
) -> None:
    url = server.answers("/a", status=f"{status} Moved", headers="Location: /b\r\n")
    server.answers("/b")
    http.request(url, "POST", json={"a": 1})
    assert (server.received[1].method, server.received[1].body) == (method, body)


def test_keys_do_not_follow_a_redirect_to_another_server(server: Server) -> None:
    with running_server() as other:
        other.answers("/b")
        url = server.answers("/a", status="307 Moved", headers=f"Location: {other.url('/b')}\r\n")
        http.request(url, headers={"Authorization": "Bearer k", "X-Api-Key": "k", "Cookie": "k", "Accept": "text/x"})
        assert "k" not in other.received[0].headers.values()
        assert "Bearer k" not in other.received[0].headers.values()
        assert other.received[0].headers["accept"] == "text/x"


def test_keys_follow_a_redirect_on_the_same_server(server: Server) -> None:
    server.answers("/b")
    http.request(
        server.answers("/a", status="307 Moved", headers="Location: /b\r\n"), headers={"Authorization": "Bearer k"}
    )
    assert server.received[1].headers["authorization"] == "Bearer k"


def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert http.request(server.answers("/", b"direct"))["text"] == "direct"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://x/", "//x", "example.com", "", None, 5, "javascript:1"]
)
def test_other_schemes_are_refused(url: object) -> None:
    with pytest.raises(TaskError, match="only http:// and https://"):
        http.request(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "http://x:99999/", "http://\0/", "http://*x/"]
)
def test_an_address_that_cannot_be_read_is_a_task_error(url: str) -> None:
    with inside(context_with()), pytest.raises(TaskError):
        http.request(url)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"method": "GET /x HTTP/1.1\r\n"}, "is no HTTP method"),
        ({"headers": {"X-Key": "s3cret\r\nX-Evil: 1"}}, "InvalidHeader"),
        ({"json": {"a": {1}}}, "not JSON serializable"),
        ({"json": {"a": float("nan")}}, "JSON compliant"),
        ({"json": {}, "data": "x"}, "not as both"),
        ({"timeout": 0}, "above zero"),
        ({"timeout": "5"}, "above zero"),
        ({"timeout": float("nan")}, "above zero"),
    ],
)
def test_a_request_that_cannot_be_made_says_why(server: Server, options: dict[str, object], reason: str) -> None:
    with pytest.raises(TaskError, match=reason) as failed:
        http.request(server.url(), **options)  # type: ignore[arg-type]
    assert "s3cret" not in str(failed.value)
    assert server.received == []


def test_errors_show_neither_password_nor_query(server: Server) -> None:
    url = f"http://user:s3cret@127.0.0.1:{server.port}/x?api_key=s3cret"
    with pytest.raises(TaskError) as refused:
        http.request(url)
    with pytest.raises(TaskError) as unreachable:
        http.request("http://user:s3cret@127.0.0.1:9/x?api_key=s3cret")
    server.on("/x", lambda _, connection: None)
    with pytest.raises(TaskError) as cut:
        http.request(url)
    for error in (refused, unreachable, cut):
        assert "s3cret" not in str(error.value)
        assert "127.0.0.1" in str(error.value)


def test_an_endless_timeout_is_allowed(server: Server) -> None:
    server.on("/", reply(b"ok"))
    assert http.request(server.url(), timeout=float("inf"))["text"] == "ok"
