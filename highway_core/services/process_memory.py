"""How the process of a worker keeps its memory: what Python and the C library do by themselves suits other programs."""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As ``malloc.h`` of glibc has them."""
_LARGE_BLOCK = 256 * 1024
_MOST_SPARE = 8 * 1024 * 1024


def keep_memory() -> None:
    """Call it once everything is imported."""
    _rest_from_collecting()
    _give_large_blocks_back()


def _rest_from_collecting() -> None:
    """Have the garbage collector look rarely: images free themselves (``Image.dispose``), and going through thousands
    of them again and again took a third of a worker's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _give_large_blocks_back() -> None:
    """Have large results returned to the system when they are freed. glibc would soon cut them out of the same heaps,
    one for each few threads, as small objects, between which the room that they leave stays: half as much again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # not every C library has it
        mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_TRIM_THRESHOLD, _MOST_SPARE)
