"""The sandbox: programs that want out, by every way that it is said to have; and what an honest one may still do."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from highway_core.engine.executors import sandbox
from highway_core.engine.executors.sandbox import SandboxExecutor
from highway_core.errors import OutputLimitError, TaskError, TaskStoppedError, TaskTimeoutError
from highway_core.tools.context import SandboxRequest, SandboxResult
from highway_core.utils.stopping import StopScope
from tests.tool_context import context_with, settings_with
from tests.waiting import eventually, running_with

Run = Callable[..., SandboxResult]
SECRET = "the-secret-of-the-engine"


def run(code: str, *arguments: str, stop: StopScope | None = None, **request: Any) -> SandboxResult:
    """Run Python code in the sandbox."""
    context = context_with(settings_with(max_output_bytes=100_000, environ={"SECRET": SECRET}), stop=stop)
    argv = (sys.executable, "-I", "-B", "-c", code, *arguments)
    return SandboxExecutor()(SandboxRequest(argv, **{"timeout": 30, **request}), context)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without bubblewrap."""
    sandbox._choose.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    yield
    sandbox._choose.cache_clear()


@pytest.fixture(params=["bubblewrap", "subprocess"])
def isolation(request: pytest.FixtureRequest) -> str:
    """Both ways, one after the other."""
    if request.param == "subprocess":
        request.getfixturevalue("plain")
    else:
        need_bubblewrap()
    return str(request.param)


def need_bubblewrap() -> None:
    if sandbox._isolation().kind != "bubblewrap":
        reason = "bubblewrap is not installed, or may not create namespaces here"
        if os.environ.get("CI") == "true" and shutil.which("bwrap"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def bubblewrap() -> None:
    need_bubblewrap()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the engine's user that the sandbox must not see."""
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a service on this machine; there is one at an abstract UNIX address with that number, too."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        port = server.getsockname()[1]
        abstract.bind(f"\0highway-test-{port}")
        abstract.listen()
        yield port


ESCAPES = Path(__file__).parents[1] / "data" / "escapes"
READS = sorted(path.stem for path in (ESCAPES / "files").iterdir())
CONNECTS = sorted(path.stem for path in (ESCAPES / "network").iterdir())


def attempt(kind: str, way: str, *arguments: str) -> SandboxResult:
    return run((ESCAPES / kind / f"{way}.py").read_text(), *arguments)


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("way", READS)
def test_no_file_of_the_user_can_be_read(way: str, secret: Path) -> None:
    result = attempt("files", way, str(secret), str(os.getpid()))
    assert SECRET not in result.stdout + result.stderr
    assert (result.returncode != 0, result.stdout.strip()) in {(True, ""), (False, "")}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    "way", ["builtin_open", "ctypes_libc", "frame_walk", "function_globals", "shell", "subclasses"]
)
def test_without_bubblewrap_the_same_attempts_succeed(way: str, secret: Path) -> None:
    for folder in (secret, *secret.parents[:3]):
        folder.chmod(0o755)  # nobody may read it as well
    assert SECRET in attempt("files", way, str(secret)).stdout


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize(
    "path", ["/home", "/var", "/etc/shadow", "/etc/passwd", "/boot", "/sys", "/run", "/mnt", "/srv"]
)
def test_no_folder_of_the_machine_is_there(path: str) -> None:
    assert run("import os, sys; print(os.path.exists(sys.argv[1]))", path).stdout == "False\n"


@pytest.mark.usefixtures("bubblewrap")
def test_of_the_home_folder_there_is_at_most_the_way_to_python() -> None:
    seen = run(
        "import os, sys; print(*os.listdir(sys.argv[1]) if os.path.exists(sys.argv[1]) else [])", str(Path.home())
    )
    pythons = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    leading = {path.relative_to(Path.home()).parts[0] for path in pythons if path.is_relative_to(Path.home())}
    assert set(seen.stdout.split()) <= leading


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("way", CONNECTS)
def test_no_network_can_be_reached(way: str, listener: int) -> None:
    result = attempt("network", way, str(listener))
    assert "connected" not in result.stdout
    assert result.returncode != 0


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("way", ["loopback", "abstract_socket"])
def test_without_bubblewrap_the_network_is_open(way: str, listener: int) -> None:
    assert attempt("network", way, str(listener)).stdout == "connected\n"


