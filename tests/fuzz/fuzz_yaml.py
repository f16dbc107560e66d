"""Fuzz the YAML and the JSON reader: whatever the bytes, only DocumentError may come out, and soon.

python tests/fuzz/fuzz_yaml.py -max_total_time=60        (needs the extra "fuzz")
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["highway_core", "yaml"]):
    from highway_core.engine.source_document import MAX_DEPTH, MAX_NODES, SourceDocument
    from highway_core.engine.yaml_reader import read_json, read_yaml
    from highway_core.errors import DocumentError
    from highway_core.utils.json_values import is_deeper

PIECES = (
    "name: ", "a", "b", "a: ", "'a': ", '"b": ', "1: ", "<<: ", "*x", "&x ", "&y ", "*y", "*x : ", "[", "]",
    "{", "}", ", ", "- ", "? ", ": ", "\n", "\n  ", "\n    ", "\r\n", "\t", " ", "#c\n", "---\n", "...\n",
    "%TAG ! x\n", "%YAML 1.2\n", "!!str ", "!!int ", "!!float ", "!!python/tuple ", "! ", "!<x> ", "|\n  ",
    ">-\n  ", '"', "'", "\\n", "\\0", "\\ud800", '"\\u00e9"', "true", "no", "null", "~", "012", "1:30", "0x1f",
    "0o7", "1.5", "1e3", ".inf", ".nan", "9" * 30, "é", "\u2028", "\ufeff", "\x85", "😀", "&z [*x, *x, *x]\n",
    "x: &x {a: [1, 2]}\n", "m: {<<: [*x, *y]}\n",
)  # fmt: skip
JSON_PIECES = (
    "{", "}", "[", "]", ",", ":", '"a"', '"b"', '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"', "NaN",
    "-Infinity", "1e999", "-0", "1.5E-3", "true", "null", "\n", " ", "\t", '"', "\\", "9" * 40, "é",
)  # fmt: skip


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    kind = provider.ConsumeIntInRange(0, 3)
    if kind == 0:
        check_yaml(provider.ConsumeBytes(4_000))
    elif kind == 1:
        check_json(provider.ConsumeBytes(4_000))
    elif kind == 2:
        check_yaml(pieced(provider, PIECES))
    else:
        check_json(pieced(provider, JSON_PIECES))


def pieced(provider: atheris.FuzzedDataProvider, pieces: tuple[str, ...]) -> str:
    return "".join(provider.PickValueInList(list(pieces)) for _ in range(provider.ConsumeIntInRange(0, 80)))


def check_yaml(text: str | bytes) -> None:
    try:
        document = read_yaml(text, "f.yaml")
    except DocumentError as error:
        check_error(error)
    else:
        check(document)


def check_json(text: str | bytes) -> None:
    try:
        document = read_json(text, "f.json")
    except DocumentError as error:
        check_error(error)
    else:
        check(document)
        assert document.data == json.loads(text)


def check_error(error: DocumentError) -> None:
    assert error.problems
    for problem in error.problems:
        assert len(str(problem)) < 2_000, "a message must stay readable"
        str(problem).encode()


def check(document: SourceDocument) -> None:
    assert type(document.data) is dict
    assert not is_deeper(document.data, MAX_DEPTH)
    json.dumps(document.data, ensure_ascii=False).encode()
    nodes = 0
    seen: set[int] = set()
    todo: list[tuple[list[str | int], object]] = [([], document.data)]
    while todo:
        place, value = todo.pop()
        nodes += 1
        if nodes < 50:
            _, line, column = document.position(place).split(":")
            assert int(line) >= 1 <= int(column)
        if isinstance(value, dict | list):
            assert id(value) not in seen, "nothing may be shared"
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [([*place, key], item) for key, item in items]
    assert nodes <= MAX_NODES


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
