"""Where a value may stand in a shell command, and where it is refused before anything runs."""

from __future__ import annotations

import pytest

from highway_core.errors import ExpressionError
from highway_core.utils.quoting import ShellValue, render_shell, render_words


@pytest.mark.parametrize(
    ("before", "after", "command"),
    [
        ("grep ", " log", r"grep 'it'\''s' log"),
        ("echo 'Dear ", ",'", r"echo 'Dear it'\''s,'"),
        ('echo "Dear ', ',"', r'''echo "Dear "'it'\''s'","'''),
    ],
)
def test_a_value_is_written_for_the_quotes_that_it_stands_in(before: str, after: str, command: str) -> None:
    assert render_shell([before, ShellValue("it's"), after]) == command


def test_a_command_without_values_is_left_as_it_is() -> None:
    command = "for f in *; do echo \"$(basename \"$f\")\" `date` <<'X' ${y:-'z'}; done # don't"
    assert render_shell([command]) == command


@pytest.mark.parametrize(
    ("before", "where"),
    [
        ("echo \\", "right after a backslash"),
        ('echo "\\', "right after a backslash"),
        ("echo $", "right after a $"),
        ("echo `cat ", "backquotes"),
        ('echo "`cat ', "backquotes"),
        ("echo ${x:-", "${ … }"),
        ('echo "${x:-', "${ … }"),
        ("echo ${x:-'", "${ … }"),
        ("cat <<EOF\n", "here-document"),
        ("cat <<'EOF'\na\nEOF\necho ", "here-document"),
        ("cat <<-EOF | grep ", "here-document"),
        ("echo $((1 + ", "whole number"),
        ('echo "$((', "whole number"),
        ("((x = ", "(("),
        ("x=(a ", "array"),
        ("echo $\\\n", "cuts in two"),
        ("echo $[1 + ", "$["),
        ("echo $'a\\'b' ", "$'"),
        ("echo \"${x%'}'}\" ", "double quotes"),
        ("echo $( (a) 'b' $((c) 'd') ) ", "arithmetic"),
        ('echo "$(case a in a) echo b;; esac)" \'', "case"),
    ],
)
def test_a_value_is_refused_where_nothing_could_keep_it_a_value(before: str, where: str) -> None:
    with pytest.raises(ExpressionError, match="environment variable") as refused:
        render_shell([before, ShellValue("x"), "\nEOF"])
    assert where in str(refused.value)


@pytest.mark.parametrize("value", ["1.5", "0x10", "010", "1 + 1", "", "a[0]", "１"])
def test_only_a_plain_whole_number_may_stand_in_arithmetic(value: str) -> None:
    with pytest.raises(ExpressionError, match="whole number"):
        render_shell(["echo $((", ShellValue(value), "))"])


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_command_can_hold_is_refused(value: str) -> None:
    for render in (render_shell, render_words):
        with pytest.raises(ExpressionError, match="cannot be given to a command"):
            render(["echo ", ShellValue(value)])


def test_a_literal_that_is_cut_in_two_is_read_as_one() -> None:
    assert render_shell(["echo \\", "' ", ShellValue("x")]) == "echo \\' 'x'"
    with pytest.raises(ExpressionError, match="here-document"):
        render_shell(["cat <", "<EOF\n", ShellValue("x")])


def test_a_document_can_be_checked_with_a_value_that_stands_for_any() -> None:
    assert render_shell(["echo $((1 + ", ShellValue("0"), "))"]) == "echo $((1 + 0))"
    with pytest.raises(ExpressionError, match="backquotes"):
        render_shell(["echo `cat ", ShellValue("0"), "`"])


def test_words_know_quotes_and_backslashes_and_no_dollar() -> None:
    assert render_words(["a `b` <<c ${d} ", ShellValue("e f")]) == "a `b` <<c ${d} 'e f'"
    with pytest.raises(ExpressionError, match="backslash"):
        render_words(["a \\", ShellValue("b")])
