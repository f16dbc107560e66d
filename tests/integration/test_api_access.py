"""Who may use the API: keys, scopes, wrong guesses, and browsers that another site sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from highway_core.api.access import is_loopback
from highway_core.api.routing import Operation, operations_of
from highway_core.config import Settings
from highway_core.errors import ConfigError
from highway_core.persistence.api_keys import ApiKeys, Scope
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.utils.clock import utc_now
from tests.api_client import Api

OPEN = {"/healthz", "/readyz", "/openapi.json", "/workflow/resume", "/workflow/decided"}
"""What needs no key: the last two take the token of a link, or what a decision gave in its place."""


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> object:
        return utc_now()


@pytest.fixture
def guarded(postgres_url: str) -> Iterator[Api]:
    api = Api(postgres_url, Settings(api_host="0.0.0.0"))
    yield api
    api.close()


@pytest.fixture
def local(postgres_url: str) -> Iterator[Api]:
    api = Api(postgres_url)
    yield api
    api.close()


def guarded_operations(api: Api) -> list[Operation]:
    return [one for one in operations_of(api.app).values() if one.scope is not None]


def path_of(operation: Operation) -> str:
    return re.sub(r"<(?:\w+:)?\w+>", "something", operation.path)


def test_every_route_declares_whom_it_lets_in(guarded: Api) -> None:
    operations = operations_of(guarded.app)
    for rule in guarded.app.url_map.iter_rules():
        assert rule.endpoint in operations, f"{rule.rule} declares nothing"
        assert (rule.methods or set()) - {"HEAD"} == {operations[rule.endpoint].method}
    opened = {one.path for one in operations.values() if one.scope is None}
    assert opened == OPEN


def test_beyond_this_machine_no_route_works_without_a_key_or_with_a_wrong_one(guarded: Api) -> None:
    guarded.context.wrong_keys.limit = 10**6
    real = guarded.context.keys.create("real", [Scope.ADMIN]).text
    wrong = [
        "",
        "hw_k1_0123456789abcdef_" + "x" * 43,
        real[:-1] + ("a" if real[-1] != "a" else "b"),
        real.removeprefix("hw_"),
        real + " ",
        "\u00e9" * 10,
    ]
    for operation in guarded_operations(guarded):
        call = {"method": operation.method}
        without = guarded.client.open(path_of(operation), **call)
        assert without.status_code == 401, operation.path
        assert without.get_json()["code"] == "unauthorised"
        assert without.headers["WWW-Authenticate"] == "Bearer"
        for text in wrong[:4]:
            answer = guarded.client.open(path_of(operation), headers={"Authorization": f"Bearer {text}"}, **call)
            assert answer.status_code == 401, (operation.path, text)
    for header in (f"Basic {real}", real, f"Bearer{real}", "Bearer", f"Bearer {wrong[5]}"):
        assert guarded.client.get("/workflows", headers={"Authorization": header}).status_code == 401, header
    assert guarded.client.get(f"/workflows?key={real}").status_code == 401
    assert guarded.client.get("/workflows", headers={"Authorization": f"Bearer {real} "}).status_code == 200


def test_a_key_opens_the_routes_of_its_scope_and_no_others(guarded: Api) -> None:
    for scope in Scope:
        header = guarded.key(scope)
        for operation in guarded_operations(guarded):
            answer = guarded.client.open(path_of(operation), method=operation.method, headers=header)
            if operation.scope == scope or scope is Scope.ADMIN:
                assert answer.status_code not in {401, 403}, (scope, operation.path)
            else:
                assert answer.status_code == 403, (scope, operation.path)
                assert answer.get_json()["code"] == "missing_scope"


def test_method_overrides_and_other_methods_do_nothing(guarded: Api) -> None:
    header = guarded.key(Scope.RUNS_READ)
    override = {**header, "X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
    assert guarded.client.get("/workflow/cancel/one", headers=override).status_code == 405
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert guarded.client.open("/workflows", method=method, headers=header).status_code == 405, method


def test_on_this_machine_a_key_is_optional_but_a_wrong_one_is_refused(local: Api) -> None:
    assert local.client.get("/workflows").status_code == 200
    assert local.client.get("/workflows", headers={"Authorization": "Bearer hw_k1_no"}).status_code == 401
    header = local.key(Scope.RUNS_READ)
    assert local.client.get("/workflows", headers=header).status_code == 200
    assert local.client.post("/workflow/events/e", headers=header).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "elsewhere.example"},
        {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"},
    ],
)
def test_without_a_key_a_browser_that_another_site_sends_is_refused(local: Api, headers: dict[str, str]) -> None:
    run_id = local.start()
    for call in (
        local.client.get("/workflows", headers=headers),
        local.post(f"/workflow/cancel/{run_id}", {}, headers),
    ):
        assert call.status_code == 403
        assert call.get_json()["code"] in {"foreign_origin", "foreign_host"}
    assert local.runs.told == []
    with_key = {**headers, **local.key(Scope.RUNS_READ)}
    assert local.client.get("/workflows", headers=with_key).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_this_machine_s_own_pages_may(local: Api, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert local.client.get("/workflows", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.8.9.10", True), ("localhost", True), ("::1", True), ("[::1]", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("api", False), ("", False),
    ],
)  # fmt: skip
def test_a_host_is_this_machine_s_own_or_not(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_too_many_wrong_keys_from_an_address_have_to_wait_a_minute(guarded: Api) -> None:
    hands = Hands()
    guarded.context.wrong_keys.clock = hands
    good = guarded.key(Scope.RUNS_READ)
    assert guarded.client.get("/workflows", headers=good).status_code == 200
    wrong = {"Authorization": "Bearer hw_k1_0123456789abcdef_" + "x" * 43}
    assert [guarded.client.get("/workflows", headers=wrong).status_code for _ in range(20)] == [401] * 20
    refused = guarded.client.get("/workflows", headers=wrong)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "61")
    assert guarded.client.get("/workflows", headers=good).status_code == 200, "a key just seen goes on working"
    elsewhere = guarded.client.get("/workflows", headers=wrong, environ_base={"REMOTE_ADDR": "10.1.1.1"})
    assert elsewhere.status_code == 401
    hands.seconds += 61
    assert guarded.client.get("/workflows", headers=wrong).status_code == 401


def test_a_revoked_key_ends_here_at_once_and_elsewhere_in_two_seconds(postgres_url: str, guarded: Api) -> None:
    header = guarded.key(Scope.RUNS_READ)
    hands = Hands()
    elsewhere = ApiKeys(ConnectionPool(postgres_url), hands)
    text = header["Authorization"].removeprefix("Bearer ")
    assert guarded.client.get("/workflows", headers=header).status_code == 200
    key = elsewhere.check(text)
    assert key is not None
    assert guarded.context.keys.revoke(key.key_id) is True
    assert guarded.context.keys.revoke(key.key_id) is False
    assert guarded.client.get("/workflows", headers=header).status_code == 401
    assert elsewhere.check(text) is not None
    hands.seconds += 2
    assert elsewhere.check(text) is None


def test_an_expired_key_is_none(guarded: Api) -> None:
    keys = guarded.context.keys
    assert keys.check(keys.create("old", [Scope.ADMIN], utc_now() - timedelta(seconds=1)).text) is None
    assert keys.check(keys.create("new", [Scope.ADMIN], utc_now() + timedelta(hours=1)).text) is not None


def test_the_database_has_the_hash_of_a_secret_and_not_the_secret(guarded: Api) -> None:
    new = guarded.context.keys.create("ci", [Scope.RUNS_READ, Scope.RUNS_WRITE])
    secret = new.text.rpartition(new.key_id)[2].lstrip("_")
    assert re.fullmatch(r"hw_k1_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", new.text)
    assert secret not in repr(new)
    stored = guarded.sql("SELECT * FROM api_keys")
    assert len(stored) == 1
    assert not any(secret in str(column) for column in stored[0])
    (key,) = guarded.context.keys.all()
    assert (key.name, key.scopes) == ("ci", {Scope.RUNS_READ, Scope.RUNS_WRITE})


def test_the_last_use_of_a_key_is_written_at_most_once_a_minute(postgres_url: str, guarded: Api) -> None:
    hands = Hands()
    keys = ApiKeys(guarded.context.pool, hands)
    text = guarded.key(Scope.RUNS_READ)["Authorization"].removeprefix("Bearer ")
    assert keys.all()[0].last_used_at is None
    keys.check(text)
    first = keys.all()[0].last_used_at
    assert first is not None
    hands.seconds += 30
    keys.check(text)
    guarded.sql("UPDATE api_keys SET last_used_at = last_used_at - interval '2 minutes'")
    hands.seconds += 31
    keys.check(text)
    last = keys.all()[0].last_used_at
    assert last is not None
    assert last > first


@pytest.mark.parametrize(("name", "scopes"), [("", [Scope.ADMIN]), ("  ", [Scope.ADMIN]), ("x", [])])
def test_a_key_needs_a_name_and_a_scope(guarded: Api, name: str, scopes: list[Scope]) -> None:
    with pytest.raises(ConfigError, match="name and at least one scope"):
        guarded.context.keys.create(name, scopes)