@pytest.mark.usefixtures("bubblewrap")
def test_no_other_process_is_visible_or_can_be_touched() -> None:
    seen = json.loads(run("import os, json; print(json.dumps([p for p in os.listdir('/proc') if p.isdigit()]))").stdout)
    assert len(seen) <= 3
    killed = run(f"import os; os.kill({os.getpid()}, 9)")
    assert "ProcessLookupError" in killed.stderr
    assert os.getpid() > 3


@pytest.mark.usefixtures("bubblewrap")
def test_the_program_is_nobody_and_may_do_nothing_special() -> None:
    code = """
import json, os
status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
flags = [status[name] for name in ('CapEff', 'CapPrm', 'CapAmb', 'NoNewPrivs')]
print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), *flags]))
"""
    uid, gid, groups, *rest = json.loads(run(code).stdout)
    assert (uid, gid) == (65534, 65534)
    assert set(groups) <= {65534}
    assert rest == ["0" * 16, "0" * 16, "0" * 16, "1"]


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("path", ["/x", "/usr/bin/x", "/dev/x", "/etc/x", f"{sys.prefix}/lib/x", f"{sys.prefix}/x"])
def test_nothing_can_be_written_but_in_the_private_folders(path: str) -> None:
    assert run("import sys; open(sys.argv[1], 'w')", path).returncode != 0
    assert not Path(path).exists()


@pytest.mark.usefixtures("bubblewrap")
def test_private_folders_are_private_empty_and_bounded() -> None:
    code = """
import os
print(os.listdir(), os.listdir('/dev/shm'), end=' ')
open('/tmp/note', 'w').write('x')
try:
    for number in range(100):
        with open(f'/tmp/{number}', 'wb') as file:
            for _ in range(32): file.write(bytes(1 << 20))
except OSError as error: print(error.strerror, number)
"""
    first, again = run(code), run("import os; print(os.path.exists('/tmp/note'))")
    assert first.stdout == "[] [] No space left on device 7\n"
    assert again.stdout == "False\n"
    assert not Path("/tmp/note").exists()


