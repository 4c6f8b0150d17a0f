"""Which version of the policy is in force: narrower parts at once, wider ones when two people agreed, until an end."""

from __future__ import annotations

from msgspec import Struct

from governance.policy.compare import Change, compare
from governance.policy.meet import meet
from governance.policy.model import Policy


class Force(Struct, frozen=True, kw_only=True):
    """``base`` holds without an end; ``wide``, which ``change_id`` brought, in its place until ``until_ms``."""

    base: Policy
    wide: Policy | None = None
    until_ms: int = 0
    change_id: str = ""

    def at(self, now_ms: int) -> Policy:
        """The version that decides at a time of the log."""
        return self.wide if self.wide is not None and now_ms < self.until_ms else self.base

    def is_wide_at(self, now_ms: int) -> bool:
        """Whether that is the wider one."""
        return self.wide is not None and now_ms < self.until_ms


def narrowed(force: Force, found: Policy, now_ms: int) -> Force:
    """With whatever a version that somebody wrote takes away: from what holds, and from what comes back after it."""
    wide = meet(force.wide, found) if force.wide is not None and now_ms < force.until_ms else None
    if wide is None:
        return Force(base=meet(force.base, found))
    return Force(base=meet(force.base, found), wide=wide, until_ms=force.until_ms, change_id=force.change_id)


def wider_lines(force: Force, found: Policy, now_ms: int) -> list[Change]:
    """What a version gives more than the one in force: each of these waits for a second person."""
    return [change for change in compare(force.at(now_ms), found) if change.direction == "widens"]


def owners_of(old: Policy, new: Policy, lines: list[Change]) -> list[str]:
    """Who answers for the agents that the lines name, by either version: none of them confirms."""
    found = set[str]()
    for name in old.agents.keys() | new.agents.keys():
        grants = [each.agents[name] for each in (old, new) if name in each.agents]
        paths = {grant.path for grant in grants}
        if any(line.path == path or line.path.startswith(f"{path}.") for line in lines for path in paths):
            found |= {grant.owner for grant in grants if grant.owner}
    return sorted(found)
