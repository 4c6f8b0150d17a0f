"""The ways out: the structured log, and whatever apprise knows (chat, mail, pagers, web hooks).

A target's address holds its password, so it never reaches a log or an error: those name the target and the kind of
problem. apprise is imported in the background, since that takes a second or more.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import structlog

from governance.ports import Notice
from governance.settings_types import Notifications
from streams.sinks.dispatch import LOG

_CHATTY = ("apprise", "urllib3", "requests", "urllib3.connectionpool")
"""Loggers that write addresses, with their passwords, at level DEBUG."""


class Sender(Protocol):
    """One target. ``send`` may block and runs in a thread of its own."""

    def prepare(self) -> None:
        """Load what sending needs; called once, in a thread, before the first notice."""

    def send(self, notice: Notice) -> str | None:
        """None when the target has accepted the notice, else what went wrong, without secrets."""


class LogSender:
    """Writes notices into the structured log."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("tripline.notification")

    def prepare(self) -> None:
        """Nothing to load."""

    def send(self, notice: Notice) -> str | None:
        """Always accepts."""
        self._log.info(
            "notification",
            notice_id=notice.id,
            kind=notice.kind,
            subject=notice.subject,
            title=notice.title,
            body=notice.body,
        )
        return None


class AppriseSender:
    """Sends by apprise to one address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._apprise: Any = None

    def __repr__(self) -> str:
        return "AppriseSender()"

    def prepare(self) -> None:
        """Import apprise: it takes seconds on a busy machine, too long for the first stop."""
        self._target()

    def send(self, notice: Notice) -> str | None:
        """Send once; apprise's own time-outs apply (4 s to connect and 4 s to read, unless the address says else)."""
        try:
            target = self._target()
            if target is None:
                return "apprise does not know this kind of address"
            is_accepted = target.notify(title=notice.title, body=notice.body, body_format="text")
        except Exception as problem:  # a plugin may raise anything, and its text may hold the address
            return type(problem).__name__
        return None if is_accepted else "not accepted"

    def _target(self) -> Any:
        if self._apprise is None:
            import apprise  # noqa: PLC0415 - slow, and not needed where only the log is used

            _hush()
            found = apprise.Apprise()
            if not found.add(self._url):
                return None
            self._apprise = found
        return self._apprise


def make_senders(settings: Notifications) -> dict[str, Sender]:
    """A sender for each target of the settings, and the log's."""
    senders: dict[str, Sender] = {target.name: AppriseSender(target.url) for target in settings.targets}
    senders[LOG] = LogSender()
    return senders


def unusable_targets(settings: Notifications) -> list[str]:
    """The names of targets whose address apprise does not know; nothing is sent. For ``tripline doctor``."""
    import apprise  # noqa: PLC0415 - see above

    _hush()
    return [target.name for target in settings.targets if not apprise.Apprise().add(target.url)]


def _hush() -> None:
    for name in _CHATTY:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING) if name != "apprise" else logging.CRITICAL)
