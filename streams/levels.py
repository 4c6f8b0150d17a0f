"""An agent that acts above its level is a finding: told once a day for each way in which it is set off.

Levels are seen at the gate alone, under a policy: it alone knows which rules and people are registered. The finding is
the gate's own, so a replay of the log does not say it again; what the gate then did with the request is in the log.
"""

from __future__ import annotations

from xxhash import xxh3_128_hexdigest

from events.times import DAY_MS
from events.types import EvidenceData
from governance.gate import GateDecision, GateRequest
from governance.policy import Policy
from governance.policy.checks import TRIGGERS
from streams.authority import Authority

LEVELS = {1: "reactive", 2: "triggered", 3: "proactive", 4: "autonomous"}
_MOST_KEPT = 64


class LevelsTold:
    """What was told of an agent today, so that it isn't put to the store with each request; bounded."""

    __slots__ = ("_day", "_told")

    def __init__(self) -> None:
        self._day = 0
        self._told: set[str] = set()

    def is_new(self, what: str, now_ms: int) -> bool:
        """Whether this was not told yet, as far as is known here."""
        day = now_ms // DAY_MS
        if day != self._day or len(self._told) >= _MOST_KEPT:
            self._day, self._told = day, set()
        if what in self._told:
            return False
        self._told.add(what)
        return True


def tell(
    authority: Authority, told: LevelsTold, request: GateRequest, decision: GateDecision, policy: Policy, offset: int
) -> None:
    """Warn of a request above its agent's level. ``offset``: the end of the log."""
    seen, grant = decision.above_level, policy.agents[request.agent_id]
    kind = request.trigger.kind if request.trigger is not None else "none"
    kind = kind if kind in TRIGGERS else "something else"  # an agent chooses the word: it does not make findings by it
    what = f"{seen}\x1f{grant.level}\x1f{kind}"
    if not told.is_new(what, authority.now_ms):
        return
    day = authority.now_ms // DAY_MS
    id_ = xxh3_128_hexdigest(f"{authority.engine_id}\x1flevel\x1f{request.key}\x1f{what}\x1f{day}".encode())
    cause = "nothing that we know" if kind == "none" else f"“{kind}”"
    words = f"acts at level {seen} ({LEVELS[seen]}), set off by {cause}"
    evidence = EvidenceData(
        summary=f"{request.agent_id} {words}; it has level {grant.level}",
        observed=seen,
        expected=grant.level,
        limit=grant.level,
        unit="level",
        events=[],
        would_clear=f"a higher {grant.level_path}, a rule that its role registers, or a person who asks or approves",
    )
    if authority.warn(id_, request.key, request.agent_id, evidence, offset):
        authority.count("finding", "gate", "warn")
