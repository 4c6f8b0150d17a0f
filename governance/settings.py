"""The one place where settings come from: flags, ``TRIPLINE_*`` variables, a TOML file, defaults.

Precedence, highest first: overrides (command-line flags), environment variables, the file, the defaults.
A variable's name is mechanical: ``server.port`` is ``TRIPLINE_SERVER_PORT``, ``agents.enrich-bot.level`` is
``TRIPLINE_AGENTS_ENRICH_BOT_LEVEL``. A list of names is written with commas, anything larger as a TOML value.
A variable that means nothing is an error, as a misspelt setting is: neither may be dropped in silence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from detectors.discovery import discover
from governance.settings_checks import cross_check
from governance.settings_errors import Problem, SettingsError, suggest
from governance.settings_types import (
    AgentSettings,
    Auth,
    Deals,
    DealStage,
    Engine,
    GateSettings,
    Kafka,
    Notifications,
    Person,
    PolicySettings,
    Server,
    Settings,
    StoreSettings,
    Target,
)

__all__ = [
    "AgentSettings",
    "Auth",
    "DealStage",
    "Deals",
    "Engine",
    "GateSettings",
    "Kafka",
    "Notifications",
    "Person",
    "PolicySettings",
    "Problem",
    "Server",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "Target",
    "parse_settings",
    "variable_names",
]

PREFIX = "TRIPLINE_"
ALIASES = {
    "TRIPLINE_HOST": "TRIPLINE_SERVER_HOST",
    "TRIPLINE_PORT": "TRIPLINE_SERVER_PORT",
    "TRIPLINE_DATA_DIR": "TRIPLINE_SERVER_DATA_DIR",
}
"""Short names of the settings that are set most often. The long name wins when both are given."""
NOT_SETTINGS = frozenset(
    {
        "TRIPLINE_CONFIG",
        "TRIPLINE_URL",
        "TRIPLINE_TOKEN",
        "TRIPLINE_USER",
        "TRIPLINE_PASSWORD",
        "TRIPLINE_TESTS_MAY_SKIP",
    }
)
"""Variables that commands and the test suite read themselves: where the file and the server are, and who asks."""
_SERVICE_LINK = re.compile(r"^TRIPLINE_(SERVICE_HOST|SERVICE_PORT.*|PORT_\d+_.*)$")
"""Kubernetes injects these (and TRIPLINE_PORT=tcp://…) into every pod beside a service called tripline."""

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_DATE = "a date or time"

Path = tuple[str, ...]


def parse_settings(
    toml_text: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: str = "tripline.toml",
) -> Settings:
    """Settings from a file's text, variables and flags; pure, so the caller reads file and environment.

    Parameters: ``toml_text`` None means no file. ``environ`` is the whole environment; only ``TRIPLINE_*`` is
    looked at. ``overrides`` maps dotted paths (``"server.port"``) or nested tables to values; None values count
    as not given. ``where`` is how messages call the file.

    Raises SettingsError with every problem found, each with its place and, where it can be told, what was meant.
    """
    source = _Source(where)
    tree = source.file(toml_text)
    source.variables(tree, environ or {})
    source.flags(tree, overrides or {})
    settings = _Reader(source).settings(tree)
    if not source.problems:
        source.problems += [source.problem(path, what) for path, what in cross_check(settings)]
    if source.problems:
        raise SettingsError(source.problems)
    return settings


def variable_names() -> dict[str, str]:
    """Each fixed variable's name and the path of its setting; tables with names of their own are left out."""
    return {_variable(path): ".".join(path) for path, _ in _leaves(Settings)}


class _Source:
    """Collects raw values with where each came from, and the problems met on the way."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.origins: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def problem(self, path: Path, what: str, hint: str = "") -> Problem:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return Problem(where=self.origins[path[:length]], path=dotted(path), what=what, hint=hint)
        return Problem(where=self.where, path=dotted(path), what=what, hint=hint)

    def report(self, path: Path, what: str, hint: str = "") -> None:
        self.problems.append(self.problem(path, what, hint))

    def file(self, toml_text: str | None) -> dict[str, Any]:
        if toml_text is None:
            return {}
        try:
            return tomllib.loads(toml_text.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError([Problem(where=self.where, path="", what=f"not readable as TOML: {error}")]) from None

    def variables(self, tree: dict[str, Any], environ: Mapping[str, str]) -> None:
        known = {_variable(path): (path, kind) for path, kind in _leaves(Settings)}
        given = {name: text for name, text in environ.items() if _is_setting(name, text)}
        for name in sorted(given, key=lambda key: (key not in ALIASES, len(key), key)):
            found = known.get(ALIASES.get(name, name)) or _open_table(name, tree)
            if found is None:
                hint = suggest(name, [*known, *ALIASES])
                self.problems.append(Problem(where="environment", path=name, what="no such setting", hint=hint))
                continue
            path, kind = found
            self.origins[path] = f"environment variable {name}"
            try:
                _put(tree, path, _from_text(given[name], kind))
            except ValueError as error:
                self.report(path, str(error))

    def flags(self, tree: dict[str, Any], overrides: Mapping[str, Any], above: Path = ()) -> None:
        for key, value in overrides.items():
            path = (*above, *key.split(".")) if not above else (*above, key)
            if isinstance(value, Mapping):
                self.flags(tree, value, path)
            elif value is not None:
                self.origins[path] = "command line"
                _put(tree, path, value)


class _Reader:
    """Turns raw tables into typed structs, naming the exact place of whatever does not fit."""

    def __init__(self, source: _Source) -> None:
        self.source = source

    def settings(self, tree: dict[str, Any]) -> Settings:
        read = self.struct(Settings, tree, ())
        return read if isinstance(read, Settings) else Settings()

    def struct(self, kind: type[Struct], raw: Any, path: Path) -> Struct | None:
        if not isinstance(raw, dict):
            self.source.report(path, f"must be a table, not {_say(raw)}")
            return None
        hints = _hints(kind)
        missing = [f.name for f in msgspec.structs.fields(kind) if f.required and f.name not in raw]
        for name in missing:
            self.source.report((*path, name), "is missing")
        values = {}
        for key, value in raw.items():
            if key not in hints:
                self.source.report((*path, key), "no such setting", _hint(key, hints, path))
            else:
                values[key] = self.value(hints[key], value, (*path, key))
        try:
            return kind(**values) if not missing else None
        except TypeError:
            return None

    def value(self, kind: Any, raw: Any, path: Path) -> Any:
        shape = _shape(kind)
        match shape:
            case msgspec.inspect.StructType():
                return self.struct(shape.cls, raw, path)
            case msgspec.inspect.DictType():
                return self.table(_item(kind), raw, path)
            case msgspec.inspect.ListType(item_type=msgspec.inspect.StructType(cls=row)):
                return self.rows(row, raw, path)
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            self.source.report(path, _said(error, raw), _choice(shape, raw))
            return None

    def table(self, kind: Any, raw: Any, path: Path) -> dict[str, Any]:
        if not isinstance(raw, dict):
            of_tables = " of tables" if isinstance(_shape(kind), msgspec.inspect.StructType) else ""
            self.source.report(path, f"must be a table{of_tables}, not {_say(raw)}")
            return {}
        for name in raw:
            if not name.strip() or len(name) > 256 or not name.isprintable():
                self.source.report((*path, name), "a name needs 1 to 256 printable characters")
        return {name: self.value(kind, value, (*path, name)) for name, value in raw.items()}

    def rows(self, kind: type[Struct], raw: Any, path: Path) -> list[Any]:
        if not isinstance(raw, list):
            self.source.report(path, f"must be a list of tables ([[{dotted(path)}]]), not {_say(raw)}")
            return []
        *above, last = path
        return [self.struct(kind, value, (*above, f"{last}[{index}]")) for index, value in enumerate(raw)]


def dotted(path: Path) -> str:
    """The path as TOML writes it; a name with a dot or a space is quoted."""
    return ".".join(part if re.fullmatch(r"[\w\-\[\]]+", part) else f'"{part}"' for part in path)


def _is_setting(name: str, text: str) -> bool:
    if not name.startswith(PREFIX) or name in NOT_SETTINGS or _SERVICE_LINK.match(name):
        return False
    return not (name == "TRIPLINE_PORT" and "://" in text)


def _leaves(kind: type[Struct], above: Path = ()) -> Iterable[tuple[Path, Any]]:
    for name, hint in _hints(kind).items():
        shape = _shape(hint)
        if isinstance(shape, msgspec.inspect.StructType):
            yield from _leaves(shape.cls, (*above, name))
        else:
            yield (*above, name), hint


def _variable(path: Path) -> str:
    return PREFIX + "_".join(re.sub(r"\W", "_", part).upper() for part in path)


def _open_table(name: str, tree: Mapping[str, Any]) -> tuple[Path, Any] | None:
    """The setting of a named table (an agent, a person, a detector) that the file has, by longest name."""
    for section, kind in (("agents", AgentSettings), ("people", Person), ("detectors", None)):
        names = set(tree.get(section, {})) if isinstance(tree.get(section), dict) else set()
        for key in sorted(names if kind is not None else names | set(discover()), key=len, reverse=True):
            start = _variable((section, key)) + "_"
            if not name.startswith(start):
                continue
            if kind is None:
                return (section, key, name[len(start) :].lower()), Any
            for field, hint in _hints(kind).items():
                if field.upper() == name[len(start) :]:
                    return (section, key, field), hint
    return None


@cache
def _hints(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _type_info(kind: Any) -> Any:
    shape = msgspec.inspect.type_info(kind)
    return shape.type if isinstance(shape, msgspec.inspect.Metadata) else shape


def _shape(kind: Any) -> Any:
    if not isinstance(kind, msgspec.inspect.Type):
        return _type_info(kind)
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _item(kind: Any) -> Any:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_args(bare)[-1]


def _from_text(text: str, kind: Any) -> Any:
    shape = _shape(kind)
    if isinstance(shape, msgspec.inspect.StrType | msgspec.inspect.LiteralType):
        return text
    if isinstance(shape, msgspec.inspect.BoolType):
        return _truth(text)
    if isinstance(shape, msgspec.inspect.ListType) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"v = {text.strip()}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _truth(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in known:
        raise ValueError(f"{text!r} is neither true nor false")
    return known[text.strip().lower()]


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            return
        tree = below
    tree[path[-1]] = value


def _hint(key: str, hints: Mapping[str, Any], path: Path) -> str:
    near = suggest(key, hints)
    if near or path:
        return near
    homes = [dotted(where) for where, _ in _leaves(Settings) if where[-1] == key]
    return f"did you mean {homes[0]}?" if homes else ""


def _say(raw: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(raw), "a date or time")


def _choice(shape: Any, raw: Any) -> str:
    inner = _shape(shape.item_type) if isinstance(shape, msgspec.inspect.ListType) else shape
    if not isinstance(inner, msgspec.inspect.LiteralType):
        return ""
    words = [str(value) for value in inner.values]
    given = raw if isinstance(raw, list) else [raw]
    wrong = next((word for word in given if word not in words), "")
    near = suggest(str(wrong), words)
    return near or f"it is one of {', '.join(words)}"


def _said(error: msgspec.ValidationError, raw: Any) -> str:
    text, _, at = str(error).partition(" - at ")
    expected = re.match(r"Expected `(\w+)`, got `(\w+)`$", text)
    if expected:
        got = _KINDS.get(expected[2], _DATE) if "[" in at else _say(raw)
        text = f"must be {_KINDS.get(expected[1], expected[1])}, not {got}"
    elif "Invalid enum value" in text:
        text = text.replace("Invalid enum value", "may not be")
    elif isinstance(raw, int | float) and "Expected" in text:
        text = text.replace("Expected `int`", "must be a whole number").replace("Expected `float`", "must be a number")
        text = f"{text}, not {raw}"
    else:
        text = text.replace("Expected `str`", "must be a text").replace("Expected `int`", "must be a whole number")
        text = text.replace("Expected `float`", "must be a number").replace("Expected `array`", "must be a list")
    place = re.search(r"\[(\d+)\]", at)
    return f"item {place[1]}: {text}" if place else text
