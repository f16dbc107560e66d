"""Tokens are derived and not stored; what a browser carries for us holds for its purpose and its time only."""

from __future__ import annotations

import string
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from highway_core.config import Settings
from highway_core.persistence import database
from highway_core.utils.approval_token import approval_token, looks_like_token, new_approval, token_digest
from highway_core.utils.clock import utc_now
from highway_core.utils.signatures import Signer

KEY = b"a key of the tests"
NOW = utc_now()


def test_an_approval_has_a_random_id_and_a_token_that_only_the_key_makes() -> None:
    made = [new_approval(KEY) for _ in range(1_000)]
    assert len({one.approval_id for one in made} | {one.token for one in made}) == 2_000
    for one in made[:20]:
        assert len(one.approval_id) >= 22, "22 characters are 132 bits"
        assert one.token == approval_token(KEY, one.approval_id) != approval_token(KEY + b"!", one.approval_id)
        assert one.token_hash == token_digest(one.token)
        assert looks_like_token(one.token)
        assert one.token not in repr(one)


def test_the_store_of_old_looks_tokens_up_by_the_same_digest() -> None:
    assert database.token_digest is token_digest


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert len(token_digest(text)) == 64
    assert looks_like_token(text) is (len(text) == 43 and set(text) <= set(string.ascii_letters + string.digits + "-_"))


def test_a_signature_holds_for_its_subject_purpose_key_and_time() -> None:
    signer = Signer(KEY, "form", 60)
    signed = signer.sign("a", NOW)
    assert signer.holds(signed, "a", NOW)
    assert signer.holds(signed, "a", NOW + timedelta(seconds=58))
    assert not signer.holds(signed, "a", NOW + timedelta(seconds=61))
    assert not signer.holds(signed, "b", NOW)
    assert not Signer(KEY, "receipt", 60).holds(signed, "a", NOW)
    assert not Signer(b"another", "form", 60).holds(signed, "a", NOW)
    assert signed != signer.sign("a", NOW)


@given(st.text(max_size=200), st.integers(0, 80), st.characters())
def test_no_other_text_is_a_signature(text: str, place: int, sign: str) -> None:
    signer = Signer(KEY, "form", 60)
    assert not signer.holds(text, "a", NOW)
    signed = signer.sign("a", NOW)
    place %= len(signed)
    forged = signed[:place] + sign + signed[place + 1 :]
    assert signer.holds(forged, "a", NOW) is (forged == signed)


def test_the_key_of_links_is_no_secret_that_documents_may_name() -> None:
    settings = Settings(environ={"HIGHWAY_SECRET_KEY": "hidden", "HIGHWAY_SECRET_API": "shown"})
    assert settings.secret("API") == "shown"
    assert settings.secret("KEY") is None
    assert settings.secret("key") is None
