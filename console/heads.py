"""A request's head: the headers that decide something, read strictly."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from console.errors import Refused

ONCE = frozenset({b"host", b"origin", b"content-length", b"content-type", b"authorization", b"x-csrf-token"})
READ = ONCE | {
    b"accept", b"content-encoding", b"cookie", b"forwarded", b"hx-request", b"referer", b"sec-fetch-site",
    b"x-forwarded-for",
}  # fmt: skip


class Head(Struct, frozen=True):
    """The headers that are read, decoded; absent ones are empty. ``is_event``: CloudEvents attributes are among all."""

    values: dict[bytes, str]
    is_event: bool = False

    def get(self, name: bytes) -> str:
        """The header's value, or an empty text."""
        return self.values.get(name, "")

    @property
    def is_from_page(self) -> bool:
        """True when a browser asks for a page, or htmx for a part of one."""
        return "text/html" in self.get(b"accept") or b"hx-request" in self.values


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The headers by lower-case name. Raises Refused when one that decides something is given twice."""
    values: dict[bytes, str] = {}
    is_event = False
    for name, value in headers:
        if name not in READ:
            is_event = is_event or name.startswith(b"ce-")
        elif name not in values:
            values[name] = value.decode("latin-1")
        elif name in ONCE:
            raise Refused(400, "bad_request", f"the header {name.decode('latin-1')} is given twice")
        else:
            values[name] += ("; " if name == b"cookie" else ", ") + value.decode("latin-1")
    if values.get(b"content-encoding", "identity").lower() != "identity":
        raise Refused(415, "unsupported_media_type", "send the body without a Content-Encoding")
    return Head(values, is_event)
