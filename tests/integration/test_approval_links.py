"""What an approval's link does in a browser, in a mail scanner and in a program; and what it never does."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from examples.expense_report import create_expense_workflow
from highway_core.config import Settings
from highway_core.engine.loader import compile_document, read_source
from highway_core.lifecycle import ApprovalStatus, RunStatus
from highway_core.utils.approval_token import NewApproval, new_approval
from highway_core.utils.clock import utc_now
from highway_core.utils.signatures import Signer
from tests.api_client import Api
from tests.approvals import KEY, MANAGER, PROMPT, Office

JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@dataclass
class Desk:
    """An API and the approvals behind it."""

    api: Api
    office: Office

    @property
    def client(self) -> FlaskClient:
        return self.api.client

    @property
    def unchecked(self) -> FlaskClient:
        """For HEAD, which the OpenAPI document leaves out."""
        return FlaskClient(self.api.app)

    def look(self, asked: NewApproval, headers: Any = None, decision: str | None = None) -> TestResponse:
        query = {"token": asked.token} | ({"decision": decision} if decision else {})
        return self.client.get("/workflow/resume", query_string=query, headers=headers or BROWSER)

    def nonce(self, asked: NewApproval) -> str:
        return fields_of(self.look(asked))["nonce"]

    def press(self, asked: NewApproval, decision: str, headers: Any = None, **more: str) -> TestResponse:
        """Send the form of the page, as a browser does."""
        form = {"token": asked.token, "decision": decision, "comment": "", **more}
        form.setdefault("nonce", "" if "nonce" in more else self.nonce(asked))
        return self.client.post("/workflow/resume", data=form, headers=BROWSER | (headers or {}))

    def is_open(self, asked: NewApproval) -> bool:
        found = self.office.store.by_id(asked.approval_id)
        assert found is not None
        return found.refusal is None and self.office.queued(found.run_id, found.task_id) == "WAITING_FOR_EVENT"


def fields_of(page: TestResponse) -> dict[str, str]:
    """The hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    return {name: html.unescape(value) for name, value in found}


@pytest.fixture
def desk(postgres_url: str) -> Iterator[Desk]:
    api = Api(postgres_url, Settings(secret_key=KEY.decode()))
    office = Office(api.context.pool, postgres_url)
    try:
        yield Desk(api, office)
    finally:
        api.close()


def test_the_page_says_who_is_asked_what_and_what_each_decision_will_do(desk: Desk) -> None:
    workflow, _ = compile_document(read_source(create_expense_workflow()))
    desk.office.define(workflow.definition_hash, workflow.model.name, workflow.definition_json)
    desk.office.run("run-7", definition=workflow.definition_hash)
    page = desk.look(desk.office.ask("run-7", seconds=3 * 86400))
    assert page.status_code == 200
    for text in (PROMPT, "expense_report_approval", "run-7", "request_manager_approval", MANAGER, "2 days 23 hours"):
        assert text in page.text
    approve, deny = page.text.index(">Approve</button>"), page.text.index(">Deny</button>")
    places = [page.text.index(f"<bdi>{task}</bdi>") for task in ("run_payment", "notify_employee_approved")]
    assert max(places) < approve < page.text.index("<bdi>notify_employee_denied</bdi>") < deny
    always, late = page.text.index("Whatever you decide"), page.text.index("If nobody decides in time")
    assert (
        always < page.text.index("<bdi>close_report</bdi>") < late < page.text.index("<bdi>escalate_to_finance</bdi>")
    )


def test_without_a_document_the_page_asks_all_the_same(desk: Desk) -> None:
    asked = desk.office.ask(seconds=None)
    page = desk.look(asked)
    assert page.status_code == 200
    assert ">Approve</button>" in page.text
    assert "Open until" not in page.text
    desk.office.define("junk", "junk", "{]")
    desk.office.sql("UPDATE workflows SET definition_hash = 'junk'")
    assert desk.look(asked).status_code == 200