def test_the_environment_is_not_ours(isolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    result = run("import os, json; print(json.dumps(dict(os.environ)))", environ={"COLOUR": "red"})
    names = json.loads(result.stdout)
    assert SECRET not in result.stdout
    assert set(names) <= {"PATH", "HOME", "TMPDIR", "LANG", "COLOUR", "PWD", "LC_CTYPE", "HIGHWAY_PROCESS_TREE"}
    assert names["COLOUR"] == "red"
    assert names["HOME"] != os.environ.get("HOME")
    assert result.isolation == isolation


@pytest.mark.usefixtures("isolation")
def test_no_descriptor_of_ours_is_inherited(secret: Path) -> None:
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        code = (
            "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2])"
        )
        assert "secret" not in run(code).stdout


@pytest.mark.usefixtures("isolation")
def test_a_memory_bomb_fails_by_itself() -> None:
    result = run("x = bytearray(400 * 1024 * 1024); print(len(x))", max_memory=200 * 1024 * 1024)
    assert "MemoryError" in result.stderr
    assert result.returncode == 1


FORK_BOMB = """
import os, sys, time
children = 0
try:
    while children < 1000:
        if os.fork() == 0:
            time.sleep(60)
        children += 1
except OSError as error:
    print(error.strerror, children < 1000)
"""


def test_a_fork_bomb_hits_a_limit_and_leaves_nobody(isolation: str) -> None:
    if isolation == "subprocess" and os.geteuid() == 0 and sandbox._isolation().uid is None:
        pytest.skip("root is not counted, and nobody may not read this Python installation")
    word = str(10**9 + int.from_bytes(os.urandom(4)))
    result = run(FORK_BOMB, word)
    assert result.stdout.strip() == "Resource temporarily unavailable True"
    assert eventually(lambda: running_with(word) == [])


def test_a_daemon_does_not_outlive_its_program(isolation: str) -> None:
    word = str(10**9 + int.from_bytes(os.urandom(4)))
    code = "import subprocess, sys; subprocess.Popen(['setsid', 'sleep', sys.argv[1]], stdout=-3, stderr=-3)"
    assert run(code, word).returncode == 0
    assert eventually(lambda: running_with(word) == [])


@pytest.mark.usefixtures("isolation")
def test_files_processes_and_core_dumps_are_limited() -> None:
    code = """
import resource as r, json
print(json.dumps([r.getrlimit(getattr(r, 'RLIMIT_' + name))[1] for name in ('NOFILE', 'FSIZE', 'CORE', 'CPU')]))
"""
    files, size, core, cpu = json.loads(run(code, timeout=10).stdout)
    assert (files, size, core) == (256, 64 * 1024 * 1024, 0)
    assert 10 <= cpu <= 10 * (os.cpu_count() or 1) + 1


def test_a_timeout_kills_the_program_and_what_it_started(isolation: str) -> None:
    word = str(10**9 + int.from_bytes(os.urandom(4)))
    code = "import subprocess, sys; subprocess.run(['sleep', sys.argv[1]])"
    with pytest.raises(TaskTimeoutError, match=r"'python[0-9.]*' ran longer than 1 s and was killed"):
        run(code, word, timeout=1)
    assert eventually(lambda: running_with(word) == [])


@pytest.mark.usefixtures("isolation")
def test_stopping_the_attempt_kills_the_program() -> None:
    stop, word = StopScope(), str(10**9 + int.from_bytes(os.urandom(4)))
    threading.Thread(
        target=lambda: eventually(lambda: running_with(f"sleep\0{word}")) and stop.stop("cancelled")
    ).start()
    with pytest.raises(TaskStoppedError, match="cancelled"):
        run("import subprocess, sys; subprocess.run(['sleep', sys.argv[1]])", word, stop=stop)
    assert eventually(lambda: running_with(word) == [])


@pytest.mark.usefixtures("isolation")
def test_endless_output_is_cut() -> None:
    with pytest.raises(OutputLimitError, match="printed more than 100,000 bytes"):
        run("while True: print('x' * 1000)")


@pytest.mark.usefixtures("isolation")
def test_an_honest_program_reads_its_input_and_its_files_and_answers(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from the file")
    (tmp_path / "data.txt").chmod(0o600)
    code = """
import sys, pathlib, tempfile
pathlib.Path('mine.txt').write_text('own')
tempfile.TemporaryFile().write(b'x')
print(sys.stdin.read(), pathlib.Path('in.txt').read_text(), pathlib.Path('mine.txt').read_text())
sys.exit(7)
"""
    result = run(code, stdin=b"from us", files={"in.txt": tmp_path / "data.txt"})
    assert (result.returncode, result.stdout, result.stderr) == (7, "from us from the file own\n", "")


@pytest.mark.usefixtures("isolation")
def test_a_file_of_the_request_is_not_changed_by_the_program(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("before")
    code = "import os\ntry: open('in.txt', 'w').write('after')\nexcept OSError: pass\nos._exit(0)"
    run(code, files={"in.txt": tmp_path / "data.txt"})
    assert (tmp_path / "data.txt").read_text() == "before"


@pytest.mark.usefixtures("isolation")
def test_installed_packages_can_be_imported() -> None:
    assert run("import yaml, json, sqlite3, ssl; print(yaml.safe_load('[1]'))").stdout == "[1]\n"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", ""])
def test_a_file_needs_a_name_inside_the_working_folder(name: str, secret: Path) -> None:
    with pytest.raises(TaskError, match="needs a name inside its working folder"):
        run("", files={name: secret})


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="does not exist"):
        run("", files={"x": tmp_path / "missing"})


@pytest.mark.usefixtures("isolation")
def test_an_unknown_program_fails_with_its_name() -> None:
    context = context_with()
    result = SandboxExecutor()(SandboxRequest(("no-such-program",)), context)
    assert result.returncode == 1
    assert "no-such-program: No such file or directory" in result.stderr


@pytest.mark.usefixtures("plain")
def test_without_bubblewrap_a_warning_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [run("print(1)").isolation for _ in range(3)] == ["subprocess"] * 3
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "bubblewrap cannot be used (it is not installed)" in warning
    assert "Install bubblewrap" in warning


def test_a_bubblewrap_that_may_not_make_namespaces_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2\nexit 1\n")
    program.chmod(0o755)
    sandbox._choose.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: str(program))
    try:
        with caplog.at_level(logging.WARNING):
            assert run("print(1)").isolation == "subprocess"
        assert "cannot be used (bwrap: Creating new namespace failed)" in caplog.text
    finally:
        sandbox._choose.cache_clear()
