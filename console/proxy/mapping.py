"""Which operation a call of a tool is: a TOML file that says it for each tool that may be called at all.

    [tools.update_lead]
    action = "record.update"
    object = "Lead"
    records_from = "lead_id"
    fields = { industry = "Industry", rating = "Rating" }

A tool that is not in it is denied, and so is a call with an argument that its table does not name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from console.proxy.asked import Asked, Fields, NotParsed, at_most
from events.catalogue import CATALOGUE
from governance.settings_errors import suggest

MOST_CHARS = 1_000_000
_PATH = re.compile(r"[^.\[\]\s]+(?:\[\])?(?:\.[^.\[\]\s]+(?:\[\])?)*")
_PATHS = ("object_from", "records_from", "changes_from", "created_from", "limit_from")
_ID_CHARS = 512

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Path = Annotated[str, Meta(max_length=256)]


class BadMapping(ValueError):
    """The file can't be used; the message names the place and what would be right."""


class Tool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a call of one tool is. A path names an argument: ``id``, ``record.id``, ``records[].id`` (of each).

    ``action``: as the gate knows it. ``object``, or ``object_from``: the kind of record. ``records_from``: the ids.
    ``changes_from``: the new values by field, of each record or the same for all; ``fields``: arguments that are each
    the new value of a field. ``created_from``: the values of each new record (else what ``fields`` names, where there
    is no ``records_from``). ``recipients_from``: whom it reaches. ``limit_from``, ``limit``: how many records it reads.
    ``harmless``: arguments that change nothing of this. ``never``: why nobody may call it by way of an agent.
    """

    action: Annotated[str, Meta(max_length=128)] = ""
    object: Name | None = None
    object_from: Path = ""
    records_from: Path = ""
    changes_from: Path = ""
    created_from: Path = ""
    fields: dict[Name, Name] = {}
    recipients_from: list[Name] = []
    limit_from: Path = ""
    limit: Annotated[int, Meta(ge=0, le=200)] = 0
    system: Name | None = None
    harmless: list[Name] = []
    never: Annotated[str, Meta(max_length=500)] = ""


class Resources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reading a resource of the server is ``record.read`` of this kind; without the table it is denied."""

    object: Name
    system: Name | None = None


