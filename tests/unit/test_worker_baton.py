"""Who decides for a worker: the deciding thread, or whoever has news while that one waits for some."""

from __future__ import annotations

import threading

from highway_core.services.baton import Baton
from tests.waiting import eventually


def test_it_is_taken_up_only_while_its_owner_waits() -> None:
    baton = Baton()
    decided: list[str] = []
    assert not baton.take_up(lambda: bool(decided.append("too early")) or True)
    with baton.put_down():
        assert baton.take_up(lambda: bool(decided.append("now")) or True)
    assert not baton.take_up(lambda: bool(decided.append("too late")) or True)
    assert decided == ["now"]


def test_its_owner_waits_for_whoever_has_it() -> None:
    baton = Baton()
    told: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def decide() -> bool:
        inside.set()
        go_on.wait(10)
        told.append("decided")
        return True

    def own() -> None:
        with baton.put_down():
            inside.wait(10)
        told.append("back")

    owner = threading.Thread(target=own)
    owner.start()
    assert eventually(lambda: baton.is_down)
    other = threading.Thread(target=baton.take_up, args=(decide,))
    other.start()
    assert eventually(lambda: not baton.is_down)  # its owner wants it back
    assert owner.is_alive()
    go_on.set()
    owner.join(10)
    other.join(10)
    assert told == ["decided", "back"]


def test_only_one_has_it() -> None:
    baton = Baton()
    with baton.put_down():
        assert baton.take_up(lambda: not baton.take_up(lambda: True))
        assert baton.is_down


def test_who_leaves_work_behind_does_not_put_it_down_again() -> None:
    baton = Baton()
    with baton.put_down():
        assert baton.take_up(lambda: False)
        assert not baton.take_up(lambda: True)
    with baton.put_down():
        assert baton.take_up(lambda: True)
