"""Jobs that are due now and then, each done by one process of several. When one is due is a row of ``meta``."""

from __future__ import annotations

from storage.link import Link

_SEEN = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
_CLAIM = "UPDATE meta SET value = ? WHERE name = ? AND CAST(value AS BIGINT) <= ?"
_NEXT = "UPDATE meta SET value = ? WHERE name = ?"


def claim(link: Link, job: str, now_ms: int, next_ms: int, again_ms: int) -> bool:
    """Whether the caller is to do the job now; inside the caller's transaction.

    Parameters: ``next_ms``, when it is due first where it was never seen; ``again_ms``, when it is due again unless
    ``finish`` says else: a process that dies in the middle leaves it to another one.
    """
    link.execute(_SEEN, (_name(job), str(next_ms)))
    return bool(link.execute(_CLAIM, (str(again_ms), _name(job), now_ms)).rowcount)


def finish(link: Link, job: str, next_ms: int) -> None:
    """The job is done; when it is due next."""
    link.execute(_NEXT, (str(next_ms), _name(job)))


def _name(job: str) -> str:
    return f"job:{job}"
