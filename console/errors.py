"""How the API says no: one shape, ``{"error": code, "message": sentence, …}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Refused(Exception):
    """A request that is answered with an error.

    Parameters: ``status`` is the HTTP status, ``code`` a stable word for programs, ``message`` a sentence for people;
    ``extra`` goes into the body, ``headers`` into the head of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The answer's body, as JSON."""
        return msgspec.json.encode({"error": self.code, "message": self.message, **self.extra})


def bad_request(message: str, field: str | None = None) -> Refused:
    """400: the request itself is wrong; ``field`` names the place."""
    return Refused(400, "bad_request", message, {"field": field} if field else None)


def not_found(message: str, field: str | None = None, **extra: Any) -> Refused:
    """404: there is no such thing; ``field`` names what asked for it, ``extra`` goes into the body."""
    return Refused(404, "not_found", message, {**({"field": field} if field else {}), **extra})


def forbidden(code: str, message: str) -> Refused:
    """403: known, but not allowed."""
    return Refused(403, code, message)
