"""Where something is written in a policy, as TOML writes it: a name that is no bare key is quoted and escaped."""

from __future__ import annotations

import re

from governance.stanza import quote

_BARE = re.compile(r"[A-Za-z0-9_-]+(\[\d+\])?")


def dotted(path: tuple[str, ...]) -> str:
    """The parts with dots between; an index such as ``fields[2]`` stays as it is."""
    return ".".join(part if _BARE.fullmatch(part) else quote(part) for part in path)
