"""The virtual environments of those that Highway is compared with: made once, kept, recorded with their versions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "highway-benchmark-venvs"


def environment(venvs: Path, name: str, packages: Sequence[str]) -> str:
    """The Python of the virtual environment of a peer; made if it is missing or was made for other packages."""
    folder = venvs / name
    python, finished = folder / "bin" / "python", folder / "finished"
    wanted = "\n".join(packages)
    if not finished.is_file() or finished.read_text() != wanted:
        print(f"Installing {name} into {folder} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        finished.write_text(wanted)
    return str(python)
