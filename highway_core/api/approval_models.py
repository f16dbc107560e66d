"""What the routes about approvals take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from highway_core.api.bodies import Answer, Query, Strict
from highway_core.persistence.approval_store import MAX_COMMENT, Approval


class LinkQuery(BaseModel):
    """What stands in a link. What mail programs add to links does no harm."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    token: str | None = None
    decision: str | None = None
    comment: str | None = Field(None, max_length=MAX_COMMENT)


class ReceiptQuery(BaseModel):
    """Where the page of a decision leads to when it is taken."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    receipt: str = ""


class LinkBody(Strict):
    """A decision by token, as JSON."""

    token: str | None = None
    decision: str | None = None
    comment: str | None = Field(None, max_length=MAX_COMMENT)


class CommentBody(Strict):
    """Why."""

    comment: str | None = Field(None, max_length=MAX_COMMENT)


class DecideBody(CommentBody):
    """One of the choices of the approval, and why."""

    decision: str


class ListQuery(Query):
    """Which of the open approvals."""

    workflow_id: str | None = None
    assignee: str | None = None
    limit: int = Field(100, ge=1, le=1_000)
    cursor: str | None = None


class ApprovalAnswer(Answer):
    """One approval. Its token is nobody's business but the assignee's."""

    key: str
    """What ``/api/v1/approvals/<key>/…`` takes."""
    workflow_id: str
    workflow_name: str
    task_id: str
    status: str
    prompt: str
    assignee: str
    choices: list[str]
    created_at: datetime
    expires_at: datetime | None
    decision: str | None
    decided_at: datetime | None
    decided_by: str | None
    decided_via: str | None
    comment: str | None


class ApprovalData(Answer):
    """One approval."""

    data: ApprovalAnswer


class ApprovalList(Answer):
    """Open approvals, the oldest first; ``next_cursor`` leads to the next page."""

    data: list[ApprovalAnswer]
    next_cursor: str | None


class Decided(Answer):
    """The decision that was taken by a link; ``status`` is that of the task, which a worker takes up now."""

    message: str
    workflow_id: str
    task_id: str
    status: str
    decision: str
    decided_at: datetime
    decided_by: str
    comment: str | None


def answer_of(approval: Approval) -> ApprovalAnswer:
    """An approval as clients see it."""
    return ApprovalAnswer(
        key=approval.approval_id,
        workflow_id=approval.run_id,
        workflow_name=approval.workflow_name,
        task_id=approval.task_id,
        status=approval.status,
        prompt=approval.prompt,
        assignee=approval.assignee,
        choices=list(approval.choices),
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        decision=approval.decision,
        decided_at=approval.decided_at,
        decided_by=approval.decided_by,
        decided_via=approval.decided_via,
        comment=approval.comment,
    )
