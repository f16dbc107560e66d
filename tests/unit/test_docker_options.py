"""What a task may ask of its container: the allow-list and its messages."""

from __future__ import annotations

from typing import Any

import pytest

from highway_core.config import Settings
from highway_core.engine.executors.docker_options import read_options
from highway_core.errors import TaskError


def created(**options: Any) -> dict[str, Any]:
    return read_options(options, Settings(), "run-1", ["run-net"]).create


def test_every_container_is_without_capabilities_and_cannot_gain_privileges() -> None:
    assert created() == {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "pids_limit": 1024}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"env": {"A": "x", "B": 5, "C": True}}, {"environment": {"A": "x", "B": "5", "C": "true"}}),
        ({"environment": {}}, {"environment": {}}),
        ({"memory": "512m"}, {"mem_limit": "512m", "memswap_limit": "512m"}),
        ({"mem_limit": 1048576}, {"mem_limit": "1048576", "memswap_limit": "1048576"}),
        ({"cpus": 0.5}, {"nano_cpus": 500_000_000}),
        ({"pids_limit": 7}, {"pids_limit": 7}),
        ({"user": 1000}, {"user": "1000"}),
        ({"user": "1000:1000"}, {"user": "1000:1000"}),
        ({"working_dir": "/data"}, {"working_dir": "/data"}),
        ({"entrypoint": ["sh", "-c"]}, {"entrypoint": ["sh", "-c"]}),
        ({"read_only": True}, {"read_only": True, "tmpfs": {"/tmp": "mode=1777"}}),
        ({"read_only": False}, {}),
        ({"network": "none"}, {"network": "none"}),
        ({"network": "run-net"}, {"network": "run-net"}),
        ({"network": None, "memory": None}, {}),
    ],
)
def test_an_allowed_option_becomes_dockers_own(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert created(**options) == created() | expected


@pytest.mark.parametrize(
    "name",
    ["privileged", "cap_add", "security_opt", "devices", "pid_mode", "ipc_mode", "userns_mode", "runtime", "mounts"],
)
def test_an_option_that_is_not_on_the_list_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(TaskError, match=rf"docker option '{name}' is not allowed.*Allowed are: cpus, entrypoint"):
        created(**{name: True})


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    with pytest.raises(TaskError, match="did you mean 'memory'"):
        created(memmory="1g")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "host"}, "'network' must be one of bridge, none, run-net, not 'host'"),
        ({"network": "container:other"}, "'network' must be one of"),
        ({"network": ["bridge"]}, "'network' must be one of"),
        ({"env": ["A=1"]}, "'environment' must be a mapping"),
        ({"env": {"A=B": "1"}}, "'environment.A=B' must be under a name without '='"),
        ({"env": {"A": None}}, "'environment.A' must be text or a number, not None"),
        ({"memory": "lots"}, "'memory' must be bytes, or a size such as 512m, not 'lots'"),
        ({"memory": 0}, "'memory' must be"),
        ({"memory": -1}, "'memory' must be"),
        ({"memory": True}, "'memory' must be"),
        ({"cpus": 0}, "'cpus' must be a number above zero"),
        ({"cpus": "2"}, "'cpus' must be a number above zero"),
        ({"cpus": float("nan")}, "'cpus' must be a number above zero"),
        ({"pids_limit": -1}, "'pids_limit' must be a whole number above zero"),
        ({"user": ""}, "'user' must be text"),
        ({"working_dir": "data"}, "'working_dir' must be an absolute path"),
        ({"entrypoint": "sh -c"}, "'entrypoint' must be a list of words"),
        ({"read_only": "yes"}, "'read_only' must be true or false"),
        ({"volumes": "data:/data"}, "'volumes' must be a list of source:/path"),
        ({"volumes": ["data"]}, "'volumes' must be source:/path or source:/path:ro"),
        ({"volumes": ["data:relative"]}, "'volumes' must be source:/path"),
        ({"volumes": ["data:/data:exec"]}, "'volumes' must be source:/path"),
        ({"volumes": [7]}, "'volumes' must be source:/path"),
        ({"volumes": ["a:/x", "a:/y"]}, "every source once"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError) as refused:
        created(**options)
    assert said in str(refused.value)


def test_a_named_volume_belongs_to_the_run() -> None:
    first = read_options({"volumes": ["data:/d", "cache:/c:ro"]}, Settings(), "run-1", [])
    again = read_options({"volumes": {"data": "/elsewhere"}}, Settings(), "run-1", [])
    other = read_options({"volumes": {"data": "/d"}}, Settings(), "run-2", [])
    data, cache = first.create["volumes"]
    assert first.create["volumes"] == {data: {"bind": "/d", "mode": "rw"}, cache: {"bind": "/c", "mode": "ro"}}
    assert first.volumes == {data, cache}
    assert again.volumes == {data}
    assert other.volumes.isdisjoint(first.volumes)
    assert data.startswith("data_")
