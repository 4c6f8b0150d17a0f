"""From what went wrong inside to what a caller is told."""

from __future__ import annotations

import structlog

from console.errors import Refused
from streams.standalone.types import Busy, Closed

_log = structlog.get_logger("tripline.console")


def refusal_of(problem: Exception, path: str) -> Refused:
    """429 and 503 when sending again helps; else 500, with the problem in the log and not in the answer."""
    if isinstance(problem, Busy):
        wait = {"Retry-After": str(max(1, round(problem.retry_secs)))}
        return Refused(429, "busy", f"wait and send again: {problem}", headers=wait)
    if isinstance(problem, Closed):
        return Refused(503, "stopping", "Tripline is stopping; send again", headers={"Retry-After": "5"})
    _log.error("request.failed", path=path, problem=repr(problem), exc_info=problem)
    return Refused(500, "failed", "something went wrong here; the log says what")
