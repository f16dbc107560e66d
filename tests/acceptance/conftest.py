"""What acceptance tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import CommandLine


@pytest.fixture
def highway(tmp_path: Path) -> CommandLine:
    """The command line, in a folder of its own."""
    return CommandLine(tmp_path)
