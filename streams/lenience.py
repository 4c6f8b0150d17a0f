"""What people allow for a time: mutes of a detector for an agent, and opinions that were said to be expected.

Both arrive as records in the agent's partition and only ever lower what is asked of the authority: an opinion is said
and counted as before, and nothing that a detector learns depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from detectors.base import WANTED_RANK, Evidence, Wanted
from events.times import parse_ms
from events.types import Feedback, Mute
from governance.widening import EVERY_DETECTOR

MOST_RULES = 32
FAULT = "fault"
"""The topic of a detector that failed on an agent; that can't be muted."""


class Lenience(Struct, array_like=True, frozen=True):
    """From ``since_ms`` to ``until_ms`` a detector asks for no more than ``most``.

    ``ceiling`` None: a mute, whatever it says; else only on this topic, in this unit, up to this number.
    """

    version: int
    detector: str
    since_ms: int
    until_ms: int
    most: Wanted
    topic: str = ""
    unit: str = ""
    ceiling: float | None = None

    @property
    def matter(self) -> tuple[str, str, str, bool]:
        """What a later rule takes the place of."""
        return self.detector, self.topic, self.unit, self.ceiling is None


def rule_of(at_ms: int, said: Mute | Feedback) -> Lenience | None:
    """The rule of a record that stands at a time of the log; None when it has none."""
    if isinstance(said, Mute):
        since_ms = at_ms if said.since is None else max(at_ms, parse_ms(said.since))
        return Lenience(said.version, said.detector, since_ms, parse_ms(said.until), said.most)
    if said.verdict != "expected":
        return None
    return Lenience(
        said.version, said.detector, at_ms, parse_ms(said.until), "notify", said.topic, said.unit, said.ceiling
    )


def with_rule(rules: Sequence[Lenience], new: Lenience, at_ms: int) -> tuple[Lenience, ...]:
    """The rules that hold with a new one; a lower version of a known matter is a no-op, rules that are over go."""
    if any(old.matter == new.matter and old.version > new.version for old in rules):
        return tuple(rules)
    kept = [old for old in rules if old.until_ms > at_ms and old.matter != new.matter]
    return (*kept[-(MOST_RULES - 1) :], new)


def lenient(
    rules: Sequence[Lenience], detector: str, evidence: Evidence, at_ms: int, taken: Wanted
) -> tuple[Wanted, Lenience | None]:
    """What is asked for under these rules, and the rule that lowered it."""
    by: Lenience | None = None
    for rule in rules:
        if WANTED_RANK[rule.most] < WANTED_RANK[taken] and _holds(rule, detector, evidence, at_ms):
            taken, by = rule.most, rule
    return taken, by


def _holds(rule: Lenience, detector: str, evidence: Evidence, at_ms: int) -> bool:
    if (
        rule.detector not in (EVERY_DETECTOR, detector)
        or not rule.since_ms <= at_ms < rule.until_ms
        or evidence.topic == FAULT
    ):
        return False
    if rule.ceiling is None:
        return True
    is_same = (rule.topic, rule.unit) == (evidence.topic, evidence.unit)
    return is_same and evidence.observed <= rule.ceiling
