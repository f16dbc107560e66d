"""The YAML reader: round trips, positions, aliases that stay within bounds, and every problem with its position."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from highway_core.engine import yaml_builder
from highway_core.engine.source_document import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_PROBLEMS
from highway_core.engine.yaml_reader import read_yaml
from highway_core.errors import DocumentError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# Strings that PyYAML leaves without quotes although YAML 1.2 calls them numbers; its own reader would not.
NUMBER_OF_1_2_ONLY = re.compile(r"0o[0-7]+|[-+]\.[0-9]+([eE].*)?|[-+]?([0-9]+\.[0-9]*|\.[0-9]+)[eE][0-9]+")
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.text("0123456789.eExXob+-_:~yn ", max_size=6),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
).filter(lambda value: not any(NUMBER_OF_1_2_ONLY.fullmatch(text) for text in texts(value)))
DOCUMENTS = st.dictionaries(TEXT, PLAIN, max_size=5)


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in texts(item))]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read_yaml(text, "flow.yaml")
    return [str(problem) for problem in caught.value.problems]


def problem(text: str | bytes) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


# Round trips


@given(DOCUMENTS, st.booleans())
def test_what_pyyaml_writes_is_read_back(document: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow)
    assert read_yaml(text).data == document
    assert read_yaml(text.encode()).data == document


@given(DOCUMENTS)
def test_a_position_is_where_its_key_or_item_is_written(document: dict[str, Any]) -> None:
    text = yaml.safe_dump({"top": document}, width=10_000)
    read = read_yaml(text, "f.yaml")

    def check(value: Any, place: list[str | int]) -> None:
        _, line, column = read.position(place).split(":")
        rest = text.split("\n")[int(line) - 1][int(column) - 1 :]
        if place and isinstance(place[-1], str) and place[-1].isalnum() and place[-1].isascii():
            assert rest.lstrip("'\"? ").startswith(place[-1])
        assert rest
        for key, item in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            check(item, [*place, key])

    check(read.data, [])


def test_the_python_parser_of_pyyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_builder, "_Parser", yaml.SafeLoader)
    read = read_yaml("a: &x [1, no, 'é']\nb: *x\nc: {<<: {d: 1}, e: 2}\n", "f.yaml")
    assert read.data == {"a": [1, "no", "é"], "b": [1, "no", "é"], "c": {"d": 1, "e": 2}}
    assert read.position(["c", "e"]) == "f.yaml:3:17"
    assert problem('a: "\\ud800"') == (
        "flow.yaml:1:4 a: an escape stands for NUL or half a surrogate pair, which cannot be stored"
    )
    for escape in ("\\UFFFFFFFF", "\\U00110000"):
        assert "a: this is not YAML: " in problem(f'a: "{escape}"')


# Positions

SAMPLE = """# a comment
name: demo
tasks:
  fetch:
    args: [one, {deep: é}, two]
    kwargs: &shared
      url: x
  store:
    kwargs: *shared
    more:
      <<: *shared
      own: 1
