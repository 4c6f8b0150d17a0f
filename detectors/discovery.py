"""Which detectors there are, and how to make them from the settings.

Built-in detectors are found by walking this package; those of others by the entry-point group
``tripline.detectors`` (each entry names a class that follows ``detectors.base.Detector``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, Protocol, cast, get_args

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_hexdigest

from detectors.base import Detector, Mode, Shared

ENTRY_POINT_GROUP = "tripline.detectors"
DEFAULT_MODE: Mode = "enforce"
MODES: tuple[Mode, ...] = get_args(Mode)
OF_EVERY_DETECTOR = ("mode", "is_enabled", "agents", "roles")
"""What a detector's table may hold beside its own options; the last two are tables of modes."""
_NEEDED = ("name", "state_version", "judges", "is_hard", "max_state_bytes", "Config")
_METHODS = ("new_state", "observe", "dump", "load")


class DetectorSettingsError(ValueError):
    """A detector's settings are wrong; ``path`` says where (``detectors.action_rate.levle``)."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class DetectorSettings(Protocol):
    """What is read of the settings: a table of options per detector, and a table per agent."""

    @property
    def detectors(self) -> Mapping[str, Any]:
        """Options by detector's name: ``mode`` and that detector's Config."""

    @property
    def agents(self) -> Mapping[str, Any]:
        """Settings by agent id; detectors read the limits they know from it."""


def discover() -> dict[str, type[Detector]]:
    """Every detector class by name, built-in ones and those of installed distributions, sorted by name."""
    found: dict[str, type[Detector]] = {}
    for cls in (*_built_in(), *_third_party()):
        if cls.name in found and found[cls.name] is not cls:
            raise DetectorSettingsError(
                f"detectors.{cls.name}",
                f"two detectors have this name: {_where(found[cls.name])} and {_where(cls)}",
            )
        found[cls.name] = cls
    return dict(sorted(found.items()))


def build(settings: DetectorSettings | Mapping[str, Any], shared: Shared) -> list[Detector]:
    """Every detector that is not switched off, configured, in a fixed order (by name).

    Parameters
    ----------
    settings:
        The settings, or only their ``detectors`` tables. A table may hold ``mode`` (shadow, warn, enforce),
        ``is_enabled`` (default: the class's ``is_on_by_default``, or true) and the options of that detector's Config.
    shared:
        What the partition knows beyond one agent; the detectors read it, the stage changes it.

    Raises DetectorSettingsError, naming the table and the option, for an unknown detector or option, or a bad value.
    """
    tables, agents = _tables(settings)
    known = discover()
    _check_names(tables, known)
    built: list[Detector] = []
    for name, cls in known.items():
        options = dict(tables.get(name, {}))
        _mode_of(name, options, cls)
        if not _is_enabled(name, options, cls):
            continue
        config = parse_config(cls, {k: v for k, v in options.items() if k not in OF_EVERY_DETECTOR})
        with_agents = getattr(cls, "with_agents", None)
        if with_agents is not None and agents:
            config = with_agents(config, agents)
        built.append(cls(config, shared))
    return built


def modes(settings: DetectorSettings | Mapping[str, Any]) -> dict[str, Mode]:
    """Each detector's mode; where the settings say nothing, its own ``default_mode``, or ``enforce``."""
    tables, _ = _tables(settings)
    return {name: _mode_of(name, tables.get(name, {}), cls) for name, cls in discover().items()}


def own_modes(settings: DetectorSettings | Mapping[str, Any]) -> dict[str, dict[str, Mode]]:
    """By agent, the modes of detectors that are set for it, or else for its role.

    ``[detectors.NAME.agents]`` and ``[detectors.NAME.roles]`` hold a mode by agent's id and by the agents' ``role``.
    Raises DetectorSettingsError.
    """
    tables, agents = _tables(settings)
    found: dict[str, dict[str, Mode]] = {}
    for name, table in tables.items():
        of_agents, of_roles = _mode_table(name, table, "agents"), _mode_table(name, table, "roles")
        for agent_id, agent in agents.items():
            mode = of_roles.get(getattr(agent, "role", ""))
            if mode is not None:
                found.setdefault(agent_id, {})[name] = mode
        for agent_id, mode in of_agents.items():
            found.setdefault(agent_id, {})[name] = mode
    return found


def _mode_table(name: str, table: Mapping[str, Any], key: str) -> dict[str, Mode]:
    given = table.get(key, {})
    if not isinstance(given, Mapping):
        raise DetectorSettingsError(f"detectors.{name}.{key}", "must be a table of modes by name")
    for of, mode in given.items():
        if mode not in MODES:
            raise DetectorSettingsError(f"detectors.{name}.{key}.{of}", f"{mode!r} is none of {', '.join(MODES)}")
    return dict(given)


class Judged(Struct, frozen=True):
    """How a detector judged: its mode, and a fingerprint of its options (the mode left out)."""

    mode: Mode
    options: str


def judged_with(settings: DetectorSettings | Mapping[str, Any]) -> dict[str, Judged]:
    """Each detector that is not switched off, as these settings have it. Raises as ``build``."""
    by_name = modes(settings)
    return {
        one.name: Judged(by_name[one.name], _fingerprint(getattr(one, "config", None)))
        for one in build(settings, Shared())
    }


def _fingerprint(config: object) -> str:
    plain = msgspec.to_builtins(config) if isinstance(config, Struct) else {}
    return xxh3_64_hexdigest(msgspec.json.encode(plain, order="deterministic"))


def parse_config(cls: type[Detector], options: Mapping[str, Any]) -> Struct:
    """A detector's Config from its options; an unknown option or a bad value is an error that names it."""
    fields = [field.encode_name for field in msgspec.structs.fields(cls.Config)]
    for option in options:
        if option not in fields:
            raise DetectorSettingsError(
                f"detectors.{cls.name}.{option}", f"unknown option{_did_you_mean(option, fields)}"
            )
    try:
        return msgspec.convert(dict(options), cls.Config)
    except msgspec.ValidationError as problem:
        text, _, place = str(problem).partition(" - at `$")
        path = f"detectors.{cls.name}{place.rstrip('`')}"
        raise DetectorSettingsError(path, text) from None


@cache
def _built_in() -> tuple[type[Detector], ...]:
    package, found = import_module("detectors"), []
    for name in sorted(info.name for info in iter_modules(package.__path__) if not info.name.startswith("_")):
        module = import_module(f"detectors.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and is_detector(value):
                found.append(cast(type[Detector], value))
    return tuple(found)


@cache
def installed() -> tuple[EntryPoint, ...]:
    """The entry points of installed distributions, by name: looked for once, since that takes 10 ms."""
    return tuple(sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name))


def _third_party() -> Iterator[type[Detector]]:
    for entry in installed():
        cls = entry.load()
        if not is_detector(cls):
            missing = ", ".join(name for name in (*_NEEDED, *_METHODS) if not hasattr(cls, name)) or "class"
            raise DetectorSettingsError(f"detectors.{entry.name}", f"{entry.value} is no detector: it has no {missing}")
        yield cls


def is_detector(value: object) -> bool:
    """Whether it is a class with everything that ``detectors.base.Detector`` asks for."""
    if not isinstance(value, type) or getattr(value, "_is_protocol", False):
        return False
    has_constants = all(hasattr(value, name) for name in _NEEDED)
    return has_constants and all(callable(getattr(value, name, None)) for name in _METHODS)


def _tables(settings: DetectorSettings | Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if isinstance(settings, Mapping):
        return settings, {}
    return settings.detectors, settings.agents


def _check_names(tables: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name, table in tables.items():
        if name not in known:
            raise DetectorSettingsError(f"detectors.{name}", f"unknown detector{_did_you_mean(name, list(known))}")
        if not isinstance(table, Mapping):
            raise DetectorSettingsError(f"detectors.{name}", "must be a table of options")


def _mode_of(name: str, options: Mapping[str, Any], cls: type[Detector]) -> Mode:
    mode = options.get("mode", getattr(cls, "default_mode", DEFAULT_MODE))
    if mode not in MODES:
        raise DetectorSettingsError(f"detectors.{name}.mode", f"{mode!r} is none of {', '.join(MODES)}")
    return cast(Mode, mode)


def _is_enabled(name: str, options: Mapping[str, Any], cls: type[Detector]) -> bool:
    value = options.get("is_enabled", getattr(cls, "is_on_by_default", True))
    if not isinstance(value, bool):
        raise DetectorSettingsError(f"detectors.{name}.is_enabled", f"{value!r} is neither true nor false")
    return value


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean {close[0]}?" if close else f" (known: {', '.join(known) or 'none'})"


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
