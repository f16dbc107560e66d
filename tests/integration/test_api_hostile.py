"""What a hostile request gets: a problem document, and nothing has changed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.api.app import create_app
from highway_core.api.wiring import context_over
from highway_core.config import Settings
from highway_core.engine.durable.operations import DurableRuns
from highway_core.engine.durable.wiring import durable_services
from highway_core.errors import ConnectionLostError
from highway_core.lifecycle import RunStatus
from highway_core.tools.registry import ToolRegistry
from tests.api_client import DOCUMENT, Api, database, folder_with

EVIL = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of workflows, and beside it what must not be reached."""
    place = tmp_path_factory.mktemp("place")
    folder = place / "workflows"
    folder.mkdir()
    (place / "evil.yaml").write_text("name: evil\ntasks: {a: {operator_type: task, function: tools.log.info}}\n")
    (place / "evil.py").write_text(EVIL)
    folder_with(folder, foo__py=EVIL, broken__yaml="name: [")
    (folder / "linked.yaml").symlink_to(place / "evil.yaml")
    return place


@pytest.fixture(scope="module")
def shared(postgres_server: str, place: Path) -> Iterator[Api]:
    with database(postgres_server) as url:
        api = Api(url, Settings(workflows_dir=place / "workflows", max_body_bytes=100_000))
        yield api
        api.close()


@pytest.fixture
def api(shared: Api) -> Api:
    """One for all tests, of which none leaves a run behind that another asks for."""
    shared.runs.asked.clear()
    return shared


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "..%2fevil", "%2e%2e%2fevil", "..%5cevil", "%2Ftmp%2Fevil", "/tmp/evil", "evil%00.yaml", "foo.py",
        "foo", "linked", "evil", "%EF%BC%8E%EF%BC%8E%EF%BC%8Fevil", "․․/evil", "....//evil", "-evil", ".evil",
        "C:evil", "foo.py:workflow", "x" * 201, "x" * 5000, "%ED%A0%80", "a;b", "<script>", "'; DROP TABLE workflows",
    ],
)  # fmt: skip
def test_a_name_is_looked_up_and_never_made_into_a_path_or_run(api: Api, place: Path, name: str) -> None:
    answer = api.client.post(f"/workflow/start/{name}")
    assert answer.status_code == 404
    assert answer.get_json()["code"] in {"workflow_not_found", "not_found"}
    if len(name) < 300:
        in_body = api.post("/workflow/start", {"name": name})
        assert in_body.status_code == 404
    assert api.runs.asked == []
    assert not list(place.rglob("*.ran"))