"""


@pytest.mark.parametrize(
    ("place", "position"),
    [
        ([], "2:1"),
        (["name"], "2:1"),
        (["tasks", "fetch"], "4:3"),
        (["tasks", "fetch", "args", 0], "5:12"),
        (["tasks", "fetch", "args", 1, "deep"], "5:18"),
        (["tasks", "fetch", "args", 2], "5:28"),
        (["tasks", "store", "kwargs"], "9:5"),
        (["tasks", "store", "kwargs", "url"], "7:7"),
        (["tasks", "store", "more", "url"], "7:7"),
        (["tasks", "store", "more", "own"], "12:7"),
        (["tasks", "fetch", "retry_policy", "delay"], "4:3"),
        (["tasks", "fetch", "args", 7], "5:5"),
        (["tasks", "nowhere"], "3:1"),
        (["name", "deeper"], "2:1"),
    ],
)
def test_a_position_is_that_of_the_nearest_piece_that_exists(place: list[str | int], position: str) -> None:
    assert read_yaml(SAMPLE, "demo.yaml").position(place) == f"demo.yaml:{position}"
    assert read_yaml(SAMPLE.replace("\n", "\r\n").encode("utf-8-sig"), "x").position(place) == f"x:{position}"


# Aliases


def test_shared_objects_as_the_dsl_writes_them_are_repeated_not_shared() -> None:
    policy = {"delay": "PT5S", "codes": [1, 2]}
    text = yaml.safe_dump({"a": policy, "b": [policy, policy["codes"]]})
    assert "&id001" in text
    data = read_yaml(text).data
    assert data == {"a": policy, "b": [policy, [1, 2]]}
    data["b"][0]["codes"].append(3)
    assert data["a"]["codes"] == [1, 2]
    assert data["b"][1] == [1, 2]


def test_an_alias_may_repeat_a_scalar_or_be_a_key() -> None:
    assert read_yaml("&k name: &v 012\n*k2 : x\n".replace("*k2", "*v") + "c: *v\nd: *k\n").data == {
        "name": "012",
        "012": "x",
        "c": "012",
        "d": "name",
    }


def test_the_newest_anchor_of_a_name_counts() -> None:
    assert read_yaml("a: &x 1\nb: *x\nc: &x 2\nd: *x\n").data == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_merged_keys_give_way_to_own_ones_and_to_earlier_merges() -> None:
    data = read_yaml("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  x: 0\n  <<: [*a, *b]\n  w: 3\n").data
    assert data["c"] == {"x": 0, "y": 1, "z": 2, "w": 3}


def test_a_merged_mapping_can_be_merged_again() -> None:
    data = read_yaml("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n").data
    assert data["c"] == {"x": 1, "y": 2, "z": 3}


def bomb(width: int, levels: int) -> str:
    lines = [f"l0: &l0 [{', '.join(['x'] * width)}]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    assert problem(bomb(9, 9)).endswith("more than 1,000,000 values, those counted that aliases repeat")


def test_a_bomb_of_merge_keys_is_refused() -> None:
    keys = ", ".join(f"k{i}: 1" for i in range(100))
    lines = [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 5)}], n{i}: 1}}" for i in range(1, 20)]
    assert "more than 1,000,000 values" in problem(f"m0: &m0 {{{keys}}}\n" + "\n".join(lines))


def test_aliases_cannot_stack_up_depth() -> None:
    lines = ["l0: &l0 [x]"] + [f"l{i}: &l{i} [*l{i - 1}]" for i in range(1, MAX_DEPTH + 1)]
    assert f"nested more than {MAX_DEPTH} levels deep in what the alias" in problem("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]", "flow.yaml:1:8 a[0]: the alias *x stands inside what it repeats"),
        ("a: &x {<<: *x}", "flow.yaml:1:12 a.<<: the alias *x stands inside what it repeats"),
        ("a: *x", "flow.yaml:1:4 a: the alias *x has no anchor before it"),
        ("a: &x [1]\n*x : 2", "flow.yaml:2:1: a key must be a text, not a mapping or a list"),
        ("a:\n  <<: 1", "flow.yaml:2:7 a.<<: << takes a mapping or a list of mappings"),
        ("a: {<<: [{b: 1}, 2]}", "flow.yaml:1:9 a.<<: << takes a mapping or a list of mappings"),
    ],
)
def test_an_alias_that_cannot_be_followed_is_refused(text: str, message: str) -> None:
    assert problem(text) == message


# Documents that are refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "flow.yaml:1:1: the document is empty"),
        (b"\xef\xbb\xbf \n", "flow.yaml:1:1: the document is empty"),
        ("# only a comment\n", "flow.yaml:1:1: the document is empty"),
        ("---\n...\n", "flow.yaml:2:1: the document is empty"),
        ("null", "flow.yaml:1:1: the document is the text 'null'"),
        ("Dear Sir or Madam", "flow.yaml:1:1: the document is the text 'Dear Sir or Madam'"),
        ("- a\n- b\n", "flow.yaml:1:1: the document is a list"),
        ("a: 1\n---\nb: 2\n", "flow.yaml:2:1: a second document begins here"),
        ("a: b: c", "flow.yaml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: 'open", "flow.yaml:1:9 a: this is not YAML: found unexpected end of stream"),
        ("a: {b: 1", "flow.yaml:1:9 a: this is not YAML: did not find expected ',' or '}'"),
        ("%YAML 3.0\n---\na: 1", "flow.yaml:1:1: this is not YAML: found incompatible YAML document"),
        ("a:\n\t- b", "flow.yaml:2:1 a: this is not YAML: found character that cannot start any token"),
        ("a: 1\nb\0: 2", "flow.yaml:2:2: a NUL character does not belong in a document"),
        ("a: \x1b[0m", "flow.yaml:1:4: the control character U+001B does not belong"),
        ("a: \ud800", "flow.yaml:1:4: the control character U+D800 does not belong"),
        (b"a: 1\nb: \xff", "flow.yaml:2:4: the document is not UTF-8: byte 0xff"),
        ("a: 1".encode("utf-16"), "flow.yaml:1:1: the document is not UTF-8: byte 0xff (UTF-16)"),
        (b"\x7fELF\x02\x01\x01\0", "flow.yaml:1:1: the control character U+007F does not belong"),
        ("? [1, 2]\n: x\n", "flow.yaml:1:3: a key must be a text, not a mapping or a list"),
        ("!!python/name:os.system a: 1", "flow.yaml:1:1: the tag !!python/name:os.system is refused"),
        (b"a" * (MAX_BYTES + 1), "flow.yaml:1:1: the document is larger than 32 MiB"),
        ("%TAG !a! b\n" * 101 + "---\na: 1", "flow.yaml:101:1: more than 100 %TAG directives"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_document_that_cannot_be_read_is_refused_with_its_position(text: str | bytes, message: str) -> None:
    assert problem(text).startswith(message)


def test_a_tab_that_indents_is_explained() -> None:
    assert "indent with spaces" in problem("a:\n\tb: 1")
    assert read_yaml("a:\t1\nb: |\n  x\ty\n").data == {"a": 1, "b": "x\ty\n"}


def test_every_duplicate_key_is_reported_in_document_order() -> None:
    assert problems("a: 1\nb: {c: 1, c: 2}\na: 2\nd:\n  - {1: x, '1': y}\na: 3\n<<: {}\n<<: {}\n") == [
        "flow.yaml:2:11 b.c: the key 'c' is there twice, first on line 2",
        "flow.yaml:3:1 a: the key 'a' is there twice, first on line 1",
        "flow.yaml:5:12 d[0].1: the key '1' is there twice, first on line 5",
        "flow.yaml:6:1 a: the key 'a' is there twice, first on line 1",
        "flow.yaml:8:1 <<: the key '<<' is there twice, first on line 7",
    ]


def test_problems_before_a_syntax_error_are_reported_with_it() -> None:
    found = problems("a: 1\na: !x 2\nb: [\n")
    assert [text.split(": ")[1][:12] for text in found] == ["the key 'a' ", "the tag !x i", "this is not "]


def test_reading_goes_on_behind_a_refused_key() -> None:
    assert problems("? {x: [1, 2]}\n: {y: 1, y: 2}\nz: 1\nz: 2\n") == [
        "flow.yaml:1:3: a key must be a text, not a mapping or a list",
        "flow.yaml:2:10 ….y: the key 'y' is there twice, first on line 2",
        "flow.yaml:4:1 z: the key 'z' is there twice, first on line 3",
    ]


def test_reading_stops_when_there_are_too_many_problems() -> None:
    found = problems("a: 1\n" * 100_000)
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "too many problems, the rest was not read"


def test_the_deepest_document_is_read_and_one_level_more_is_refused() -> None:
    levels = MAX_DEPTH - 1
    value = read_yaml("a: " + "[" * levels + "]" * levels).data["a"]
    for _ in range(levels - 1):
        (value,) = value
    assert value == []
    found = problem("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert found.startswith(f"flow.yaml:1:{MAX_DEPTH + 3} a[0][0]")
    assert found.endswith(f"nested more than {MAX_DEPTH} levels deep")
    assert len(found) < 300


@pytest.mark.parametrize("start", ["[", "{a: ", "- ", "? "], ids=repr)
def test_however_deep_a_document_is_it_is_refused(start: str) -> None:
    assert problems("a:\n " + start * 100_000)


def test_a_document_of_too_many_values_is_refused() -> None:
    assert problem("a: [" + "1," * MAX_NODES + "]").endswith("those counted that aliases repeat")
