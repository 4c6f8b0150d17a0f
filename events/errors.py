"""Why an event was refused: a reason code for machines, a sentence for people, and the field it is about."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class BadReason(StrEnum):
    """The reason codes of refused events, as they appear in dead letters and HTTP answers."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    UNSUPPORTED_SPECVERSION = "unsupported_specversion"
    UNKNOWN_TYPE = "unknown_type"
    TYPE_NOT_ALLOWED = "type_not_allowed"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    BAD_TIME = "bad_time"
    BAD_HEADER = "bad_header"


class BadEvent(ValueError):
    """An event that can't be read.

    Parameters
    ----------
    reason: the code, one of BadReason.
    message: names the field and says what is wrong and what would be right.
    field: dotted path of the field within the event ("data.records"), "" when it is about the whole.
    agent_id: whose event it is, where that can be told from what is readable; not to be trusted.
    """

    def __init__(self, reason: BadReason, message: str, field: str = "", agent_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.agent_id = agent_id

    def __reduce__(self) -> tuple[type[BadEvent], tuple[BadReason, str, str, str | None]]:
        return BadEvent, (self.reason, self.message, self.field, self.agent_id)


class Refusal(Struct, frozen=True):
    """One item of a batch that was refused: its place (from 0), its bytes, and why.

    ``attributes``: of a binary-mode message, those that are not in its bytes; see ``events.binary.kept_of``.
    """

    index: int
    raw: bytes
    error: BadEvent
    attributes: dict[str, str] = {}