def test_the_form_decides_once_and_leads_to_a_page_without_the_token(desk: Desk) -> None:
    asked = desk.office.ask()
    answer = desk.press(asked, "DENIED", comment="Too <b>much</b>")
    assert answer.status_code == 303
    assert asked.token not in str(answer.headers) + answer.text
    assert answer.headers["Location"].startswith("decided?receipt=")
    thanks = desk.client.get(f"/workflow/{answer.headers['Location']}", headers=BROWSER)
    assert thanks.status_code == 200
    for text in ("Thank you", "DENIED", MANAGER, "Too &lt;b&gt;much&lt;/b&gt;"):
        assert text in thanks.text
    assert asked.token not in thanks.text
    found = desk.office.store.by_id(asked.approval_id)
    assert found is not None
    assert (found.decision, found.decided_by, found.decided_via) == ("DENIED", MANAGER, "page")
    assert desk.office.queued() == "QUEUED"


@pytest.mark.parametrize(
    "headers",
    [
        BROWSER,
        {},
        {"Accept": "*/*"},
        {"Accept": ""},
        {"Accept": "application/*"},
        {"Accept": "application/json, text/plain, */*"},
        {"Accept": "text/html, application/json"},
        {"Accept": "application/json;q=0, */*"},
        {"Accept": "application/json", "Purpose": "prefetch"},
        {"Accept": "application/json", "Sec-Purpose": "prefetch;prerender"},
        {"Accept": "application/json", "X-Moz": "prefetch"},
        {"User-Agent": "Mozilla/5.0 (compatible; Microsoft Defender SafeLinks)", "Accept": "*/*"},
    ],
)
def test_who_only_follows_the_link_decides_nothing(desk: Desk, headers: dict[str, str]) -> None:
    asked = desk.office.ask()
    query = {"token": asked.token, "decision": "APPROVED"}
    for method in ("GET", "HEAD"):
        answer = desk.unchecked.open("/workflow/resume", method=method, query_string=query, headers=headers)
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert answer.data if method == "GET" else not answer.data
    assert desk.is_open(asked)


def test_head_never_decides_whatever_it_accepts(desk: Desk) -> None:
    asked = desk.office.ask()
    query = {"token": asked.token, "decision": "APPROVED"}
    assert desk.unchecked.head("/workflow/resume", query_string=query, headers=JSON).status_code == 200
    assert desk.is_open(asked)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(desk: Desk, method: str) -> None:
    asked = desk.office.ask()
    query = {"token": asked.token, "decision": "APPROVED"}
    answer = desk.client.open("/workflow/resume", method=method, query_string=query, headers=JSON)
    assert answer.status_code == 405
    assert desk.is_open(asked)


def test_the_decision_in_a_link_is_pointed_at_and_not_taken(desk: Desk) -> None:
    asked = desk.office.ask()
    assert 'class="choice no asked"' in desk.look(asked, decision="DENIED").text
    assert " asked" not in desk.look(asked, decision="MAYBE").text
    assert desk.is_open(asked)


@pytest.mark.parametrize("how", ["get", "post query", "post form", "post json", "post json body"])
def test_a_program_that_asks_for_json_decides(desk: Desk, how: str) -> None:
    asked = desk.office.ask()
    wish = {"token": asked.token, "decision": "APPROVED", "comment": "fine"}
    answer = {
        "get": lambda: desk.client.get("/workflow/resume", query_string=wish, headers=JSON),
        "post query": lambda: desk.client.post("/workflow/resume", query_string=wish, headers=JSON),
        "post form": lambda: desk.client.post("/workflow/resume", data=wish, headers=JSON),
        "post json": lambda: desk.client.post("/workflow/resume", json=wish, headers=JSON),
        "post json body": lambda: desk.client.post("/workflow/resume", json=wish),
    }[how]()
    found = desk.office.store.by_id(asked.approval_id)
    assert found is not None
    assert found.decided_at is not None
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.pop("decided_at") == found.decided_at.isoformat().replace("+00:00", "Z")
    assert body == {
        "message": "Workflow task resumed",
        "workflow_id": "run-1",
        "task_id": "request_manager_approval",
        "status": "COMPLETED",
        "decision": "APPROVED",
        "decided_by": MANAGER,
        "comment": "fine",
    }
    assert found.decided_via == "token"


