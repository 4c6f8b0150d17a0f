"""A request's head and body, read so that only one reading is possible; everything else is not parsed.

What is sent on is made anew from what was read here, so that the CRM can't read it in another way: a path of plain
segments, the query's parameters once each, and a JSON body without a key that could be taken for another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from msgspec import Struct

from console.proxy.asked import NotParsed
from events.errors import BadEvent
from events.strict import check_strictly

MOST_BODY_BYTES = 240 * 1024
"""The gate reads requests of 256 KiB, and what it is asked is about as large as the body."""
METHODS = ("GET", "POST", "PATCH", "DELETE")
_MOST_PATH, _MOST_QUERY, _MOST_PARAMETERS = 2_048, 32_768, 20
_PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}")
_ONCE = frozenset({b"authorization", b"content-length", b"content-type", b"host", b"transfer-encoding"})
_OVERRIDES = frozenset({
    b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url",
    b"x-original-method", b"x-forwarded-method", b"x-forwarded-path", b"x-forwarded-uri", b"upgrade",
})  # fmt: skip

Headers = Sequence[tuple[bytes, bytes]]
Scalar = str | int | float | bool | None


class Call(Struct, frozen=True, kw_only=True):
    """A request as it was read: the path's segments, the query's parameters, and the body (None without one)."""

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    body: dict[str, Any] | None = None

    @property
    def target(self) -> str:
        """Path and query, as they are sent on."""
        return "/" + "/".join(self.segments) + (f"?{urlencode(self.query, quote_via=quote)}" if self.query else "")

    def take(self, *names: str) -> None:
        """Raises NotParsed when the query has another parameter than these."""
        other = sorted(self.query.keys() - set(names))
        if other:
            raise NotParsed(f"the parameter {other[0]!r} may change what the request does", f"known here: {names}")

    def object(self, *names: str) -> dict[str, Any]:
        """The body. Raises NotParsed without one, and for another key than these (any key, when none is given)."""
        if self.body is None:
            raise NotParsed("the request has no body", "send a JSON object")
        other = sorted(self.body.keys() - set(names)) if names else []
        if other:
            raise NotParsed(f"body: nobody knows what {other[0]!r} does here", f"known here: {names}")
        return self.body


def read_call(method: str, path: bytes, query: bytes, headers: Headers, body: bytes) -> Call:
    """A request from its parts as they came over the wire. Raises NotParsed."""
    check_head(method, headers)
    segments, parameters = read_path(path), read_query(query)
    if method in ("GET", "DELETE") and body:
        raise NotParsed(f"a {method} with a body")
    if not body:
        return Call(method=method, segments=segments, query=parameters)
    check_type(headers)
    return Call(method=method, segments=segments, query=parameters, body=read_object(body))


def check_head(method: str, headers: Headers) -> None:
    """Raises NotParsed for a method that is not known, and for headers that may make another request of it."""
    if method not in METHODS:
        raise NotParsed(f"the method {method[:20]!r} is not known", f"known: {', '.join(METHODS)}")
    seen: set[bytes] = set()
    for raw, value in headers:
        name = raw.lower()
        if name.replace(b"_", b"-") in _OVERRIDES:
            raise NotParsed(f"the header {name.decode('latin-1')!r} may make another request of it")
        if name in _ONCE and name in seen:
            raise NotParsed(f"the header {name.decode('latin-1')!r} is given twice")
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise NotParsed("the body has a Content-Encoding", "send it as it is")
        seen.add(name)
    if {b"transfer-encoding", b"content-length"} <= seen:
        raise NotParsed("both Content-Length and Transfer-Encoding: where the body ends is not certain")


def check_type(headers: Headers) -> None:
    """Raises NotParsed unless the body is JSON in UTF-8."""
    text = next((value for name, value in headers if name.lower() == b"content-type"), b"").decode("latin-1")
    media, _, rest = text.partition(";")
    charset = rest.strip().lower().replace('"', "")
    if media.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise NotParsed(f"the body's content type is {text[:60]!r}", "send application/json in UTF-8")


def read_path(path: bytes) -> tuple[str, ...]:
    """The segments of a plain path; one "/" at its end is dropped. Raises NotParsed: escapes, dots, doubled slashes."""
    text = path.decode("latin-1")
    plain = text[:-1] if len(text) > 1 and text.endswith("/") else text
    if len(text) > _MOST_PATH or not _PATH.fullmatch(plain):
        raise NotParsed("the path is not a plain one", "letters, digits, '.', '_', '-'; no escapes, no '..', no '//'")
    return tuple(plain[1:].split("/"))


def read_query(query: bytes) -> dict[str, str]:
    """The parameters, each once. Raises NotParsed."""
    if not query:
        return {}
    try:
        text = query.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError as problem:
        raise NotParsed(f"the query can't be read: {problem}") from None
    found = dict(pairs)
    if len(text) > _MOST_QUERY or len({name.casefold() for name in found}) != len(pairs):
        raise NotParsed("the query is too long, or has a parameter twice")
    for name, value in pairs:
        if not (_NAME.fullmatch(name) and value.replace("\n", " ").isprintable()):
            raise NotParsed(f"the query's parameter {name[:40]!r} is not a plain one")
    return found


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object, strictly: no key twice, not in other capitals either. Raises NotParsed."""
    try:
        value = msgspec.json.decode(body)
        check_strictly(body)
    except BadEvent as problem:
        raise NotParsed(problem.message.replace("the event", "the body")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise NotParsed(f"the body is not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise NotParsed("the body is not a JSON object")
    check_keys(value)
    return value


def check_keys(value: Any) -> None:
    """Raises NotParsed when two keys of an object differ in capitals only: a CRM takes them for one."""
    if isinstance(value, dict):
        if len({key.casefold() for key in value}) != len(value):
            raise NotParsed("the body has a key twice, in other capitals")
        for each in value.values():
            check_keys(each)
    elif isinstance(value, list):
        for each in value:
            check_keys(each)


def read_name(value: Any, what: str) -> str:
    """A plain name of an object or a field. Raises NotParsed."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise NotParsed(f"{what} is no plain name: {str(value)[:60]!r}")
    return value


def read_fields(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """The new values of a record by field; plain ones only. Raises NotParsed."""
    for name, value in values.items():
        read_name(name, "a field")
        if isinstance(value, dict | list):
            raise NotParsed(f"{name}: an object or a list may change other records", "send the id, or a plain value")
    return dict(values)


def read_count(value: Any, usual: int) -> int:
    """A number of records that is asked for. Raises NotParsed."""
    text = str(usual if value is None else value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 6):
        raise NotParsed(f"{text[:20]!r} is no number of records")
    return int(text)
