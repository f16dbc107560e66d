"""Templates: parsed once, bound in one pass, and never more than path lookup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from highway_core.engine.data import DataView
from highway_core.engine.references import MISSING, Reference, parse_reference, walk
from highway_core.engine.templates import MAX_DEPTH, as_text, compile_text, compile_value, malformed_in, references_in
from highway_core.errors import ExpressionError, UnknownReferenceError


def view(**variables: Any) -> DataView:
    return DataView(variables=variables, inputs={}, results={}, outputs={}, memory={})


def resolve(value: Any, **variables: Any) -> Any:
    return compile_value(value).resolve(view(**variables))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("report", ("report",)),
        ("report.id", ("report", "id")),
        ("users.0.name", ("users", 0, "name")),
        ("users[0].name", ("users", 0, "name")),
        ("users[-1]", ("users", -1)),
        ("setup_result.a.b.c[0].d", ("setup_result", "a", "b", "c", 0, "d")),
        ('a["first name"].b', ("a", "first name", "b")),
        ("a['}}']", ("a", "}}")),
        ("variables.first name.x", ("variables", "first name", "x")),
        ("fetch-data.content-type", ("fetch-data", "content-type")),
        ("a.007", ("a", "007")),
        ("a . b", ("a", "b")),
        ("größe.länge", ("größe", "länge")),
    ],
)
def test_a_path_is_read_into_its_steps(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_reference(text).path == path


@pytest.mark.parametrize(
    "text", ["", " ", ".a", "a.", "a..b", "a[", "a[b]", "a[]", "a b|c", "a()", "[0]", '"a"', "a}}"]
)
def test_what_is_not_a_path_is_refused_with_the_supported_forms(text: str) -> None:
    with pytest.raises(ExpressionError, match="Braces hold one path"):
        parse_reference(text)


@pytest.mark.parametrize("value", [7, 1.5, True, None, [1, {"a": 2}], {"b": []}, "text"])
def test_a_string_that_is_one_reference_keeps_the_type_of_the_value(value: Any) -> None:
    assert resolve("{{ x }}", x=value) == value
    assert type(resolve("{{x}}", x=value)) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ({"a": [1, "ü"]}, '{"a": [1, "ü"]}'),
        ([], "[]"),
    ],
)
def test_inside_longer_text_a_value_is_written_as_json_would_and_text_as_it_is(value: Any, text: str) -> None:
    assert resolve("<{{x}}>", x=value) == f"<{text}>"


def test_references_are_filled_in_at_any_depth_and_keys_are_left_alone() -> None:
    value = {"{{x}}": [{"a": ("{{x}}",), "b": ["{{x}}", "no"]}], "n": 3}
    assert resolve(value, x=1) == {"{{x}}": [{"a": ("{{x}}",), "b": [1, "no"]}], "n": 3}


def test_values_are_data_and_are_never_looked_at_for_braces_again() -> None:
    attack = "{{variables.secret}}"
    for template in ("{{x}}", "say {{x}}", ["{{x}}"], {"k": "{{x}}-{{x}}"}):
        bound = resolve(template, x=attack, secret="s3cret")
        assert "s3cret" not in str(bound)
        assert attack in str(bound)


@pytest.mark.parametrize("text", ["{% for x in y %}", "{# no #}", "}} and {", "${HOME}", "{x}", "%(x)s"])
def test_other_template_languages_mean_nothing(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    "path",
    ["x.__class__", "x.keys", "x.__class__.__mro__", "x.s.__len__", "x.l.append", "x.s.upper", "x.s.0", "x.n.real"],
)
def test_a_path_never_reaches_an_attribute(path: str) -> None:
    with pytest.raises(UnknownReferenceError):
        resolve(f"{{{{variables.{path}}}}}", x={"s": "abc", "l": [1], "n": 5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {{x", "not closed"),
        ("{{}}", "names nothing"),
        ("{{  }}", "names nothing"),
        ("{{ x | default(0) }}", "uses a filter"),
        ("{{ x + 1 }}", "is not a reference"),
        ("{{ ''.__class__ }}", "is not a reference"),
        ("{{ x() }}", "is not a reference"),
        ("{{.Names}}", "is not a reference"),
    ],
)
def test_malformed_braces_are_refused_when_the_document_compiles(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        compile_value(text)


def test_a_malformed_text_is_named_with_its_place() -> None:
    with pytest.raises(ExpressionError, match=r'^\[1\]\.url\["a b"\]: .*\{\{x\|y\}\}'):
        compile_value(["ok", {"url": {"a b": "{{x|y}}"}}])


def test_quoted_text_in_braces_stands_for_itself() -> None:
    assert resolve('{{ "{{.Names}}" }} {{x}}', x=1) == "{{.Names}} 1"
    assert resolve("{{ '{{' }}") == "{{"


def test_of_a_row_of_braces_the_last_two_open() -> None:
    assert resolve('{"a":{{{x}}}}', x=1) == '{"a":{1}}'


def test_references_are_listed_with_their_places() -> None:
    found = references_in({"url": "{{a.b}}", "list": ["x", {"k v": "{{c}} {{d}}"}]})
    assert [(place, str(reference)) for place, reference in found] == [
        (".url", "{{a.b}}"),
        ('.list[1]["k v"]', "{{c}}"),
        ('.list[1]["k v"]', "{{d}}"),
    ]
    assert references_in("{{a}}") == [("", Reference(("a",), "a"))]
    assert references_in([1, None, "plain"]) == []


def test_every_malformed_string_is_listed_at_once() -> None:
    wrong = malformed_in(["{{", "{{ok}}", {"x": "{{a|b}}"}])
    assert [place for place, _ in wrong] == ["[0]", "[2].x"]


def test_a_compiled_value_knows_whether_it_is_constant_and_what_it_refers_to() -> None:
    assert compile_value(["a", {"b": 1}]).constant
    compiled = compile_value(["{{a}}", {"b": "x {{c.d}}"}])
    assert not compiled.constant
    assert [reference.text for reference in compiled.references] == ["a", "c.d"]


def test_no_task_can_change_the_documents_or_the_runs_data_through_its_arguments() -> None:
    compiled = compile_value([["constant"], "{{x}}"])
    data = {"list": [1]}
    first = compiled.resolve(view(x=data))
    first[0].append("changed")
    first[1]["list"].append(2)
    assert data == {"list": [1]}
    assert compiled.resolve(view(x=data)) == [["constant"], {"list": [1]}]


def test_text_compiled_as_text_is_text_even_where_it_is_one_reference() -> None:
    assert compile_text("{{x}}").resolve(view(x=5)) == "5"
    assert compile_text("plain").constant


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(ExpressionError, match="nested deeper than 200"):
        compile_value(value)
    with pytest.raises(ExpressionError, match="nested deeper than 200"):
        references_in(value)


def test_a_result_too_deep_to_copy_or_to_write_is_an_error_and_not_a_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for template in ("{{x}}", "text {{x}}"):
        with pytest.raises(ExpressionError):
            resolve(template, x=deep)
    while deep:
        deep = deep[0]


def test_a_text_cannot_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("highway_core.engine.templates.MAX_TEXT", 100)
    assert resolve("{{x}}{{x}}", x="a" * 50) == "a" * 100
    with pytest.raises(ExpressionError, match="longer than 100 characters"):
        resolve("{{x}}{{x}}.", x="a" * 50)


def test_an_integer_too_long_to_write_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ExpressionError, match="cannot be written as text"):
        as_text(10**10_000)


def test_steps_walk_dicts_lists_and_lengths_only() -> None:
    data = {"a": [{"b": 1}, "xyz"], "length": "a key", "1": "one"}
    assert walk(data, ("a", 0, "b"), 0) == 1
    assert walk(data, ("a", "length"), 0) == 2
    assert walk(data, ("a", 1, "length"), 0) == 3
    assert walk(data, ("length",), 0) == "a key"
    assert walk(data, (1,), 0) == "one"
    assert walk({}, ("length",), 0) == 0
    for path in (("a", 2), ("a", -3), ("a", "x"), ("a", 0, "b", "c"), ("nope",), ("a", 1, "length", "x")):
        assert walk(data, path, 0) is MISSING


@given(value=json_values)
def test_whatever_the_value_one_reference_gives_it_back_unchanged(value: Any) -> None:
    assert resolve("{{x}}", x=value) == value


@given(value=json_values)
def test_whatever_the_value_text_around_it_stays_and_nothing_is_rendered_twice(value: Any) -> None:
    assert resolve("[{{x}}]", x=value, secret="never") == f"[{as_text(value)}]"


@given(value=json_values)
def test_a_value_without_braces_compiles_to_itself(value: Any) -> None:
    if "{{" not in str(value):
        assert compile_value(value).resolve(view()) == value


@given(text=st.text(alphabet="{}[]\"'.|a0 -\n", max_size=40))
def test_any_text_compiles_or_is_refused_and_the_two_readers_agree(text: str) -> None:
    class Everything:
        def find(self, reference: Reference) -> Any:
            return "v"

        lookup = find

        def context(self) -> Mapping[str, Any]:
            return {}

    try:
        compiled = compile_value(text)
    except ExpressionError:
        assert malformed_in(text)
        return
    assert malformed_in(text) == []
    assert [reference for _, reference in references_in(text)] == list(compiled.references)
    assert isinstance(compiled.resolve(Everything()), str)


@given(st.lists(st.integers(0, 10**17) | st.text(min_size=1).filter(lambda key: '"' not in key), max_size=5))
def test_any_path_can_be_written_with_brackets_and_reads_back(steps: list[str | int]) -> None:
    text = "root" + "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in steps)
    assert parse_reference(text).path == ("root", *steps)
