"""``tools.ansible.run`` with a stand-in for ansible-runner: what it is asked, and what its answers become."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from highway_core.errors import TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.tools import ansible
from highway_core.utils.stopping import StopScope
from tests.tool_context import context_with, inside

Runner = Callable[..., SimpleNamespace]


@pytest.fixture
def playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "site.yml").write_text("- hosts: all\n")
    (tmp_path / "hosts.ini").write_text("localhost\n")
    monkeypatch.chdir(tmp_path)
    with inside(context_with()):
        yield "site.yml"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runner], None]:
    def installed(run: Runner) -> None:
        module = ModuleType("ansible_runner")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ansible_runner", module)

    return installed


def ended(status: str, rc: int, stdout: str = "") -> SimpleNamespace:
    return SimpleNamespace(status=status, rc=rc, stats={"ok": {"localhost": 1}}, stdout=io.StringIO(stdout))


def test_a_playbook_that_succeeds_gives_its_statistics(
    playbook: str, install: Callable[[Runner], None], tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def run(**options: Any) -> SimpleNamespace:
        asked.update(options)
        assert Path(options["private_data_dir"]).is_dir()
        return ended("successful", 0, "PLAY RECAP")

    install(run)
    assert ansible.run(playbook, inventory="hosts.ini", extra_vars={"colour": "blue"}, timeout=90) == {
        "status": "successful",
        "rc": 0,
        "stats": {"ok": {"localhost": 1}},
        "stdout": "PLAY RECAP",
    }
    assert asked["playbook"] == str(tmp_path / "site.yml")
    assert asked["inventory"] == str(tmp_path / "hosts.ini")
    assert (asked["extravars"], asked["timeout"], asked["quiet"]) == ({"colour": "blue"}, 90, True)
    assert not Path(asked["private_data_dir"]).exists()


def test_an_inventory_may_be_given_in_place(playbook: str, install: Callable[[Runner], None]) -> None:
    seen: list[object] = []
    install(lambda **options: (seen.append(options["inventory"]), ended("successful", 0))[1])
    for inventory in (None, {"all": {"hosts": {"a": None}}}, "[web]\na\nb\n"):
        ansible.run(playbook, inventory)
        assert seen[-1] == inventory


def test_a_playbook_that_fails_fails_the_task_with_the_end_of_its_output(
    playbook: str, install: Callable[[Runner], None]
) -> None:
    install(lambda **_: ended("failed", 2, "x" * 5000 + "\nfatal: unreachable"))
    with pytest.raises(TaskError, match=r"Playbook 'site.yml' failed with exit code 2: …x+\nfatal: unreachable$"):
        ansible.run(playbook)


def test_a_playbook_that_takes_too_long_is_a_timeout(playbook: str, install: Callable[[Runner], None]) -> None:
    install(lambda **_: ended("timeout", 254))
    with pytest.raises(TaskTimeoutError, match="longer than 5 s"):
        ansible.run(playbook, timeout=5)


def test_stopping_the_attempt_cancels_the_playbook(playbook: str, install: Callable[[Runner], None]) -> None:
    stop = StopScope()

    def run(**options: Any) -> SimpleNamespace:
        assert options["cancel_callback"]() is False
        stop.stop("cancelled by the user")
        assert options["cancel_callback"]() is True
        return ended("canceled", 254)

    install(run)
    with inside(context_with(stop=stop)), pytest.raises(TaskStoppedError, match="cancelled by the user"):
        ansible.run(playbook)


def test_a_playbook_that_is_not_there_is_named(playbook: str, install: Callable[[Runner], None]) -> None:
    install(lambda **_: ended("successful", 0))
    with pytest.raises(TaskError, match=r"There is no playbook 'other\.yml'"):
        ansible.run("other.yml")


def test_without_ansible_runner_the_extra_is_named(playbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible_runner", None)
    with pytest.raises(TaskError, match=r"pip install 'highway-core\[ansible\]'"):
        ansible.run(playbook)
