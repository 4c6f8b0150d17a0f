"""The CRM's credential: held by the proxy, never shown, taken anew when its file changes."""

from __future__ import annotations

from pathlib import Path

_LEAST, _MOST = 8, 16_384


class BadCredential(ValueError):
    """There is no credential that can be used; the message names the place, never the value."""


class Credential:
    """A bearer token in a file, which whoever renews it writes anew (rename it into place), or a fixed one.

    Raises BadCredential when there is none that can be used.
    """

    def __init__(self, path: Path | None = None, value: str = "") -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._value = "" if path is not None else _checked(value, "TRIPLINE_CRM_TOKEN")
        self.secret()

    def __repr__(self) -> str:
        return "<Credential>"

    def secret(self) -> str:
        """The token as it is now. Raises BadCredential when its file can't be read."""
        if self._path is None:
            return self._value
        try:
            at = self._path.stat()
            stamp = (at.st_mtime_ns, at.st_size, at.st_ino)
            if stamp != self._stamp:
                self._value = _checked(self._path.read_text("ascii").strip(), str(self._path))
                self._stamp = stamp
        except (OSError, UnicodeDecodeError) as problem:
            raise BadCredential(f"{self._path}: the credential can't be read ({type(problem).__name__})") from None
        return self._value


def _checked(value: str, where: str) -> str:
    if not (_LEAST <= len(value) <= _MOST and value.isascii() and value.isprintable() and " " not in value):
        raise BadCredential(f"{where}: the CRM's access token is 8 to 16,384 printable characters without blanks")
    return value
