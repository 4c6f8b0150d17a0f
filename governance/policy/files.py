"""A policy's files as typed tables: the main one, and the teams' that it includes. Who calls brings the texts."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from governance.policy.reader import Reader, near
from governance.policy.shape import Include, Mode, PolicyFile, TeamFile
from governance.settings_errors import Problem

MOST_FILES, MOST_DEEP, MOST_CHARS = 100, 8, 2_000_000

Read = Callable[[str], str]
"""The text of a file by its path relative to the main file's folder, with "/". Raises Unreadable."""


class Unreadable(Exception):
    """A file can't be read; the message says why."""


class Part(Struct, frozen=True, kw_only=True):
    """One included file. ``grants``: what each file on the way to it granted, the main file's first."""

    where: str
    file: TeamFile
    grants: tuple[Include, ...]
    modes: tuple[tuple[str, Mode], ...]
    max_level: int


class Files(Struct, frozen=True, kw_only=True):
    """All files of a policy, and what is wrong with them; ``main`` is None when it can't be made."""

    where: str
    main: PolicyFile | None
    parts: tuple[Part, ...]
    problems: tuple[Problem, ...]
    names: tuple[str, ...]
    tables: frozenset[tuple[str, str]]
    """Section and name of each table of the main file, also of those that can't be read."""


def read_files(name: str, read: Read) -> Files:
    """Read a policy and all that it includes. Never raises for what is in the files: see ``problems``."""
    walk = _Walk(read)
    main = walk.file(name, PolicyFile)
    if main is not None:
        walk.includes(name, main.include, (), (("mode", main.mode),), main.max_level)
    return Files(
        where=name,
        main=main,
        parts=tuple(walk.parts),
        problems=tuple(walk.problems),
        names=tuple(walk.trail_of),
        tables=walk.tables,
    )


class _Walk:
    def __init__(self, read: Read) -> None:
        self.read = read
        self.problems: list[Problem] = []
        self.parts: list[Part] = []
        self.trail_of: dict[str, tuple[str, ...]] = {}
        self.tables: frozenset[tuple[str, str]] = frozenset()

    def file(self, name: str, kind: type[Any], trail: tuple[str, ...] = ()) -> Any:
        self.trail_of[name] = (*trail, name)
        reader = Reader(name, self.problems)
        try:
            text = self.read(name)
            if len(text) > MOST_CHARS:
                raise Unreadable(f"it has more than {MOST_CHARS:,} characters")
            raw = tomllib.loads(text.removeprefix("\ufeff"))
        except Unreadable as problem:
            reader.report((), f"can't be read: {problem}", "check the path and who may read it")
            return None
        except (tomllib.TOMLDecodeError, RecursionError) as problem:
            reader.report((), f"is not readable as TOML: {problem}", "mend that line")
            return None
        if kind is TeamFile:
            raw = self._only_of_a_team(raw, reader)
        else:
            tables = {key: value for key, value in raw.items() if isinstance(value, dict)}
            self.tables = frozenset((key, name) for key, value in tables.items() for name in value)
        return reader.read(kind, raw)

    def includes(
        self,
        where: str,
        includes: list[Include],
        grants: tuple[Include, ...],
        modes: tuple[tuple[str, Mode], ...],
        level: int,
    ) -> None:
        reader = Reader(where, self.problems)
        for at, include in enumerate(includes):
            name = _beside(where, include.file)
            path = (f"include[{at}]", "file")
            if not self._may_be_read(reader, path, include.file, name, where):
                continue
            self._check_grant(reader, f"include[{at}]", include, grants)
            team = self.file(name, TeamFile, self.trail_of[where])
            if team is None:
                continue
            below = (*grants, include)
            part = Part(
                where=name,
                file=team,
                grants=below,
                modes=(*modes, (f"{name}: mode", team.mode)),
                max_level=min(level, include.max_level, team.max_level),
            )
            self.parts.append(part)
            self.includes(name, team.include, below, part.modes, part.max_level)

    def _may_be_read(self, reader: Reader, path: tuple[str, ...], given: str, name: str, where: str) -> bool:
        pieces = given.split("/")
        if not given.isprintable() or any(mark in given for mark in "\\:~") or given.startswith("/"):
            reader.report(path, f"{given!r} is no relative path", 'name it from this file, such as "teams/sdr.toml"')
        elif ".." in pieces or "" in pieces or "." in pieces:
            reader.report(path, f"{given!r} may lead out of the folder", 'leave out "..", "." and "//"')
        elif not given.endswith(".toml"):
            reader.report(path, f"{given!r} is no TOML file", "its name must end in .toml")
        elif name in self.trail_of[where]:
            trail = " → ".join((*self.trail_of[where], name))
            reader.report(path, f"includes go round in a circle: {trail}", "take this include out")
        elif name in self.trail_of:
            reader.report(path, f"{name} is included twice", "include it once; one file has one grant")
        elif len(self.trail_of) >= MOST_FILES or len(self.trail_of[where]) >= MOST_DEEP:
            reader.report(path, "too many files, or too deep", f"at most {MOST_FILES} files, {MOST_DEEP} deep")
        else:
            return True
        return False

    def _check_grant(self, reader: Reader, place: str, include: Include, grants: tuple[Include, ...]) -> None:
        """A team grants another team no more than it was granted."""
        if not grants:
            return
        own = grants[-1]
        for at, role in enumerate(include.roles):
            if role not in own.roles:
                what = f"role {role!r} was not granted to this file"
                reader.report((place, f"roles[{at}]"), what, near(role, own.roles))
        if include.max_level > own.max_level:
            what = f"{include.max_level} is more than this file was granted"
            reader.report((place, "max_level"), what, f"at most {own.max_level}")

    @staticmethod
    def _only_of_a_team(raw: dict[str, Any], reader: Reader) -> dict[str, Any]:
        allowed = TeamFile.__struct_fields__
        for key in raw:
            if key in PolicyFile.__struct_fields__ and key not in allowed:
                what = "a team's file may not set this; only the main file grants"
                reader.report((key,), what, f"move it there; a team's file has {', '.join(allowed)}")
        return {key: value for key, value in raw.items() if key in allowed or key not in PolicyFile.__struct_fields__}


def _beside(where: str, file: str) -> str:
    folder, slash, _ = where.rpartition("/")
    return f"{folder}{slash}{file}"
