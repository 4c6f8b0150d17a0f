"""Salesforce's composite resource: up to 25 subrequests in one. All are allowed, or none is sent.

REST API Developer Guide, ``resources_composite_composite``. A later subrequest may use the id of a record that an
earlier one makes, as the whole value of a field (``@{ref.id}``); every other reference could name anything, so it is
not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from console.proxy.asked import Asked, NotParsed, Together, at_most, records_in
from console.proxy.reading import METHODS, Call, read_path, read_query
from governance.operation import canonical_id

MOST_SUBREQUESTS, MOST_PARTS = 25, 10
_LEAST_VERSION = 38
_HINT = "subrequests of method, url, referenceId and body; references only as @{ref.id} of a record made before"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_REFERENCE = re.compile(r"@\{([A-Za-z][A-Za-z0-9_]{0,79})\.id\}")
_KEYS = frozenset({"method", "url", "referenceId", "body"})

ParseOne = Callable[[Call], Asked | Together]


def read_composite(call: Call, parse_one: ParseOne) -> Together:
    """The operations of a composite, those of one kind together, and its body written anew. Raises NotParsed."""
    call.take()
    if int(call.segments[2][1:-2]) < _LEAST_VERSION:
        raise NotParsed(f"{call.segments[2]} has no composite requests")
    body = call.object("allOrNone", "collateSubrequests", "compositeRequest")
    flags = {name: body[name] for name in ("allOrNone", "collateSubrequests") if name in body}
    given = body.get("compositeRequest")
    if not isinstance(given, list) or not 0 < len(given) <= MOST_SUBREQUESTS:
        raise NotParsed(f"compositeRequest is not a list of 1 to {MOST_SUBREQUESTS} subrequests", _HINT)
    if not all(isinstance(each, bool) for each in flags.values()):
        raise NotParsed("allOrNone and collateSubrequests are true or false")
    reading = _Reading(call.segments[2], parse_one)
    subrequests = [reading.read(each) for each in given]
    return Together(
        parts=reading.parts(),
        body=msgspec.json.encode({**flags, "compositeRequest": subrequests}),
        is_composite=True,
        is_atomic=flags.get("allOrNone", False),
    )


class _Reading:
    def __init__(self, version: str, parse_one: ParseOne) -> None:
        self._version = version
        self._parse_one = parse_one
        self._groups: dict[tuple[str, str, bool], list[tuple[str, Asked]]] = {}
        self._names: set[str] = set()
        self._made: set[str] = set()
        self._records = 0

    def read(self, raw: Any) -> dict[str, Any]:
        """A subrequest, as it is sent on. Raises NotParsed."""
        if not isinstance(raw, dict) or not raw.keys() <= _KEYS:
            raise NotParsed("a subrequest with keys that nobody knows, such as headers of its own", _HINT)
        name, sub = raw.get("referenceId"), self._call(raw)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.casefold() in self._names:
            raise NotParsed("each referenceId is of letters, digits and '_', and there once", _HINT)
        self._check_references(sub.body)
        found = self._parse_one(sub)
        parts = found.parts if isinstance(found, Together) else (found,)
        if any("@{" in each for part in parts for each in part.recipient_ids):  # each time it would be somebody else
            raise NotParsed("a reference says whom it reaches", "make the person first, then name the id")
        at_most(self._count(parts[0]))
        for part in parts:
            kind = (part.action, (part.object or "").casefold(), part.is_keyed)
            self._groups.setdefault(kind, []).append((name, part))
        self._names.add(name.casefold())
        if sub.method == "POST" and sub.segments[3] == "sobjects":
            self._made.add(name)
        return {"method": sub.method, "url": sub.target, "referenceId": name} | (
            {"body": sub.body} if sub.body is not None else {}
        )

    def parts(self) -> tuple[Asked, ...]:
        """One operation for each action and kind of record. Raises NotParsed."""
        if len(self._groups) > MOST_PARTS:
            raise NotParsed(f"{len(self._groups)} kinds of operations in one request", f"at most {MOST_PARTS}")
        return tuple(_joined(each) for each in self._groups.values())

    def _count(self, part: Asked) -> int:
        self._records += records_in(part)
        return self._records

    def _call(self, raw: dict[str, Any]) -> Call:
        method, url, body = raw.get("method"), raw.get("url"), raw.get("body")
        if method not in METHODS or not isinstance(url, str) or not url.isascii():
            raise NotParsed("a subrequest's method or url is not plain", _HINT)
        if (body is not None and not isinstance(body, dict)) or (method in ("GET", "DELETE") and "body" in raw):
            raise NotParsed("a subrequest's body is no object, or there where none belongs", _HINT)
        path, mark, query = url.partition("?")
        if mark and not query:
            raise NotParsed("a subrequest's url ends with '?'")
        segments = read_path(path.encode())
        if segments[2:3] != (self._version,):
            raise NotParsed(f"a subrequest is not of the request's version {self._version}")
        parameters = read_query(query.encode())
        if any("@{" in value for value in parameters.values()):
            raise NotParsed("a reference in a subrequest's url", _HINT)
        return Call(method=method, segments=segments, query=parameters, body=body)

    def _check_references(self, value: Any) -> None:
        if isinstance(value, dict):
            for each in value.values():
                self._check_references(each)
        elif isinstance(value, list):
            for each in value:
                self._check_references(each)
        elif isinstance(value, str) and "@{" in value:
            found = _REFERENCE.fullmatch(value)
            if found is None or found[1] not in self._made:
                raise NotParsed(f"the reference {value[:60]!r} could name anything", _HINT)


def _one_spelling(record_id: str, part: Asked) -> str:
    return record_id.casefold() if part.is_keyed else canonical_id(record_id)


def _joined(found: list[tuple[str, Asked]]) -> Asked:
    """Operations of one action and kind of record as one. Raises NotParsed for a record that is there twice."""
    parts = [part for _, part in found]
    written = [_one_spelling(each, part) for part in parts for each in (part.changes or part.record_ids)]
    if len(set(written)) != len(written):
        raise NotParsed("a record is there twice in one request", "send each record once")
    first = parts[0]
    return Asked(
        action=first.action,
        object=first.object,
        record_ids=tuple(each for part in parts for each in part.record_ids),
        changes={record_id: fields for part in parts for record_id, fields in part.changes.items()},
        created=tuple(each for part in parts for each in part.created),
        recipient_ids=tuple(each for part in parts for each in part.recipient_ids),
        records=sum(map(records_in, parts)),
        system=first.system,
        is_keyed=first.is_keyed,
        refs=tuple(name for name, _ in found),
    )