def test_a_file_with_problems_says_them_when_it_is_started_by_name(api: Api) -> None:
    answer = api.client.post("/workflow/start/broken")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_document")


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"name: x", "application/yaml", 415, "unsupported_media_type"),
        (b"{}", None, 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"null", "application/json", 400, "invalid_json"),
        (b'"x"', "application/json", 400, "invalid_json"),
        (b"\xff\xfe{\x00}\x00", "application/json", 400, "invalid_json"),
        (b'{"name": "a", "name": "b"}', "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": NaN}}', "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": 1e999}}', "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": "\\u0000"}}', "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": "\\ud800"}}', "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}", "application/json", 400, "invalid_json"),
        (b'{"inputs": {"a": ' + b"1" * 5_000 + b"}}", "application/json", 400, "invalid_json"),
        (b'{"inputs": "x"}', "application/json", 422, "invalid_body"),
        (b'{"inputs": [], "name": 3}', "application/json", 422, "invalid_body"),
        (b'{"name": "a", "workflow_id": "../x"}', "application/json", 422, "invalid_body"),
        (b'{"name": "a", "workflow_id": ""}', "application/json", 422, "invalid_body"),
        (b'{"name": "a", "workflow_id": 7}', "application/json", 422, "invalid_body"),
        (b'{"name": "a", "queue": "a b"}', "application/json", 422, "invalid_body"),
        (b'{"document": 7}', "application/json", 422, "invalid_body"),
        (b'{"document": {}}', "application/json", 422, "invalid_document"),
        (b'{"document": "!!python/object/apply:os.system [id]"}', "application/json", 422, "invalid_document"),
        (b'{"document": "%s"}' % (b"[" * 2_000), "application/json", 422, "invalid_document"),
        (b'{"inputs": {"a": "' + b"x" * 100_001 + b'"}}', "application/json", 413, "body_too_large"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_used_is_refused(api: Api, data: bytes, kind: str | None, status: int, code: str) -> None:
    answer = api.client.post("/workflow/start", data=data, content_type=kind)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["status"] == status
    assert api.runs.asked == []


def test_a_body_without_a_length_is_measured_too(api: Api) -> None:
    body = io.BytesIO(b'{"inputs": {"a": "' + b"x" * 200_000 + b'"}}')
    answer = api.client.post(
        "/workflow/start",
        input_stream=body,
        headers={"Transfer-Encoding": "chunked"},
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413
    assert "100,000 bytes" in answer.get_json()["detail"]


@pytest.mark.parametrize("field", ["status", "mode", "owner", "fence", "created_by", "created_at", "x"])
@pytest.mark.parametrize("path", ["/workflow/start", "/workflow/start/foo", "/api/v1/workflows"])
def test_a_caller_cannot_set_what_is_not_his(api: Api, path: str, field: str) -> None:
    body: dict[str, Any] = {field: 1}
    if path == "/workflow/start":
        body["document"] = DOCUMENT
    if path.startswith("/api"):
        body["workflow_definition"] = DOCUMENT
    answer = api.post(path, body)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_body")
    assert field in [one["place"] for one in answer.get_json()["problems"]]
    assert api.runs.asked == []


@pytest.mark.parametrize("run_id", ["a%00b", "%ED%A0%80", "x" * 3_000, "%2e%2e", "'; DROP TABLE workflows; --"])
def test_an_id_that_no_run_can_have_is_not_found(api: Api, run_id: str) -> None:
    for path in ("/workflow/status/", "/workflow/history/", "/api/v1/workflows/"):
        assert api.client.get(f"{path}{run_id}").status_code == 404
    for verb in ("cancel", "pause", "unpause", "retry"):
        assert api.post(f"/workflow/{verb}/{run_id}").status_code == 404


def test_what_the_engine_trips_over_is_not_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = api.start()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("postgresql://user:hunter2@db/x")

    monkeypatch.setattr(api.runs, "pause", fail, raising=False)
    answer = api.post(f"/workflow/pause/{run_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert answer.get_json()["instance"].startswith("urn:uuid:")


def test_a_database_that_is_away_is_503_and_the_client_may_try_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = api.start()

    def fail(*_: object) -> None:
        raise ConnectionLostError("PostgreSQL at db.internal could not be reached: hunter2")

    monkeypatch.setattr(api.runs, "pause", fail, raising=False)
    answer = api.post(f"/workflow/pause/{run_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "hunter2" not in answer.text
    assert "internal" not in answer.text


def test_a_value_that_is_too_large_or_too_deep_to_store_is_refused(api: Api) -> None:
    deep = json.loads('{"a":' * 300 + "1" + "}" * 300)
    for path, body in (
        ("/workflow/start", {"document": DOCUMENT, "inputs": deep}),
        ("/workflow/events/e", {"payload": deep}),
        ("/workflow/items/r/t", {"items": [deep]}),
    ):
        answer = api.post(path, body)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_value"), path
    assert api.sql("SELECT count(*) FROM events") == [(0,)]


def test_every_answer_carries_the_headers_that_keep_browsers_out(api: Api) -> None:
    for path in ("/workflows", "/nothing", "/healthz", "/workflow/status/x"):
        headers = api.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert not [name for name, _ in headers if name.lower().startswith("access-control")]


def zipped(size: int = 0) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("mine/__init__.py", "x" * size)
    return target.getvalue()


def test_an_artifact_is_kept_once_under_its_content(api: Api) -> None:
    data = zipped(200_000)  # more than a JSON body may have
    ids = set()
    for _ in range(2):
        answer = api.client.post("/api/v1/artifacts", data={"artifact": (io.BytesIO(data), "a.zip")})
        assert answer.status_code == 200, answer.text
        ids.add(answer.get_json()["artifact_id"])
    assert len(ids) == 1
    assert api.sql("SELECT artifact_id, size, content = %s FROM artifacts", (data,)) == [(*ids, len(data), True)]


def test_what_is_no_artifact_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("highway_core.api.wire_routes.MAX_BYTES", 50_000)
    upload = "/api/v1/artifacts"
    before = api.sql("SELECT count(*) FROM artifacts")
    cases = [
        ({"artifact": (io.BytesIO(b"no zip"), "a.zip")}, 422),
        ({"other": (io.BytesIO(zipped()), "a.zip")}, 422),
        ({"artifact": "text"}, 422),
        ({"artifact": (io.BytesIO(zipped(60_000)), "a.zip")}, 413),
        ({"artifact": (io.BytesIO(zipped(200_000)), "a.zip")}, 413),
        ({f"f{n}": "x" for n in range(20)}, 413),
        ({"f": "x" * 70_000}, 413),
    ]
    for data, status in cases:
        answer = api.client.post(upload, data=data, content_type="multipart/form-data")
        assert answer.status_code == status, (list(data), answer.text)
    assert api.client.post(upload, data=zipped(), content_type="application/zip").status_code == 415
    assert api.post(upload, {}).status_code == 415
    assert api.sql("SELECT count(*) FROM artifacts") == before


def test_a_run_s_status_survives_any_bytes_in_its_error(api: Api) -> None:
    run_id = api.start()
    nasty = "</script><b>\u202e\x01 é 🦆 '\""
    api.sql(
        "UPDATE workflows SET status = %s, error_message = %s WHERE workflow_id = %s",
        (RunStatus.FAILED.value, nasty, run_id),
    )
    assert api.client.get(f"/workflow/status/{run_id}").get_json()["error"] == nasty


def test_a_database_that_is_not_there_shows_as_503_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(database_url="postgresql://user:hunter2@127.0.0.1:1/none")
    runs = DurableRuns(settings.database_url, durable_services(settings))
    app = create_app(context=context_over(settings, runs, ToolRegistry()))
    client = app.test_client()
    for path in ("/workflows", "/readyz", "/workflows", "/workflow/status/r"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "hunter2" not in answer.text
    assert caplog.text.count("could not be reached") == 1, "said once, not for every request"
    assert client.get("/healthz").get_json() == {"status": "ok"}
    assert "hunter2" not in caplog.text
