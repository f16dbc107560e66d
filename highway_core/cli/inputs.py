"""The inputs of a run: ``--var key=value``.

The value is JSON if it can be read as JSON (``3``, ``true``, ``null``, ``[1, 2]``, ``"3"``), else the text itself. A
``--var`` wins over ``--vars-file``, and over an earlier one of the same name.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import Any, NoReturn


def parse_var(text: str) -> tuple[str, Any]:
    """The name and the value of one ``--var``."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ArgumentTypeError(f"{text!r} is not of the form key=value")
    return name.strip(), _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
