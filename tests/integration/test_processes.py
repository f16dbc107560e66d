"""Child processes: read, limited, stopped as a whole tree, and never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from highway_core.errors import OutputLimitError, TaskStoppedError, TaskTimeoutError
from highway_core.utils.guardian import Guardian
from highway_core.utils.processes import is_alive, process_identity, run_process
from highway_core.utils.stopping import StopScope
from tests.waiting import eventually, running_with, runs

LIMIT = 10_000_000
ROOT = Path(__file__).parents[2]
EngineStarter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def word() -> str:
    """An argument by which the processes of one test are found."""
    return str(10**9 + int.from_bytes(os.urandom(4)))


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_stdout_stderr_and_exit_code_come_back() -> None:
    result = run_process(["sh", "-c", "echo out; echo err >&2; exit 3"], max_output=LIMIT)
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_death_by_signal_is_a_negative_return_code() -> None:
    assert run_process(["sh", "-c", "kill -9 $$"], max_output=LIMIT).returncode == -9


def test_megabytes_in_and_out_do_not_deadlock() -> None:
    data = b"x" * 4_000_000
    result = run_process(["sh", "-c", "cat; cat /dev/null >&2"], stdin=data, max_output=LIMIT)
    assert len(result.stdout) == len(data)


def test_both_pipes_full_at_once_do_not_deadlock() -> None:
    program = "import sys\nfor _ in range(50):\n sys.stderr.write('e'*40000); sys.stdout.write('o'*40000)"
    result = run_process([sys.executable, "-c", program], max_output=LIMIT)
    assert (len(result.stdout), len(result.stderr)) == (2_000_000, 2_000_000)


def test_a_child_that_does_not_read_its_input_is_no_error() -> None:
    assert run_process(["true"], stdin=b"x" * 1_000_000, max_output=LIMIT).returncode == 0


def test_without_input_the_child_reads_end_of_file() -> None:
    assert run_process(["cat"], max_output=LIMIT).stdout == ""


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run_process(["printf", r"a\377b"], max_output=LIMIT).stdout == "a\ufffdb"


def test_a_given_environment_and_folder_are_used(tmp_path: Path) -> None:
    result = run_process(["sh", "-c", "echo $COLOUR $HOME; pwd"], env={"COLOUR": "red"}, cwd=tmp_path, max_output=LIMIT)
    assert result.stdout == f"red\n{tmp_path}\n"


def test_without_an_environment_the_child_inherits_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    assert run_process(["sh", "-c", "echo $COLOUR"], max_output=LIMIT).stdout == "blue\n"


def test_an_unknown_program_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        run_process(["no-such-program-anywhere"], max_output=LIMIT)


def test_a_timeout_kills_the_grandchildren_too(word: str) -> None:
    started = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"'sh' ran longer than 0\.2 s and was killed"):
        run_process(["sh", "-c", f"sh -c 'sleep {word} & sleep {word}' & wait"], max_output=LIMIT, timeout=0.2)
    assert time.monotonic() - started < 3
    assert eventually(lambda: running_with(word) == [])


OWN_GROUP = 'import os, sys; os.setpgid(0, 0); os.execvp("sleep", ["sleep", sys.argv[1]])'


@pytest.mark.parametrize(
    "script",
    [
        "trap '' TERM; (trap '' TERM; sleep {0}) & while :; do sleep {0}; done",
        "setsid sleep {0} & sleep {0}",
        "(setsid sleep {0} &) ; sleep {0}",
        "set -m; sleep {0} & sleep {0}",
        "kill -STOP $$; sleep {0}",
        "setsid sh -c \"trap '' TERM; sleep {0}; :\" & wait",
        "(env -i " + sys.executable + " -c '" + OWN_GROUP + "' {0} &); sleep {0}",
    ],
    ids=["ignores SIGTERM", "new session", "daemon", "job control", "stopped", "deaf daughter", "no environment"],
)
def test_a_timeout_kills_those_who_try_to_get_away(script: str, word: str) -> None:
    with pytest.raises(TaskTimeoutError):
        run_process(["sh", "-c", script.format(word)], max_output=LIMIT, timeout=0.3)
    assert eventually(lambda: running_with(word) == [])


def test_a_child_may_clean_up_on_sigterm(tmp_path: Path) -> None:
    script = f"trap 'echo bye > {tmp_path}/note; exit 0' TERM; while :; do sleep 0.05; done"
    with pytest.raises(TaskTimeoutError):
        run_process(["sh", "-c", script], max_output=LIMIT, timeout=0.3)
    assert (tmp_path / "note").read_text() == "bye\n"


def test_stopping_the_scope_kills_the_tree_with_the_scopes_reason(word: str) -> None:
    stop = StopScope()
    threading.Thread(
        target=lambda: eventually(lambda: running_with(word)) and stop.stop("the run was cancelled")
    ).start()
    with pytest.raises(TaskStoppedError, match="the run was cancelled"):
        run_process(["sh", "-c", f"sleep {word} & wait"], stop=stop, max_output=LIMIT)
    assert eventually(lambda: running_with(word) == [])


def test_a_scope_that_is_already_stopped_starts_nothing(tmp_path: Path) -> None:
    stop = StopScope()
    stop.stop("too late")
    with pytest.raises(TaskStoppedError, match="too late"):
        run_process(["touch", str(tmp_path / "trace")], stop=stop, max_output=LIMIT)
    assert not (tmp_path / "trace").exists()


def test_endless_output_is_cut_and_the_error_names_the_setting() -> None:
    with pytest.raises(OutputLimitError, match=r"printed more than 100,000 bytes.*HIGHWAY_MAX_OUTPUT_BYTES"):
        run_process(["yes"], max_output=100_000)


def test_who_prints_too_much_may_clean_up_all_the_same(tmp_path: Path) -> None:
    script = f"trap 'sleep 0.1; echo bye > {tmp_path}/note; exit 0' TERM; while :; do echo more; done"
    with pytest.raises(OutputLimitError):
        run_process(["sh", "-c", script], max_output=100)
    assert (tmp_path / "note").read_text() == "bye\n"


def test_output_up_to_the_limit_is_no_error() -> None:
    assert len(run_process(["head", "-c", "100000", "/dev/zero"], max_output=100_000).stdout) == 100_000


def test_a_background_child_that_keeps_the_pipe_open_does_not_hang_us(word: str) -> None:
    started = time.monotonic()
    result = run_process(["sh", "-c", f"sleep {word} & echo done"], max_output=LIMIT)
    assert result.stdout == "done\n"
    assert time.monotonic() - started < 3
    assert eventually(lambda: running_with(word) == [])


def test_what_a_pipeline_in_the_background_writes_last_is_not_lost() -> None:
    result = run_process(["sh", "-c", "(sleep 0.05; echo late) & echo early"], max_output=LIMIT)
    assert result.stdout == "early\nlate\n"


def test_no_descriptor_is_left_open_however_it_ends() -> None:
    run_process(["true"], max_output=LIMIT)
    before = open_descriptors()
    for argv, limit, timeout in ((["true"], LIMIT, None), (["yes"], 10, None), (["sleep", "9"], LIMIT, 0.05)):
        with contextlib.suppress(TaskTimeoutError, OutputLimitError):
            run_process(argv, max_output=limit, timeout=timeout, stop=StopScope(), stdin=b"hello")
    assert open_descriptors() == before


def test_an_identity_is_alive_as_long_as_its_process() -> None:
    program = "from highway_core.utils.processes import process_identity as p; print(p(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        identity = child.stdout.readline().decode().strip()
        assert is_alive(identity) is True
        child.kill()
        assert eventually(lambda: is_alive(identity) is False)
    assert is_alive(identity) is False


def test_a_number_that_was_given_to_another_process_is_not_that_process() -> None:
    host, pid, born = process_identity().split(":")
    assert is_alive(f"{host}:{pid}:{born}") is True
    assert is_alive(f"{host}:{pid}:{born}1") is False


@pytest.mark.parametrize("identity", ["elsewhere:1:2", "", "nonsense", f"{os.uname().nodename}:x:1"])
def test_nothing_can_be_known_of_a_process_elsewhere(identity: str) -> None:
    assert is_alive(identity) is None


ENGINE = """
import os, sys, threading, time
from highway_core.utils.guardian import guardian
from highway_core.utils.processes import run_process
for script in sys.argv[1:]:
    threading.Thread(target=run_process, args=(["sh", "-c", script],), kwargs={"max_output": 1000}).start()
