"""A day's quality is kept once, and read as a line; on SQLite and on PostgreSQL."""

from __future__ import annotations

from storage.link import Link
from storage.quality import QualityPoint, QualityRow, deal_states, keep, trend
from storage.read import Reader
from storage.read.book import book


def test_a_day_is_kept_once_and_other_tenants_and_scopes_are_not_told(link: Link, reader: Reader) -> None:
    rows = [
        QualityRow("default", "2026-03-02", "all", "all", 90.0, 8, 3),
        QualityRow("default", "2026-03-01", "all", "all", 80.5, 7, 9),
        QualityRow("default", "2026-03-01", "owner", "o", 10.0, 7, 9),
        QualityRow("other", "2026-03-01", "all", "all", 1.0, 7, 9),
    ]
    link.execute("BEGIN")
    keep(link, rows)
    keep(link, [QualityRow("default", "2026-03-02", "all", "all", 95.0, 8, 2)])
    link.execute("COMMIT")
    assert trend(reader) == [QualityPoint("2026-03-01", 80.5, 7, 9), QualityPoint("2026-03-02", 95.0, 8, 2)]
    assert (deal_states(reader), book(reader)) == ([], [])
