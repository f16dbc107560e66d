"""The compose file holds what it promises: every service, its health, its secrets from outside, as little as can be."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from highway_core.cli.parser import parse
from tests.documentation import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}
LONG_LIVED = sorted(set(OURS) - {"migrate"})


def test_there_is_a_database_an_api_a_scheduler_and_two_workers() -> None:
    assert set(SERVICES) == {"postgres", "migrate", "api", "scheduler", "worker"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert SERVICES["postgres"]["image"] == "postgres:18"


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_is_one_that_there_is(name: str) -> None:
    assert parse(OURS[name]["command"]).command == "durable"


@pytest.mark.parametrize("name", ["postgres", *LONG_LIVED])
def test_every_lasting_service_has_its_health_looked_at(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= set(check)
    if check["test"][1] == "highway":
        assert parse(check["test"][2:]).durable_command == "health"


def test_no_secret_stands_in_the_file() -> None:
    for name in ("POSTGRES_PASSWORD", "HIGHWAY_SECRET_KEY"):
        assert re.search(rf"\$\{{{name}:\?", TEXT), f"{name} must be asked for"
    assert not re.search(r"postgresql://\w+:(?!\$\{)", TEXT)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_may_do_nothing_that_it_need_not(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileges")
    assert "docker.sock" not in TEXT


def test_only_the_api_is_reached_from_outside_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:${HIGHWAY_PORT:-5000}:5000"]}


@pytest.mark.parametrize("name", LONG_LIVED)
def test_a_service_gets_the_time_to_finish_what_it_does(name: str) -> None:
    grace = int(OURS[name]["environment"]["HIGHWAY_GRACE_SECONDS"])
    assert int(OURS[name]["stop_grace_period"].removesuffix("s")) >= grace + 2


def test_nothing_starts_before_the_schema_is_there() -> None:
    for name in LONG_LIVED:
        assert OURS[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_runs_as_nobody_special_and_holds_no_tools_to_build_with() -> None:
    stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    assert len(stages) == 3  # what stands before the first one is a comment
    assert re.search(r"^USER 10001$", stages[-1], re.MULTILINE)
    assert not re.search(r"\bpip\b|apt-get", stages[-1])


def test_the_image_is_made_of_what_the_package_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {part for line in copied for part in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)
