"""A value placed into a shell command arrives byte for byte and is never obeyed: checked by asking real shells."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from highway_core.errors import ExpressionError
from highway_core.utils.quoting import ShellValue, render_shell, render_words

SHELLS = [shell for shell in ("/bin/sh", shutil.which("bash"), shutil.which("busybox")) if shell]

PAYLOADS = [
    "",
    " ",
    "plain",
    "two words",
    "x; touch canary",
    "x && touch canary",
    "x || touch canary",
    "x | touch canary",
    "x & touch canary &",
    "$(touch canary)",
    "`touch canary`",
    "${IFS}touch${IFS}canary",
    "$HOME",
    "~",
    "~root",
    "*",
    "?[a-z]*",
    "{a,b}{1..3}",
    "'",
    "''",
    '"',
    '""',
    "'\"'\"'",
    "it's",
    "'; touch canary; '",
    '"; touch canary; "',
    "'$(touch canary)'",
    "\\",
    "\\\\",
    "\\'; touch canary; \\'",
    '\\"; touch canary; \\"',
    "trailing\\",
    "\n",
    "line\ntouch canary\n",
    "\r\n",
    "\ttab\t",
    "-rf",
    "--help",
    "-n",
    "!!",
    "!touch",
    "#comment",
    "a #b",
    "> canary",
    "< /etc/passwd",
    "<<EOF\ntouch canary\nEOF",
    "<(touch canary)",
    "%s%n\\x41\\0101",
    "$'\\x27; touch canary'",
    "$((1/0))",
    "a[$(touch canary)]",
    "é–漢字🛣️",
    "\u0081\u0088\u00a0\u2028",
    "\x01\x1b[31m\x7f",
    "case x in esac) touch canary",
    "\nEOF\ntouch canary",
    "=cmd|' /C calc'!A0",
    "{{variables.secret}}",
    "x" * 5_000 + "'" * 50,
]

# The author's text around the value, and what the shell prints around it.
POSITIONS = {
    "bare": ("printf %s ", "", "", ""),
    "bare, glued to a word": ("printf %s pre=", "-post", "pre=", "-post"),
    "single quotes": ("printf %s 'pre ", " post'", "pre ", " post"),
    "double quotes": ('printf %s "pre ', ' post"', "pre ", " post"),
    "after a $ in double quotes": ('printf %s "pre $', ' post"', "pre $", " post"),
    "after an escaped quote": ('printf %s "a\\"', '\\"b"', 'a"', '"b'),
    "assignment": ("X=", '; printf %s "$X"', "", ""),
    "command substitution": ("printf %s \"$(printf '<%s>' ", ')"', "<", ">"),
    "quotes in a command substitution in quotes": ('printf %s "<$(printf %s "', '")>"', "<", ">"),
    "after a comment with a quote in it": ("# don't\nprintf %s ", "", "", ""),
    "after braces with quotes": ("printf %s ${NONE:-'}'}", "", "}", ""),
    "after arithmetic": ('printf %s "$((1 + (2)))"', "", "3", ""),
    "after a case": ("case a in a) printf %s ", ";; esac", "", ""),
}


def run_shell(shell: str, command: str, cwd: Path | None = None) -> str:
    argv = [shell, "sh", "-c", command] if shell.endswith("busybox") else [shell, "-c", command]
    answer = subprocess.run(argv, capture_output=True, cwd=cwd, check=False, timeout=20)
    assert answer.stderr == b"", answer.stderr
    return answer.stdout.decode()


@pytest.mark.parametrize("position", POSITIONS)
def test_fifty_hostile_values_come_back_byte_for_byte(position: str, tmp_path: Path) -> None:
    before, after, start, end = POSITIONS[position]
    assert len(PAYLOADS) >= 50
    for payload in PAYLOADS:
        # A command substitution drops newlines at its end, whoever wrote them.
        kept = payload.rstrip("\n") if position.startswith("quotes in a command") else payload
        command = render_shell([before, ShellValue(payload), after])
        for shell in SHELLS:
            assert run_shell(shell, command, tmp_path) == start + kept + end, (shell, payload)
    assert list(tmp_path.iterdir()) == []


def test_several_values_side_by_side_stay_apart(tmp_path: Path) -> None:
    for first, second in zip(PAYLOADS, reversed(PAYLOADS), strict=True):
        parts = ["printf '%s|' ", ShellValue(first), " ", ShellValue(second), ShellValue(first)]
        assert run_shell(SHELLS[0], render_shell(parts), tmp_path) == f"{first}|{second}{first}|"


def test_a_value_in_a_comment_cannot_leave_it(tmp_path: Path) -> None:
    for payload in PAYLOADS:
        for shell in SHELLS:
            command = render_shell(["printf a # ", ShellValue(payload), " don't\nprintf b"])
            assert run_shell(shell, command, tmp_path) == "ab"
    assert list(tmp_path.iterdir()) == []


def test_a_value_does_not_end_the_comment_that_an_author_began_earlier() -> None:
    command = render_shell(["printf a; # it's ", ShellValue("one\ntwo"), "\nprintf ", ShellValue("c d")])
    assert run_shell("/bin/sh", command) == "ac d"


@pytest.mark.parametrize(("value", "printed"), [("7", "12"), ("-7", "-2"), ("0", "5")])
def test_a_whole_number_may_stand_in_arithmetic(value: str, printed: str) -> None:
    for shell in SHELLS:
        assert run_shell(shell, render_shell(["printf %s $((5+", ShellValue(value), "))"])) == printed


TOKENS = [
    *"'\"\\$()`#{} \n\t;&|<!-a",
    "<<",
    "<<-E\n",
    "E\n",
    "$(",
    "${",
    "$((",
    "((",
    "))",
    "$'",
    '$"',
    "$[",
    "${x:-",
    "case a in a) ",
    ";; esac",
    "if a; then ",
    "\\\n",
    "x=",
    "printf ",
]
HOSTILE = [
    "$(: >canary)",
    "`: >canary`",
    "'; : >canary; '",
    '"; : >canary; "',
    "\n: >canary\n",
    "\nE\n: >canary\n",
    "(: >canary)",
    "{ : >canary; }",
    "); : >canary; (",
    "}; : >canary; {",
    "\\'; : >canary; '",
    "a[$(: >canary)]",
    "'\"`$(: >canary)`\"'",
    "x\\",
    "0",
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    literals=st.lists(st.lists(st.sampled_from(TOKENS), max_size=8).map("".join), min_size=2, max_size=4),
    values=st.lists(st.sampled_from(HOSTILE), min_size=3, max_size=3),
)
def test_whatever_the_author_wrote_no_value_is_obeyed(literals: list[str], values: list[str], tmp_path: Path) -> None:
    parts: list[str | ShellValue] = [literals[0]]
    for literal, value in zip(literals[1:], values, strict=False):
        parts += [ShellValue(value), literal]
    try:
        command = render_shell(parts)
    except ExpressionError:
        return
    for shell in SHELLS:
        argv = [shell, "sh", "-c", command] if shell.endswith("busybox") else [shell, "-c", command]
        subprocess.run(argv, cwd=tmp_path, env={"PATH": "/nowhere"}, capture_output=True, check=False, timeout=20)
        assert list(tmp_path.iterdir()) == [], (shell, parts)


def test_words_that_python_splits_come_back_byte_for_byte() -> None:
    for payload in PAYLOADS:
        parts = ["run ", ShellValue(payload), " 'a ", ShellValue(payload), "' \"b $", ShellValue(payload), '"']
        assert shlex.split(render_words(parts)) == ["run", payload, f"a {payload}", f"b ${payload}"]


def test_a_number_placed_into_words_changes_nothing_of_them() -> None:
    parts = ['docker run sh -c "echo $((', ShellValue("6"), " * ", ShellValue("7"), '))"']
    assert shlex.split(render_words(parts)) == ["docker", "run", "sh", "-c", "echo $((6 * 7))"]
