"""The adapters over the real corpora beside the checkout; skipped where they aren't, which the suite says loudly."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from events.adapters import crm_csv, eventlog, workbench
from events.adapters.base import DataIssue, IssueKind
from events.adapters.mapping import parse_mapping
from events.adapters.tables import csv_rows
from events.codec import decode_lines, encode, time_ms
from events.types import ChangeEvent, Event
from tests.components import CORPORA

MAPPING = Path(__file__).resolve().parents[3] / "docs" / "examples" / "bpic2017.toml"
LINES = 120_000
"""So much of BPIC2017 is read: about a third, in time order, with thousands of cases that end."""
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason=f"the public corpora are not in {CORPORA}")


def sound(events: list[Any]) -> None:
    """Every event can be read back, ids are unique, and the order is that of time, source and id."""
    block = b"".join(encode(event) + b"\n" for event in events)
    read = decode_lines(block[: 1 << 20].rpartition(b"\n")[0])
    assert not read.refusals
    assert read.events == events[: len(read.events)]
    keys = [(time_ms(event), event.source, event.id) for event in events]
    assert keys == sorted(keys)
    assert len({key[1:] for key in keys}) == len(keys)


def test_workbench_every_call_of_every_episode_becomes_an_action() -> None:
    path = CORPORA / "workbench" / "episodes.jsonl.gz"
    with gzip.open(path) as stream:
        items: list[Any] = list(workbench.read(stream))
    with gzip.open(path) as stream:
        episodes = [json.loads(line) for line in stream]
    calls = [(each["model"], call["error"]) for each in episodes for call in each["events"]]
    assert all(isinstance(item, Event) for item in items)
    assert Counter((item.data.agent_id, item.data.outcome == "error") for item in items) == Counter(calls)
    sound(items)


@pytest.mark.slow
def test_bpic2017_cases_end_with_their_first_outcome_and_nothing_comes_after() -> None:
    path = CORPORA / "bpic2017" / "events.csv.gz"
    with gzip.open(path) as stream:
        rows = csv_rows(islice(stream, LINES))
        read: list[Any] = list(eventlog.read(rows, parse_mapping(MAPPING.read_text()), path.name))
    items = [item for item in read if isinstance(item, Event)]
    issues = {item.kind for item in read if not isinstance(item, Event)}
    assert issues <= {IssueKind.UNUSED}, "an activity may be rare"
    ends = first_ends(path)
    assert len(ends) > 3_000
    closes = [item for item in items if isinstance(item, ChangeEvent) and item.id.endswith("/close")]
    assert {each.data.deal_id: each.data.changes["stage"][1] for each in closes} == ends  # type: ignore[index]
    closed: set[str] = set()
    for item in items:
        assert item.data.deal_id not in closed
        if item.id.endswith("/close"):
            closed.add(item.data.deal_id)
    sound(items)


def first_ends(path: Path) -> dict[str, str]:
    """The stage that each case ends in up to there, straight from the file (which is in time order)."""
    stages = {"A_Pending": "Closed Won", "A_Cancelled": "Closed Lost", "A_Denied": "Closed Lost"}
    ends: dict[str, str] = {}
    with gzip.open(path, "rt") as stream:
        for row in csv.DictReader(islice(stream, LINES)):
            if row["activity"] in stages:
                ends.setdefault(row["case"], stages[row["activity"]])
    return ends


def test_maven_every_opportunity_becomes_a_deal_and_the_mess_is_reported() -> None:
    folder = CORPORA / "maven"
    with (
        gzip.open(folder / "sales_pipeline.csv.gz") as pipeline,
        (folder / "accounts.csv").open("rb") as accounts,
        (folder / "products.csv").open("rb") as products,
        (folder / "sales_teams.csv").open("rb") as teams,
    ):
        files = crm_csv.Files(
            pipeline=csv_rows(pipeline),
            accounts=csv_rows(accounts),
            products=csv_rows(products),
            teams=csv_rows(teams),
        )
        items: list[Any] = list(crm_csv.read(files))
    with gzip.open(folder / "sales_pipeline.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    issues = Counter((str(each.kind), each.column) for each in items if isinstance(each, DataIssue))
    assert issues["name_variant", "product"] == sum(row["product"] == "GTXPro" for row in rows)
    assert issues["missing_value", "account"] == sum(not row["account"] for row in rows)
    assert issues["missing_value", "engage_date"] == sum(not row["engage_date"] for row in rows)
    events = [item for item in items if isinstance(item, Event)]
    whats = Counter(event.id.partition("/")[2] for event in events)
    assert whats["create"] == len(rows)
    assert whats["close"] == sum(row["deal_stage"] in ("Won", "Lost") for row in rows)
    assert len(items) == len(events) + issues.total()
    sound(events)
