"""Previews of decisions by document and task, remembered: compiling a document takes milliseconds or more."""

from __future__ import annotations

import threading
from collections import OrderedDict

from highway_core.engine.decision_preview import Preview, preview_decisions
from highway_core.engine.loader import EVERY_NAME, compile_document, read_text
from highway_core.errors import DocumentError
from highway_core.persistence.approval_store import Approval
from highway_core.persistence.run_reads import RunReads

_MOST_REMEMBERED = 256


class Previews:
    """Thread-safe."""

    def __init__(self, reads: RunReads) -> None:
        self._reads = reads
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, tuple[str, ...]], Preview | None] = OrderedDict()

    def of(self, approval: Approval) -> Preview | None:
        """What deciding leads to, as far as the document tells; None if it is of no help."""
        if approval.definition_hash is None:
            return None
        wanted = (approval.definition_hash, approval.task_id, approval.choices)
        with self._lock:
            if wanted in self._known:
                self._known.move_to_end(wanted)
                return self._known[wanted]
        preview = self._compiled(*wanted)
        with self._lock:
            self._known[wanted] = preview
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return preview

    def _compiled(self, definition_hash: str, task_id: str, choices: tuple[str, ...]) -> Preview | None:
        text = self._reads.definition(definition_hash)
        if text is None:
            return None
        try:
            workflow, _ = compile_document(read_text(text, definition_hash), inputs=EVERY_NAME)
        except DocumentError:  # it ran under another version, or needs an extra that this process lacks
            return None
        return preview_decisions(workflow, task_id, choices)
