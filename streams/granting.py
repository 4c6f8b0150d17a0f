"""What the policy grants, as of the newest version in the log: handed to the detectors that judge by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detectors.base import Detector, Shared
from events.types import PolicyVersion
from streams.agent_body import AgentBody


def take(shared: Shared, detectors: Sequence[Detector], bodies: Iterable[AgentBody], version: PolicyVersion) -> None:
    """From here on this version holds; what detectors remember to be in order (``Granting``) is forgotten."""
    if shared.granted == version.granted:
        return
    shared.granted = version.granted
    hooks = [(hook, at) for at, one in enumerate(detectors) if (hook := getattr(one, "policy_changed", None))]
    for body in bodies:
        for hook, at in hooks:
            hook(body.states[at])
