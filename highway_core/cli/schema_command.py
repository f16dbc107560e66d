"""``schema``: the JSON Schema of a workflow document, for editors and other tools."""

from __future__ import annotations

from argparse import Namespace

from highway_core.cli.document_schema import document_schema
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output


def run(_options: Namespace, output: Output) -> int:
    """Prints it; the exit code is 0."""
    output.say(as_text(document_schema()))
    return 0