@pytest.mark.parametrize("decision", ["whatever <b>", "approved", "x' or 'a'=='a", "\0"])
def test_what_is_no_choice_is_refused_and_changes_nothing(desk: Desk, decision: str) -> None:
    asked = desk.office.ask()
    wish = {"token": asked.token, "decision": decision}
    answer = desk.client.get("/workflow/resume", query_string=wish, headers=JSON)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_decision")
    assert answer.get_json()["approval"] == {"choices": ["APPROVED", "DENIED"]}
    page = desk.press(asked, decision, comment="keep me")
    assert page.status_code == 400
    assert "keep me</textarea>" in page.text
    assert desk.is_open(asked)
    again = desk.client.post("/workflow/resume", data=fields_of(page) | {"decision": "DENIED"}, headers=BROWSER)
    assert again.status_code == 303


def test_what_is_missing_is_named(desk: Desk) -> None:
    asked = desk.office.ask()
    for query, code in (({}, 400), ({"token": asked.token}, 400), ({"decision": "APPROVED"}, 400)):
        answer = desk.client.get("/workflow/resume", query_string=query, headers=JSON)
        assert (answer.status_code, answer.get_json()["code"]) == (code, "missing_parameter")
    assert desk.client.get("/workflow/resume", headers=BROWSER).status_code == 400
    assert desk.is_open(asked)


def test_an_unknown_token_is_a_bare_404(desk: Desk) -> None:
    for token in (new_approval(KEY).token, "x", "../../etc/passwd", "' or 1=1 --", "\0", "ü" * 43):
        query = {"token": token, "decision": "APPROVED"}
        page = desk.client.get("/workflow/resume", query_string=query, headers=BROWSER)
        assert (page.status_code, token in page.text and token != "x") == (404, False)
        answer = desk.client.get("/workflow/resume", query_string=query, headers=JSON)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "unknown_token")


def test_a_used_link_says_what_was_decided_when_and_by_whom(desk: Desk) -> None:
    asked = desk.office.ask()
    taken = desk.office.store.decide(asked.approval_id, "DENIED", by="bob", via="api", comment="no & never")
    assert taken.decided_at is not None
    for page in (desk.look(asked), desk.client.post("/workflow/resume", data={"token": asked.token}, headers=BROWSER)):
        assert page.status_code == 409
        for text in ("This has been decided", "DENIED", "bob", "no &amp; never", taken.decided_at.isoformat()):
            assert text in page.text
        assert "<form" not in page.text
    answer = desk.client.get(
        "/workflow/resume", query_string={"token": asked.token, "decision": "DENIED"}, headers=JSON
    )
    assert (answer.status_code, answer.mimetype) == (409, "application/problem+json")
    assert answer.get_json()["code"] == "approval_decided"
    stands = answer.get_json()["approval"]
    assert (stands["decision"], stands["decided_by"], stands["comment"]) == ("DENIED", "bob", "no & never")


def test_a_link_past_its_time_or_of_a_run_that_is_over_is_gone(desk: Desk) -> None:
    late, cancelled = desk.office.ask("run-1", seconds=-5), desk.office.ask("run-2")
    desk.office.end_run("run-2", RunStatus.CANCELLED)
    for asked, code, title in (
        (late, "approval_expired", "The time for this decision is over"),
        (cancelled, "approval_run_over", "This decision is not needed any more"),
    ):
        for page in (desk.look(asked), desk.press(asked, "APPROVED", nonce="")):
            assert (page.status_code, title in page.text, "<form" in page.text) == (410, True, False)
        query = {"token": asked.token, "decision": "APPROVED"}
        answer = desk.client.get("/workflow/resume", query_string=query, headers=JSON)
        assert (answer.status_code, answer.get_json()["code"]) == (410, code)
    assert desk.office.sql("SELECT count(*) FROM approvals WHERE status = %s", ApprovalStatus.DECIDED.value) == [(0,)]


