"""Fuzz templates: whatever the text and the data, only ExpressionError may come out, and data is never re-rendered.

python tests/fuzz/fuzz_templates.py -max_total_time=60        (needs the extra "fuzz")
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["highway_core"]):
    from highway_core.engine.data import DataView, LoopFrame
    from highway_core.engine.references import MISSING
    from highway_core.engine.state import WorkflowState
    from highway_core.engine.templates import compile_value, malformed_in, references_in
    from highway_core.errors import ExpressionError

PIECES = (
    "{{", "}}", "{", "}", "{{a}}", "{{ b.c }}", "{{a[0]}}", "{{a[-1].x}}", '{{a["x y"]}}', "{{item.length}}",
    "{{variables.a}}", "{{secrets.S}}", "{{results.r.0}}", "{{run.id}}", '{{ "{{" }}', ".", "[", "]", '"', "'", "|",
    " ", "\n", "-", "0", "a", "ü", "x", "length", "%", "\x00",
)  # fmt: skip
SECRET = "hunter2-hunter2"


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    values = {name: value(provider, 3) for name in "abc"}
    view = DataView(
        values, {"i": 1}, {"r": value(provider, 2)}, {}, {}, [LoopFrame("each", values["a"], 0)], run={"id": "r"}
    )
    if provider.ConsumeBool():
        text = "".join(provider.PickValueInList(list(PIECES)) for _ in range(provider.ConsumeIntInRange(0, 20)))
    else:
        text = provider.ConsumeUnicode(300)
    check([{"k": text}], view)
    state = WorkflowState(values)
    state.variables["hidden"] = SECRET
    if "hidden" not in text and "variables" not in text:
        assert SECRET not in str(state.resolve_templating(text)), "data was rendered as a template"
    assert state.get_value_from_path(text) is not MISSING


def check(template: list[dict[str, str]], view: DataView) -> None:
    problems = malformed_in(template)
    try:
        compiled = compile_value(template)
    except ExpressionError as error:
        assert problems and len(str(error)) < 2_000
        return
    assert not problems
    assert len(references_in(template)) == len(compiled.references)
    try:
        first = compiled.resolve(view)
    except ExpressionError as error:
        assert len(str(error)) < 5_000
        return
    assert repr(first) == repr(compiled.resolve(view))


def value(provider: atheris.FuzzedDataProvider, depth: int) -> object:
    match provider.ConsumeIntInRange(0, 6 if depth else 4):
        case 0:
            return None
        case 1:
            return provider.ConsumeInt(8)
        case 2:
            return "{{variables.hidden}}{{hidden}}"
        case 3:
            return provider.ConsumeUnicode(12)
        case 4:
            return provider.ConsumeBool()
        case 5:
            return [value(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 3))]
        case _:
            return {provider.PickValueInList(["x", "x y", "c", "0", "length"]): value(provider, depth - 1)}


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
