"""What any operator may carry: retry, timeout, circuit breaker, guards; and what all parts of a document share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from highway_core.utils.durations import parse_duration

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class DocumentPart(BaseModel):
    """Anything in a document: nulls count as absent, unknown keys are kept."""

    model_config = ConfigDict(extra="allow", use_enum_values=False)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Other spellings of a field (the published SDK's, older releases') → the field."""

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {key: value for key, value in data.items() if value is not None}
        for other, name in cls.renamed.items():
            if other in kept and name not in kept:
                kept[name] = kept.pop(other)
        return kept


class RetryPolicy(DocumentPart):
    """``max_retries`` further attempts; the n-th waits ``delay × backoff_factor^(n-1)``."""

    renamed: ClassVar[Mapping[str, str]] = {
        "initial_interval_seconds": "delay",
        "retry_delay": "delay",
        "backoff_coefficient": "backoff_factor",
        "backoff": "backoff_factor",
    }

    max_retries: int = Field(3, ge=0)
    delay: Duration = timedelta(seconds=5)
    backoff_factor: float = Field(2.0, ge=0, allow_inf_nan=False)
    max_delay: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _count_attempts(cls, data: Any) -> Any:
        """The SDK counts attempts, the first one included."""
        if isinstance(data, dict) and isinstance(data.get("max_attempts"), int) and "max_retries" not in data:
            data = dict(data)
            data["max_retries"] = max(0, data.pop("max_attempts") - 1)
        return data


class TimeoutPolicy(DocumentPart):
    """How long one attempt may take. Without ``kill_on_timeout`` it is abandoned and its late answer ignored."""

    renamed: ClassVar[Mapping[str, str]] = {"timeout_seconds": "timeout"}

    timeout: Duration
    kill_on_timeout: bool = True


class CircuitBreakerPolicy(DocumentPart):
    """Stop calling what keeps failing; one breaker a task of a workflow."""

    renamed: ClassVar[Mapping[str, str]] = {"isolation_duration_seconds": "isolation_duration"}

    failure_threshold: int = Field(5, ge=1)
    success_threshold: int = Field(2, ge=1)
    isolation_duration: Duration = timedelta(seconds=30)
    catch_exceptions: list[str] | None = None
    ignore_exceptions: list[str] | None = None


class DataGuard(DocumentPart):
    """A check on a value before or after a task."""

    variable: str
    check: Literal["exists", "not_null", "equals", "not_equals", "in_range", "matches_regex", "type_check", "in_set"]
    value: Any = None
    message: str = ""

    @model_validator(mode="after")
    def _value_fits(self) -> DataGuard:
        if self.check == "in_range" and not (isinstance(self.value, list) and len(self.value) == 2):
            raise ValueError("in_range needs value: [min, max]")
        if self.check == "in_set" and not isinstance(self.value, list):
            raise ValueError("in_set needs value: [item, …]")
        return self