def test_a_form_needs_the_nonce_of_a_page_of_this_very_approval(desk: Desk) -> None:
    asked, other = desk.office.ask(task_id="a"), desk.office.ask(task_id="b")
    expired = Signer(KEY, "approval form", -1).sign(asked.token_hash, utc_now())
    foreign = Signer(b"somebody else's key", "approval form", 60).sign(asked.token_hash, utc_now())
    receipt = Signer(KEY, "approval receipt", 60).sign(asked.token_hash, utc_now())
    for nonce in ("", "x", "9999999999.x.y", desk.nonce(other), expired, foreign, receipt, desk.nonce(asked) + "x"):
        page = desk.press(asked, "APPROVED", nonce=nonce, comment="keep me")
        assert (page.status_code, "keep me</textarea>" in page.text) == (403, True)
        assert desk.is_open(asked)
    assert desk.press(asked, "APPROVED").status_code == 303


def test_a_post_without_a_page_before_it_decides_nothing(desk: Desk) -> None:
    asked = desk.office.ask()
    form = {"token": asked.token, "decision": "APPROVED"}
    for headers in ({}, {"Accept": "*/*"}, BROWSER):
        assert desk.client.post("/workflow/resume", data=form, headers=headers).status_code == 403
    assert desk.is_open(asked)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost"}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://127.0.0.1:5000"}, 303),
    ],
)
def test_a_form_of_another_site_decides_nothing(desk: Desk, headers: dict[str, str], status: int) -> None:
    asked = desk.office.ask()
    assert desk.press(asked, "APPROVED", headers).status_code == status
    assert desk.is_open(asked) is (status == 403)


def test_no_page_can_be_kept_framed_scripted_or_told_of(desk: Desk) -> None:
    used, asked = desk.office.ask(task_id="a"), desk.office.ask(task_id="b")
    done = desk.press(used, "APPROVED")
    receipt = f"/workflow/{done.headers['Location']}"
    pages = [desk.look(asked), desk.look(used), done, desk.client.get(receipt), desk.client.get("/workflow/resume")]
    for page in pages:
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in page.headers


def test_a_receipt_is_worth_nothing_for_another_approval_or_after_its_time(desk: Desk) -> None:
    asked = desk.office.ask()
    signer = Signer(KEY, "approval receipt", 60)
    later = utc_now() - timedelta(hours=1)
    for receipt in ("", "x", f"{asked.approval_id}.1.2.3", f"{asked.approval_id}.{signer.sign('other', utc_now())}"):
        assert desk.client.get("/workflow/decided", query_string={"receipt": receipt}).status_code == 404
    old = f"{asked.approval_id}.{signer.sign(asked.approval_id, later)}"
    assert desk.client.get("/workflow/decided", query_string={"receipt": old}).status_code == 404


def test_the_token_stands_in_no_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    asked = desk.office.ask()
    with caplog.at_level("DEBUG"):
        desk.look(asked)
        desk.press(asked, "APPROVED")
        desk.look(asked, JSON)
    assert caplog.records
    assert asked.token not in caplog.text + str([vars(record) for record in caplog.records])


def test_who_guesses_tokens_is_slowed_down_and_nobody_else_is(desk: Desk) -> None:
    asked = desk.office.ask()
    seen = [desk.look(new_approval(KEY)).status_code for _ in range(30)]
    assert seen[0] == 404
    assert seen[-1] == 429
    refused = desk.client.get("/workflow/resume", query_string={"token": "x", "decision": "APPROVED"}, headers=JSON)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "too_many_unknown_tokens")
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert desk.press(asked, "APPROVED").status_code == 303


def test_choices_of_ones_own_have_their_buttons(desk: Desk) -> None:
    asked = desk.office.ask(choices=("SHIP", "HOLD"))
    page = desk.look(asked)
    assert [
        found[1] for found in re.findall(r'<button name="decision" value="(\w+)"[^>]*>(\w+)</button>', page.text)
    ] == [
        "SHIP",
        "HOLD",
    ]
    assert desk.press(asked, "APPROVED").status_code == 400
    assert desk.press(asked, "HOLD").status_code == 303


def test_what_mail_programs_add_to_a_link_does_no_harm(desk: Desk) -> None:
    asked = desk.office.ask()
    query = {"token": asked.token, "utm_source": "mail", "fbclid": "x"}
    assert desk.client.get("/workflow/resume", query_string=query, headers=BROWSER).status_code == 200