"""
FORK = """
while guardian._process is None:  # a fork in the middle of another thread's start of a process is another story
    time.sleep(0.01)
if os.fork() == 0:
    time.sleep(60)
"""


@pytest.fixture
def start_engine() -> Iterator[EngineStarter]:
    """Starts a process that runs each shell script as a child; whatever is left at the end of the test is killed."""
    engines: list[subprocess.Popen[bytes]] = []

    def start(*scripts: str, program: str = ENGINE) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, *scripts]
        engines.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return engines[-1]

    yield start
    for engine in engines:
        engine.kill()
        engine.wait()


def guardians_of(pid: int) -> list[int]:
    """The guardian ends its command line with the process that it watches."""
    return [found for found in running_with("guardian_main") if command_line(found)[-1] == str(pid)]


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    except OSError:
        return [""]


def test_kill_minus_nine_of_the_engine_leaves_no_child(word: str, start_engine: EngineStarter) -> None:
    scripts = [f"sleep {word} & wait", f"(setsid sleep {word} &); sleep {word}", f"trap '' TERM; sleep {word}; :"]
    engine = start_engine(*scripts)
    assert eventually(lambda: sum(command_line(pid)[0] == "sleep" for pid in running_with(word)) == 4)
    assert eventually(lambda: guardians_of(engine.pid))
    engine.kill()
    engine.wait()
    assert eventually(lambda: running_with(word) == [])
    assert eventually(lambda: guardians_of(engine.pid) == [])


def test_ctrl_c_in_the_engine_kills_the_child_at_once(word: str, start_engine: EngineStarter) -> None:
    program = (
        "import sys\nfrom highway_core.utils.processes import run_process\nrun_process(sys.argv[1:], max_output=9)"
    )
    engine = start_engine("sh", "-c", f"trap '' INT TERM; sleep {word}; :", program=program)
    assert eventually(lambda: running_with(f"sleep\0{word}"))
    engine.send_signal(2)
    assert engine.wait(10) == -2
    assert eventually(lambda: running_with(word) == [])


def test_an_engine_that_ends_by_itself_leaves_no_guardian(start_engine: EngineStarter) -> None:
    engine = start_engine("true")
    assert engine.wait(10) == 0
    assert guardians_of(engine.pid) == []


def ignored_signals(pid: int) -> set[int]:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return {number for number in range(1, 65) if int(line.split()[1], 16) >> (number - 1) & 1}


def test_a_guardian_shrugs_off_the_signals_of_a_terminal(word: str, start_engine: EngineStarter) -> None:
    engine = start_engine(f"sleep {word}")
    assert eventually(lambda: guardians_of(engine.pid) and running_with(f"sleep\0{word}"))
    (guardian,) = guardians_of(engine.pid)
    assert eventually(lambda: ignored_signals(guardian) >= {1, 2, 15})
    for number in (1, 2, 15):
        os.kill(guardian, number)
    engine.kill()
    engine.wait()
    assert eventually(lambda: running_with(word) == [])


def test_a_killed_guardian_is_replaced_and_told_everything(word: str) -> None:
    guardian = Guardian()
    child = subprocess.Popen(["sleep", word], start_new_session=True)
    try:
        guardian.watch_group(child.pid, "no-mark")
        assert eventually(lambda: set(guardians_of(os.getpid())) - {module_guardian()})
        (first,) = set(guardians_of(os.getpid())) - {module_guardian()}
        os.kill(first, 9)
        assert eventually(lambda: not runs(first))
        guardian.watch_group(2**22 + 1, "no-mark")  # nobody has that number
        assert runs(child.pid)
        guardian.close()
        assert eventually(lambda: not runs(child.pid))
    finally:
        child.kill()
        child.wait()


def module_guardian() -> int | None:
    from highway_core.utils.guardian import guardian

    return None if guardian._process is None else guardian._process.pid


def test_the_guardian_is_not_started_by_an_import() -> None:
    program = (
        "import highway_core.utils.processes, os, pathlib\n"
        "print(len(pathlib.Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text()))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT) == b"0\n"


def test_a_fork_of_the_engine_does_not_keep_its_guardian_waiting(word: str, start_engine: EngineStarter) -> None:
    engine = start_engine(f"sleep {word}", program=ENGINE + FORK)
    assert eventually(lambda: len(running_with("os.fork()")) == 2 and running_with(f"sleep\0{word}"))
    (fork,) = set(running_with("os.fork()")) - {engine.pid}
    try:
        engine.kill()
        engine.wait()
        assert eventually(lambda: running_with(f"sleep\0{word}") == [])
    finally:
        os.kill(fork, 9)
