"""Fuzz conditions and switches: whatever the text and the data, only ExpressionError may come out, and soon.

python tests/fuzz/fuzz_expressions.py -max_total_time=60        (needs the extra "fuzz")
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["highway_core"]):
    from highway_core.engine.data import DataView, LoopFrame
    from highway_core.engine.expressions import eval_condition, parse_condition, parse_switch
    from highway_core.errors import ExpressionError

PIECES = (
    "{{a}}", "{{b.c[0]}}", "{{item.x}}", "{{secrets.S}}", '{{ "{{" }}', "'x{{a}}'", "'t'", "\"\\\"\"", "12", "1.5e3",
    ".5", "true", "None", "word", "a-b", " and ", " or ", " not ", " in ", " not in ", "==", "!=", "<", "<=", ">",
    ">=", "+", "-", "*", "/", "//", "%", "(", ")", "[", "]", ",", "len(", " ", "\n", "cel:", "{{", "}}", "'", "**",
    "&&", "|", ".", "ü", "\x00",
)  # fmt: skip
VALUES = (
    None,
    True,
    False,
    0,
    -7,
    10**30,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "false",
    "{{b}}",
    [],
    [1, "x", [None]],
    {},
    {"x": {"c": [3]}},
)
SECRET = "hunter2-hunter2"


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    values = {name: provider.PickValueInList(list(VALUES)) for name in "abc"}
    view = DataView(values, {}, {}, {}, {}, [LoopFrame("each", values["a"], 1)], secret=lambda _name: SECRET)
    if provider.ConsumeBool():
        text = "".join(provider.PickValueInList(list(PIECES)) for _ in range(provider.ConsumeIntInRange(0, 24)))
    else:
        text = provider.ConsumeUnicode(400)
    assert eval_condition(text) in {True, False}
    for parse in (parse_condition, parse_switch):
        try:
            parsed = parse(text)
        except ExpressionError as error:
            assert len(str(error)) < 2_000, "a message must stay readable"
            continue
        check(parsed, view)


def check(parsed: object, view: DataView) -> None:
    try:
        if hasattr(parsed, "choose"):
            assert parsed.choose(view, ["x", "True"]) in {"x", "True", None}
            return
        first, second = parsed.evaluate(view), parsed.evaluate(view)
        assert json.dumps(first) == json.dumps(second), "the same data gives the same value"
        assert parsed.is_true(view) in {True, False}
    except ExpressionError as error:
        assert SECRET not in str(error)
    assert SECRET not in getattr(parsed, "explain", lambda _view: "")(view)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
