"""Raw tables to typed ones: every mistake is reported, with its place and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct, inspect

from governance.policy.paths import dotted
from governance.settings_errors import Problem, suggest

Path = tuple[str, ...]
S = TypeVar("S", bound=Struct)
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}


class Reader:
    """Reads one file. ``where``: how messages call it. Every problem goes to ``problems``."""

    def __init__(self, where: str, problems: list[Problem]) -> None:
        self.where = where
        self.problems = problems

    def report(self, path: Path, what: str, cure: str) -> None:
        """One mistake, and what would be right."""
        self.problems.append(Problem(where=self.where, path=dotted(path), what=what, hint=cure))

    def _no(self, path: Path, what: str, cure: str) -> Any:
        self.report(path, what, cure)
        return None

    def read(self, kind: type[S], raw: Any, path: Path = ()) -> S | None:
        """A table as its struct; None when it can't be made, which is reported."""
        found = self._value(inspect.type_info(kind), raw, path)
        return found if isinstance(found, kind) else None

    def _value(self, shape: inspect.Type, raw: Any, path: Path) -> Any:
        match shape:
            case inspect.UnionType(types=types):
                return self._value(next(one for one in types if not isinstance(one, inspect.NoneType)), raw, path)
            case inspect.StructType(cls=cls):
                return self._struct(cls, raw, path)
            case inspect.DictType(value_type=of):
                return self._table(of, raw, path)
            case inspect.ListType():
                return self._list(shape, raw, path)
            case inspect.LiteralType(values=values):
                return self._choice(values, raw, path)
        return self._scalar(shape, raw, path)

    def _struct(self, cls: type[Struct], raw: Any, path: Path) -> Any:
        if not isinstance(raw, dict):
            return self._no(path, f"must be a table, not {say(raw)}", f"write [{dotted(path)}]")
        shapes = _shapes(cls)
        values = {}
        for key, value in raw.items():
            if key in shapes:
                values[key] = self._value(shapes[key], value, (*path, key))
            else:
                self.report((*path, key), "there is no such setting here", _known(key, shapes))
        missing = [field for field in msgspec.structs.fields(cls) if field.required and field.name not in raw]
        for field in missing:
            self.report((*path, field.name), "is missing", f"add {field.name} = {_example(shapes[field.name])}")
        try:
            return None if missing else cls(**{key: value for key, value in values.items() if value is not None})
        except TypeError:  # a required one is there, and wrong: reported already
            return None

    def _table(self, of: inspect.Type, raw: Any, path: Path) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.report(path, f"must be a table of tables, not {say(raw)}", f"write [{dotted(path)}.NAME]")
            return {}
        found = {}
        for name, value in raw.items():
            if not 0 < len(name.strip()) <= 256 or not name.isprintable():
                self.report((*path, name), "is no name", "use 1 to 256 printable characters")
            found[name] = self._value(of, value, (*path, name))
        return {name: value for name, value in found.items() if value is not None}

    def _list(self, shape: inspect.ListType, raw: Any, path: Path) -> Any:
        if not isinstance(raw, list):
            example = f"[[{dotted(path)}]]" if isinstance(shape.item_type, inspect.StructType) else '["…"]'
            return self._no(path, f"must be a list, not {say(raw)}", f"write {example}")
        if len(raw) < (shape.min_length or 0):
            return self._no(path, "must not be empty", f"name at least one: {_example(shape)}")
        *above, last = path
        read = [self._value(shape.item_type, value, (*above, f"{last}[{at}]")) for at, value in enumerate(raw)]
        seen: list[Any] = []
        for at, value in enumerate(read):
            if isinstance(value, str) and value in seen:
                self.report((*above, f"{last}[{at}]"), f"{value!r} is there twice", "take one of them out")
            seen.append(value)
        return [value for value in read if value is not None]

    def _choice(self, values: Iterable[Any], raw: Any, path: Path) -> Any:
        if raw in values and not isinstance(raw, bool):
            return raw
        words = [str(value) for value in values]
        cure = suggest(raw, words) if isinstance(raw, str) else ""
        return self._no(path, f"may not be {raw!r}", cure or f"it is {_listed(words)}")

    def _scalar(self, shape: inspect.Type, raw: Any, path: Path) -> Any:
        match shape:
            case inspect.IntType(ge=low, le=high):
                return self._number(int(low or 0), high, raw, path)
            case inspect.BoolType():
                is_fit = isinstance(raw, bool)
                what, cure = f"must be true or false, not {say(raw)}", "write true or false, unquoted"
            case _ if not isinstance(raw, str):
                is_fit, what, cure = False, f"must be a text, not {say(raw)}", "put it in quotes"
            case _:
                least = getattr(shape, "min_length", None) or 0
                is_fit = least <= len(raw) <= 256 and (not raw or raw.isprintable()) and bool(raw.strip() or not least)
                what, cure = "is blank, too long, or does not print", "use 1 to 256 printable characters"
        return raw if is_fit else self._no(path, what, cure)

    def _number(self, low: int, high: Any, raw: Any, path: Path) -> Any:
        if type(raw) is int and low <= raw <= high:
            return raw
        what = f"{raw:,} is out of range" if type(raw) is int else f"must be a whole number, not {say(raw)}"
        return self._no(path, what, f"give a whole number from {low:,} to {high:,}")


def say(raw: Any) -> str:
    """What a raw value is, in words."""
    return "a table" if isinstance(raw, dict) else _KINDS.get(type(raw), "a date or time")


def near(word: str, known: Iterable[str]) -> str:
    """A cure for a name that is not known: what was meant, or what there is."""
    names = sorted(known)
    return suggest(word, names) or (f"known: {', '.join(names[:8])}" if names else "define it first")


@cache
def _shapes(cls: type[Struct]) -> dict[str, inspect.Type]:
    return {name: inspect.type_info(hint) for name, hint in get_type_hints(cls, include_extras=True).items()}


def _known(key: str, shapes: Iterable[str]) -> str:
    return suggest(key, shapes) or f"known here: {', '.join(shapes)}"


def _example(shape: inspect.Type) -> str:
    match shape:
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        case inspect.ListType():
            return '["…"]'
        case inspect.IntType(ge=low):
            return str(low or 0)
    return '"…"'


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
