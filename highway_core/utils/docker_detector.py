"""Tells whether this process runs inside a container."""

from __future__ import annotations

from pathlib import Path

_MARKER_FILES = (".dockerenv", "run/.containerenv")
_MARKER_WORDS = ("docker", "containerd", "kubepods", "libpod")


def is_running_in_docker(root: Path = Path("/")) -> bool:
    """True in a Docker, Podman or Kubernetes container; ``root`` is where the file system begins."""
    if any((root / name).exists() for name in _MARKER_FILES):
        return True
    try:
        # Of process 1, not of this one: a shell of the host may itself live in the cgroup of the Docker service.
        groups = (root / "proc/1/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(word in groups for word in _MARKER_WORDS)