class ToolMap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. ``own_actions``: names of ``gate.other_actions``; ``methods``: further methods that pass unasked."""

    tools: dict[Name, Tool] = {}
    resources: Resources | None = None
    own_actions: list[Name] = []
    methods: list[Name] = []

    def read(self, name: str, arguments: Mapping[str, Any]) -> Asked:
        """The operation that a call is. Raises NotParsed."""
        tool = self.tools.get(name)
        if tool is None:
            raise NotParsed(f"nobody said what the tool {name[:100]!r} does", f'say it in [tools."{name[:100]}"]')
        if tool.never:
            raise NotParsed(f"the tool {name!r} is for people only: {tool.never}")
        return _Reading(tool, arguments).asked(name)


def read_mapping(text: str, where: str) -> ToolMap:
    """A mapping from TOML. Raises BadMapping."""
    if len(text) > MOST_CHARS:
        raise BadMapping(f"{where}: it has more than {MOST_CHARS:,} characters")
    try:
        found = msgspec.convert(tomllib.loads(text), ToolMap)
    except tomllib.TOMLDecodeError as problem:
        raise BadMapping(f"{where}: no TOML: {problem}") from None
    except msgspec.ValidationError as problem:
        what, _, place = str(problem).partition(" - at `$.")
        raise BadMapping(f"{where}: {place.strip('`') or 'the file'}: {what}") from None
    for name, tool in found.tools.items():
        _check(tool, f'{where}: tools."{name}"', (*CATALOGUE, *found.own_actions))
    return found


def _check(tool: Tool, where: str, actions: tuple[str, ...]) -> None:
    if tool.never:
        return
    if tool.action not in actions:
        hint = suggest(tool.action, actions)
        raise BadMapping(f"{where}.action: {tool.action!r} is no action that is known{f'; {hint}' if hint else ''}")
    paths = {name: getattr(tool, name) for name in _PATHS if getattr(tool, name)}
    paths |= {f"recipients_from[{at}]": path for at, path in enumerate(tool.recipients_from)}
    for name, path in paths.items():
        if not _PATH.fullmatch(path):
            raise BadMapping(f"{where}.{name}: {path!r} is no path; write id, record.id or records[].id")
    if tool.object is not None and tool.object_from:
        raise BadMapping(f"{where}.object_from: there is an object as well; keep one of them")
    if tool.changes_from and not tool.records_from:
        raise BadMapping(f"{where}.changes_from: whose? Say records_from; for new records, created_from")
    if tool.created_from and tool.records_from:
        raise BadMapping(f"{where}.created_from: there is a records_from as well; a call makes records or changes them")


class _Reading:
    def __init__(self, tool: Tool, arguments: Mapping[str, Any]) -> None:
        self.tool, self.arguments = tool, arguments

    def asked(self, name: str) -> Asked:
        tool = self.tool
        self._check_arguments()
        ids = self._ids(tool.records_from) if tool.records_from else ()
        changes = self._changes(ids)
        created = self._created()
        recipients = tuple(each for path in tool.recipients_from for each in self._ids(path))
        at_most(max(len(ids), len(created)))
        return Asked(
            action=tool.action,
            object=self._object(),
            record_ids=ids,
            changes=changes,
            created=created,
            recipient_ids=recipients,
            records=at_most(self._limit()),
            system=tool.system,
            tool=name,
        )

    def _check_arguments(self) -> None:
        tool = self.tool
        named = [*(getattr(tool, name) for name in _PATHS), *tool.recipients_from, *tool.harmless]
        paths = [tuple(path.split(".")) for path in named if path]
        self._check_keys(self.arguments, (), [*paths, *((name,) for name in tool.fields)])

    def _check_keys(self, node: Any, above: tuple[str, ...], paths: list[tuple[str, ...]]) -> None:
        """Raises NotParsed for a key that no path names; what a path ends at is named whole."""
        deep = len(above)
        for each in node if isinstance(node, list) else [node]:
            for key, value in each.items() if isinstance(each, dict) else ():
                named = [
                    path for path in paths if path[:deep] == above and path[deep : deep + 1] in ((key,), (f"{key}[]",))
                ]
                if not named:
                    where = ".".join((*above, key))
                    raise NotParsed(
                        f"nobody said what the argument {where[:100]!r} does", "name it in the tool's table"
                    )
                if all(len(path) > deep + 1 for path in named):
                    self._check_keys(value, (*above, named[0][deep]), paths)

    def _pick(self, path: str) -> list[Any]:
        """What the path names; nothing when it is not there. Raises NotParsed for another shape."""
        found: list[Any] = [self.arguments]
        for part in path.split("."):
            name, is_each = part.removesuffix("[]"), part.endswith("[]")
            step: list[Any] = []
            for each in found:
                if not isinstance(each, dict):
                    raise NotParsed(f"the argument {path!r} has another shape than its table says")
                value = each.get(name)
                if is_each and not isinstance(value, list | None):
                    raise NotParsed(f"the argument {path!r} is no list")
                step += (value or []) if is_each else [] if value is None else [value]
            found = step
        return found

    def _ids(self, path: str) -> tuple[str, ...]:
        found = self._picked(path)
        if not all(isinstance(each, str | int) and not isinstance(each, bool) for each in found):
            raise NotParsed(f"{path}: an id is a text or a whole number")
        ids = tuple(str(each) for each in found)
        if not all(0 < len(each) <= _ID_CHARS for each in ids):
            raise NotParsed(f"{path}: an id has 1 to {_ID_CHARS} characters")
        return ids

    def _object(self) -> str | None:
        if not self.tool.object_from:
            return self.tool.object
        found = set(self._ids(self.tool.object_from))
        if len(found) != 1:
            raise NotParsed("a call is of one kind of record", "call the tool for each kind")
        return found.pop()

    def _fields(self) -> Fields:
        return {field: self.arguments[name] for name, field in self.tool.fields.items() if name in self.arguments}

    def _changes(self, ids: tuple[str, ...]) -> dict[str, Fields]:
        if not ids:
            return {}
        given = [_object_of(each, self.tool.changes_from) for each in self._picked(self.tool.changes_from)]
        fields = self._fields()
        if len(given) not in (0, 1, len(ids)) or len(set(ids)) != len(ids):
            raise NotParsed("the records and their changes do not belong together", "each record once")
        every = given * len(ids) if len(given) == 1 else given or [{}] * len(ids)
        changes = {one: {**changed, **fields} for one, changed in zip(ids, every, strict=True)}
        return {one: changed for one, changed in changes.items() if changed}

    def _created(self) -> tuple[Fields, ...]:
        tool = self.tool
        if tool.records_from:
            return ()
        given = [_object_of(each, tool.created_from) for each in self._picked(tool.created_from)]
        fields = self._fields()
        return tuple({**each, **fields} for each in given) or ((fields,) if fields else ())

    def _picked(self, path: str) -> list[Any]:
        found: list[Any] = []
        for each in self._pick(path) if path else ():
            found += each if isinstance(each, list) else [each]
        return found

    def _limit(self) -> int:
        found = self._pick(self.tool.limit_from) if self.tool.limit_from else []
        if not found:
            return self.tool.limit
        if len(found) != 1 or not isinstance(found[0], int) or isinstance(found[0], bool) or found[0] < 0:
            raise NotParsed(f"{self.tool.limit_from}: no number of records")
        return found[0]


def _object_of(value: Any, path: str) -> Fields:
    if not isinstance(value, dict):
        raise NotParsed(f"{path}: no object of values by field")
    return value
