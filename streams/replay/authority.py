"""The control authority of a replay: the engine's requests only; nobody acknowledges or releases."""

from __future__ import annotations

import hashlib

from events.types import By, ControlEvent, Finding
from governance.control import (
    THROTTLED_MS,
    WANTED_STATE,
    ControlRequest,
    ControlRow,
    Trips,
    control_of,
    decide,
    expire,
)
from governance.settings import Settings
from streams.envelopes import envelope


class Authority:
    """Decides what the control authority would have decided, in the order of the findings."""

    def __init__(self, settings: Settings, engine_id: str) -> None:
        self.stale_ms = settings.engine.stale_request_hours * 3_600_000
        self.engine_id = engine_id
        self.rows: dict[str, ControlRow] = {}
        self._throttled: dict[str, list[int]] = {}

    def request(self, key: str, finding: Finding, at_ms: int) -> ControlEvent | None:
        """Put a finding to the authority; the event of its decision, None when nothing changed.

        A throttle whose time was over by then has ended first, as it would have at a tick.
        """
        wanted = WANTED_STATE.get(finding.action_taken)
        if wanted is None:
            return None
        row = self.rows.get(key)
        if row is not None:
            row = expire(row, at_ms).row
        request = ControlRequest(
            key=key,
            agent_id=finding.agent_id,
            wanted=wanted,
            basis_epoch=row.epoch if row else 0,
            by=By("detector", finding.detector),
            reason=finding.evidence.summary,
            at_ms=at_ms,
            finding_id=finding.finding_id,
        )
        throttled = [then for then in self._throttled.get(key, ()) if then > at_ms - THROTTLED_MS]
        decision = decide(row, request, at_ms, stale_ms=self.stale_ms, trips=Trips(throttles=len(throttled)))
        self.rows[key] = decision.row
        if not decision.changed:
            return None
        if decision.row.state == "throttled":
            self._throttled[key] = [*throttled, at_ms]
        control_id = hashlib.blake2b(f"{key}\x1f{decision.row.epoch}".encode(), digest_size=16).hexdigest()
        return envelope(ControlEvent, self.engine_id, control_id, at_ms, key, control_of(decision.row))
