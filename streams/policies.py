"""A policy's files on disk: read from one folder and nowhere else, and the version of them that is in force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

import governance.policy
from governance.policy import Known, Loaded, Policy, PolicyError, Unreadable, load
from governance.policy.compare import Change, compare
from governance.policy.files import MOST_CHARS
from governance.policy.model import nothing_allowed
from governance.settings_types import Settings
from storage.background import Background

EXAMPLE = Path(governance.policy.__file__).parent / "example" / "policy.toml"
"""A worked example of a sales organisation, which comes with Tripline."""
_MOST_TOLD = 100
_log = structlog.get_logger("tripline.policy")

Stamp = tuple[int, int, int, int] | None
"""What changes when a file does; None: there is none."""


def load_file(path: Path, known: Known | None = None, seen: dict[Path, Stamp] | None = None) -> Loaded:
    """The policy of a file and those that it includes. Raises PolicyError with every mistake.

    A link that leads out of the main file's folder is not followed. ``seen`` gets each file that was looked at, as it
    was before it was read.
    """
    folder = path.parent

    def read(name: str) -> str:
        is_main = name == path.name
        one = path if is_main else folder / name
        if seen is not None:
            seen[one] = stamp(one)
        return _read(folder, one, is_main=is_main)

    return load(path.name, read, known)


def known_to(settings: Settings) -> Known:
    """The names that a policy may use of the settings: people, and notification targets, of which the log is one."""
    targets = {target.name for target in settings.notifications.targets}
    return Known(people=set(settings.people), targets=targets | ({"log"} if settings.notifications.log else set()))


def stamp(path: Path) -> Stamp:
    """A file as it is now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(folder: Path, path: Path, *, is_main: bool) -> str:
    try:
        if not is_main and not path.resolve().is_relative_to(folder.resolve()):
            raise Unreadable("it lies outside of the policy's folder")
        if not path.is_file():
            raise Unreadable("there is no such file" if not path.exists() else "it is no file")
        with path.open("rb") as file:
            return file.read(4 * MOST_CHARS + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except OSError as problem:
        raise Unreadable(problem.strerror or str(problem)) from None


class PolicyInForce(Background):
    """The policy that the settings name, kept up to date with its files.

    ``policy`` is None only when the settings name no file. A version that has mistakes changes nothing but
    ``trouble``. Until ``load`` has succeeded, the policy is one that allows nothing. ``changed`` is called when
    another version has come into force.
    """

    def __init__(self, settings: Settings, changed: Callable[[], object] | None = None) -> None:
        super().__init__("tripline-policy")
        self._changed = changed
        self._settings = settings
        self._path = Path(settings.policy.file) if settings.policy.file else None
        self._seen: dict[Path, Stamp] = {}
        self.policy: Policy | None = nothing_allowed() if self._path is not None else None
        self.trouble = ""

    def start(self) -> None:
        """Look at the files from now on, where there are any."""
        if self._path is not None:
            super().start()

    def load(self) -> None:
        """Read it for the first time. Raises PolicyError with every mistake."""
        if self._path is None:
            return
        self.policy = self._load(self._path)
        _log.info("policy_in_force", policy=self.policy.hash, agents=len(self.policy.agents))
        self._say_unconfigured(self.policy)

    def look(self) -> None:
        """Take over what changed, if it has no mistakes and did not change while it was read."""
        if self._path is None or self._seen == {path: stamp(path) for path in self._seen}:
            return
        try:
            found = self._load(self._path)
        except PolicyError as problem:
            self._refuse(problem)
            return
        if self._seen != {path: stamp(path) for path in self._seen}:
            self._seen = {self._path: None}  # somebody writes: look again
            return
        self.trouble = ""
        old = self.policy
        if old is not None and old.hash != found.hash:
            self.policy = found
            self._say_changed(old, found)
            if self._changed is not None:
                self._changed()

    def _load(self, path: Path) -> Policy:
        seen: dict[Path, Stamp] = {}
        try:
            return load_file(path, known_to(self._settings), seen).policy
        finally:
            self._seen = seen

    def _refuse(self, problem: PolicyError) -> None:
        version = self.policy.short if self.policy is not None else ""
        told = [str(one) for one in problem.problems[:_MOST_TOLD]]
        self.trouble = (
            f"the policy's new version has mistakes, {version} stays in force: {told[0] if told else problem}"
        )
        _log.error("policy_refused", stays=version, mistakes=len(problem.problems), problems=told)

    def _say_changed(self, old: Policy, new: Policy) -> None:
        changes = compare(old, new)
        wider = [_told(change) for change in changes if change.direction == "widens"]
        _log.info("policy_changed", old=old.hash, policy=new.hash, changes=len(changes), widens=len(wider))
        if wider:
            _log.warning("policy_widened", policy=new.hash, what=wider[:_MOST_TOLD])
        self._say_unconfigured(new)

    def _say_unconfigured(self, policy: Policy) -> None:
        missing = sorted(policy.agents.keys() - self._settings.agents.keys())
        if missing and self._settings.gate.unknown_agents == "deny":
            _log.warning("policy_agents_without_settings", agents=missing[:_MOST_TOLD])

    def _run(self) -> None:
        while not self._stop.wait(self._settings.policy.poll_secs):
            try:
                self.look()
            except Exception as problem:  # the thread must outlive whatever happens; the old version stays
                self.trouble = f"the policy can't be looked at: {problem!r}"
                _log.exception("policy_look_failed")


def _told(change: Change) -> str:
    return f"{change.path}: {change.words}"
