"""Where imported events go: into a JSON Lines file, or in batches to a running console."""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, cast

import httpx
import msgspec
from msgspec import Struct

BATCH_EVENTS = 500
BATCH_BYTES = 1_000_000
GIVE_UP_SECS = 300.0
FIRST_WAIT_SECS = 0.25
LONGEST_WAIT_SECS = 10.0


class DeliveryFailed(Exception):
    """The events can't be delivered; the message says why and what to do."""


class Refused(Struct, frozen=True):
    """An event that the console refused: its place among those sent (from 0), the code, and the sentence."""

    index: int
    reason: str
    message: str


class Sink(Protocol):
    """Takes encoded events; ``close`` makes sure that all are where they belong."""

    refused: list[Refused]

    def write(self, raw: bytes) -> None:
        """Take one event."""

    def close(self) -> None:
        """Deliver what is left."""

    def abandon(self) -> None:
        """Leave nothing half done behind."""


class FileSink:
    """A ``.jsonl`` or ``.jsonl.gz`` file, there only once it is whole; the same events give the same bytes."""

    def __init__(self, path: Path) -> None:
        self.refused: list[Refused] = []
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._raw = self._part.open("wb")
        is_packed = path.suffix == ".gz"
        packed = gzip.GzipFile("", "wb", 6, self._raw, 0) if is_packed else self._raw
        self._file = cast(IO[bytes], packed)

    def write(self, raw: bytes) -> None:
        """Add one line."""
        self._file.write(raw + b"\n")

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.close()
        self._raw.close()
        os.replace(self._part, self._path)

    def abandon(self) -> None:
        """Remove the unfinished file."""
        self._file.close()
        self._raw.close()
        self._part.unlink(missing_ok=True)


class StdoutSink:
    """Lines on standard output."""

    def __init__(self) -> None:
        self.refused: list[Refused] = []

    def write(self, raw: bytes) -> None:
        """Print one line."""
        sys.stdout.buffer.write(raw + b"\n")

    def close(self) -> None:
        """Flush."""
        sys.stdout.buffer.flush()

    def abandon(self) -> None:
        """Nothing to undo."""


class HttpSink:
    """Batches to ``URL/v1/events``; waits when the console says 429 or can't be reached, and says when it gives up.

    Parameters
    ----------
    url: the console's address, such as http://127.0.0.1:8787.
    token: an API token, or "" where the console asks for none.
    give_up_secs: how long one batch is tried without success.
    client, sleep: for tests.
    Raises ValueError when ``url`` is none.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        give_up_secs: float = GIVE_UP_SECS,
        client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.refused: list[Refused] = []
        self.accepted = self.duplicates = 0
        self._url = url.rstrip("/").removesuffix("/v1/events") + "/v1/events"
        try:
            httpx.URL(self._url)
        except httpx.InvalidURL as problem:
            raise ValueError(f"{url!r} is no URL: {problem}") from None
        self._headers = {"content-type": "application/x-ndjson"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._client = client or httpx.Client(timeout=60)
        self._sleep, self._give_up_secs = sleep, give_up_secs
        self._batch: list[bytes] = []
        self._bytes = self._sent = 0

    def write(self, raw: bytes) -> None:
        """Take one event; sends when a batch is full."""
        if self._batch and (len(self._batch) >= BATCH_EVENTS or self._bytes + len(raw) > BATCH_BYTES):
            self._send()
        self._batch.append(raw)
        self._bytes += len(raw) + 1

    def close(self) -> None:
        """Send what is left."""
        if self._batch:
            self._send()
        self._client.close()

    def abandon(self) -> None:
        """Close the connection; what was accepted stays, and sending it again does no harm."""
        self._client.close()

    def __enter__(self) -> HttpSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def _send(self) -> None:
        answer = self._post(b"\n".join(self._batch) + b"\n")
        self.accepted += int(answer.get("accepted", 0))
        self.duplicates += int(answer.get("duplicates", 0))
        for item in answer.get("refused", ()):
            place = self._sent + int(item["index"])
            self.refused.append(Refused(place, str(item["reason"]), str(item["message"])))
        self._sent += len(self._batch)
        self._batch, self._bytes = [], 0

    def _post(self, body: bytes) -> dict[str, Any]:
        waited = 0.0
        wait = FIRST_WAIT_SECS
        while True:
            try:
                answer = self._client.post(self._url, content=body, headers=self._headers)
            except httpx.TransportError as problem:
                why, asked = f"{self._url} can't be reached ({problem})", 0.0
            else:
                if answer.status_code not in (429, 502, 503, 504):
                    return self._taken(answer)
                why, asked = f"{self._url} asks to wait ({answer.status_code})", _retry_after(answer)
            if waited >= self._give_up_secs:
                raise DeliveryFailed(f"{why}; gave up after {waited:.0f} s and {self._sent} events. Is it running?")
            pause = min(max(wait, asked), LONGEST_WAIT_SECS)
            self._sleep(pause)
            waited += pause
            wait *= 2

    def _taken(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            told = msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            told = None
        if isinstance(told, dict) and answer.status_code in (200, 201, 202, 400) and "refused" in told:
            return told
        text = answer.text[:300].strip()
        raise DeliveryFailed(f"{self._url} answered {answer.status_code}: {text or answer.reason_phrase}")


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
