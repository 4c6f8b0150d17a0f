"""A policy's files on disk: read from one folder and nowhere else, and the version of them that is in force."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

import governance.policy
from governance.policy import Known, Loaded, Policy, PolicyError, Unreadable, load
from governance.policy.compare import Change
from governance.policy.files import MOST_CHARS
from governance.policy.force import Force, narrowed, wider_lines
from governance.policy.model import nothing_allowed
from governance.settings_types import Settings
from governance.words import plural
from storage.background import Background
from streams import policy_change
from streams.authority import Authority

EXAMPLE = Path(governance.policy.__file__).parent / "example" / "policy.toml"
"""A worked example of a sales organisation, which comes with Tripline."""
_MOST_TOLD = 100
_STORE_SECS = 30
T = TypeVar("T")
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


class Decide(Protocol):
    """Runs a function in a transaction that locks ``policy_change.POLICY_KEY``."""

    def __call__(self, function: Callable[[Authority], T], /) -> Future[T]:
        """What it returns comes when it is durable."""


class PolicyInForce(Background):
    """The policy that the settings name, kept up to date with its files, and the version of it that is in force.

    ``policy`` is None only when the settings name no file. What a new version takes away holds at once; what it adds
    waits for two people, see ``streams.policy_change``. A version that has mistakes changes nothing but ``trouble``.
    Until there is one in force, the policy is one that allows nothing. ``changed`` is called when another version has
    come into force.
    """

    def __init__(self, settings: Settings, changed: Callable[[], object] | None = None) -> None:
        super().__init__("tripline-policy")
        self._changed = changed
        self._settings = settings
        self._path = Path(settings.policy.file) if settings.policy.file else None
        self._seen: dict[Path, Stamp] = {}
        self._found: Policy | None = None
        self._force: Force | None = None
        self._nothing = nothing_allowed()
        self._compared: tuple[str, str, list[Change]] = "", "", []
        self._told = self._said = ""
        self._decide: Decide | None = None
        self._now_ms: Callable[[], int] = lambda: 0
        self._is_shared = False
        self.trouble = ""
        """Why a new version can't be used; "" when there is none."""
        self.lost = ""
        """Why it is not known which version is in force."""

    def keep_in(self, decide: Decide, now_ms: Callable[[], int], *, is_shared: bool) -> None:
        """Keep the version in force in a store, by its transactions and its clock; ``is_shared`` with other consoles.

        Call it before ``load``; then ``settle``. Without it, it is kept in memory alone.
        """
        self._decide, self._now_ms, self._is_shared = decide, now_ms, is_shared

    @property
    def policy(self) -> Policy | None:
        """The version that decides now; None without a policy."""
        force = self._force
        if force is None:
            return self._nothing if self._path is not None else None
        return force.base if force.wide is None else force.at(self._now_ms())

    @property
    def force(self) -> Force | None:
        """What holds without an end, and the wider version that two people agreed to."""
        return self._force

    @property
    def found(self) -> Policy | None:
        """The newest version without mistakes in the files; None before the first."""
        return self._found

    @property
    def wider(self) -> list[Change]:
        """What the files' version gives more than the one in force: each waits for two people."""
        force, found, policy = self._force, self._found, self.policy
        if force is None or found is None or policy is None or policy.hash == found.hash:
            return []
        if self._compared[:2] != (policy.hash, found.hash):
            self._compared = policy.hash, found.hash, wider_lines(force, found, self._now_ms())
        return self._compared[2]

    @property
    def warnings(self) -> list[str]:
        """What a person should look at, in words."""
        wider, policy, found = self.wider, self.policy, self._found
        told = [each for each in (self.trouble, self.lost) if each]
        if wider and policy is not None and found is not None:
            told.append(
                f"the policy's new version {found.short} gives more than {policy.short}, which stays in force: "
                f"{plural(len(wider), 'line')} for two people to agree to"
            )
        return told

    def start(self) -> None:
        """Look at the files from now on, where there are any."""
        if self._path is not None:
            super().start()

    def load(self) -> None:
        """Read it for the first time. Raises PolicyError with every mistake."""
        if self._path is None:
            return
        self._found = self._load(self._path)
        self._say_unconfigured(self._found)
        if self._decide is None:
            self.settle()

    def look(self) -> None:
        """Take over what changed, if it has no mistakes and did not change while it was read."""
        if self._path is None:
            return
        is_new = self._seen != {path: stamp(path) for path in self._seen} and self._read_again(self._path)
        if is_new or self._force is None:
            self.settle(is_start=self._force is None)
        elif self._is_shared:
            self.refresh()
        self._notice()

    def settle(self, *, is_start: bool = True) -> None:
        """What the files' version takes away holds from now on. Raises what the store raises."""
        found, decide, now_ms = self._found, self._decide, self._now_ms()
        if found is None:
            return
        if decide is None:
            self._force = narrowed(self._force, found, now_ms) if self._force is not None else Force(base=found)
        else:
            known, is_shared = self._force, self._is_shared
            self._force = decide(
                lambda at: policy_change.settle(at, found, known, is_start=is_start, is_shared=is_shared)
            ).result(_STORE_SECS)
        if is_start:
            self._told = self._force.at(now_ms).hash
            _log.info("policy_in_force", policy=self._told, agents=len(self._force.base.agents))
        self._say_wider()

    def begin(self) -> None:
        """As ``settle``, when the store has just been met; where that fails, the thread tries again."""
        try:
            self.settle()
            self.lost = ""
        except Exception as problem:
            self.lost = f"it is not known which version of the policy is in force: {problem!r}"
            _log.exception("policy_not_settled")

    def refresh(self) -> None:
        """Hear what people agreed to or ended, here or at another console. Raises what the store raises."""
        if self._decide is None or self._found is None:
            return
        if self._is_shared:
            known = self._force
            self._force = self._decide(lambda at: policy_change.read(at.link, known)).result(_STORE_SECS)
        else:
            self.settle(is_start=False)
        self._notice()

    def _notice(self) -> None:
        """Say when another version has come into force: by its files, by people, or because a time was over."""
        policy, before = self.policy, self._told
        if policy is None or policy.hash == before or self._force is None:
            return
        self._told = policy.hash
        _log.info("policy_changed", old=before, policy=policy.hash, until_ms=self._force.until_ms)
        self._say_unconfigured(policy)
        if self._changed is not None:
            self._changed()

    def _read_again(self, path: Path) -> bool:
        """Whether the files have another version without mistakes."""
        try:
            found = self._load(path)
        except PolicyError as problem:
            self._refuse(problem)
            return False
        if self._seen != {each: stamp(each) for each in self._seen}:
            self._seen = {path: None}  # somebody writes: look again
            return False
        self.trouble = ""
        is_new = self._found is None or self._found.hash != found.hash
        self._found = found
        return is_new

    def _load(self, path: Path) -> Policy:
        seen: dict[Path, Stamp] = {}
        try:
            return load_file(path, known_to(self._settings), seen).policy
        finally:
            self._seen = seen

    def _refuse(self, problem: PolicyError) -> None:
        policy = self.policy
        version = policy.short if policy is not None else ""
        told = [str(one) for one in problem.problems[:_MOST_TOLD]]
        self.trouble = (
            f"the policy's new version has mistakes, {version} stays in force: {told[0] if told else problem}"
        )
        _log.error("policy_refused", stays=version, mistakes=len(problem.problems), problems=told)

    def _say_wider(self) -> None:
        wider, found = self.wider, self._found
        if wider and found is not None and found.hash != self._said:
            self._said = found.hash
            what = policy_change.in_words(wider)
            _log.warning("policy_waits_for_two_people", policy=found.hash, lines=len(wider), what=what)

    def _say_unconfigured(self, policy: Policy) -> None:
        missing = sorted(policy.agents.keys() - self._settings.agents.keys())
        if missing and self._settings.gate.unknown_agents == "deny":
            _log.warning("policy_agents_without_settings", agents=missing[:_MOST_TOLD])

    def _run(self) -> None:
        while not self._stop.wait(self._settings.policy.poll_secs):
            try:
                self.look()
                self.lost = ""
            except Exception as problem:  # the thread must outlive whatever happens; the old version stays
                self.lost = f"the policy can't be looked at: {problem!r}"
                _log.exception("policy_look_failed")
