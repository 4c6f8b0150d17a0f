"""Declared versions of agents: who acts as a new one for the first time is judged as a new agent is.

An agent's own word changes nothing: only versions that the settings list count, each once, and only in that order. The
first in the list is the one that the agent has anyway. What changes it is a record in which the agent says such a
version, so that a log judged again under the same settings begins afresh at the same record.

Beginning afresh is a grace: for a week statistics stop nothing. Whatever is declared, an agent gets it once in four
weeks, so that it can't live in grace: a version that comes sooner counts as shown, and is judged by what is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detectors.base import Detector
from events.times import DAY_MS
from events.types import AgentAction
from streams.agent_body import AgentBody
from streams.envelopes import split_key

GRACE_EVERY_MS = 28 * DAY_MS
"""A grace takes seven days, a quarter of this at most."""


class Versions:
    """Which versions are declared. Parameters: the detectors; by agent its versions, the oldest first."""

    def __init__(self, detectors: Sequence[Detector], declared: Mapping[str, Sequence[str]]) -> None:
        self._renew = {at: hook for at, each in enumerate(detectors) if (hook := getattr(each, "renew", None))}
        self._declared = {agent_id: tuple(versions) for agent_id, versions in declared.items() if len(versions) > 1}

    def expect(self, key: str, body: AgentBody) -> None:
        """Let the body know the versions that are still to come."""
        if self._declared:
            body.expected = self._declared.get(split_key(key)[1], ())[body.version + 1 :]

    def look(self, key: str, body: AgentBody, data: AgentAction, at_ms: int) -> None:
        """An action of an agent of which a version is expected: if it says one, its detectors may begin afresh."""
        said = data.agent_version
        if isinstance(said, str) and said in body.expected:
            body.version += body.expected.index(said) + 1
            self.expect(key, body)
            if body.renewed_ms and at_ms - body.renewed_ms < GRACE_EVERY_MS:
                return
            body.renewed_ms = at_ms
            for index, renew in self._renew.items():
                renew(body.states[index], at_ms)
