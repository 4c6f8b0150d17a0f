"""The page of drills: the newest first, what was promised and what was let through, and when the next is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar.testing import TestClient
from msgspec.structs import replace

from console.app import create_app
from console.auth import AuthStore
from governance.drills import DrillResult, spread
from governance.settings_types import Settings
from storage import drills
from storage.read import Reader
from storage.store import Store
from tests.unit.console.conftest import BASE

KEPT = DrillResult(
    id="a", at="2026-03-02T08:00:00Z", by="<b>maya</b>", scenario="kill_switch", trips=20, gates=3, has_partition=True,
    rate_per_sec=50, credits=25, ttl_ms=5_000, report_ms=250, exceeded=0, failed=0, admitted_after=spread([12, 26]),
    bound=spread([47, 63]), detect_ms=spread([9]), contain_ms=spread([480]), verify_ms=spread([1_300]),
)  # fmt: skip


def test_the_page_says_what_the_last_drill_found(
    tmp_path: Path, runtime: Any, settings: Settings, auth: AuthStore
) -> None:
    with Store(tmp_path / "store") as store:
        store.migrate()
        store.connect_projections().close()
        reader = Reader.open(store.path)
        link = store.connect()
        with TestClient(create_app(runtime, settings, reader, auth), base_url=BASE) as client:
            client.post("/login", data={"name": "vera", "password": "correct horse battery"})
            assert "No drill was run yet" in client.get("/drills").text
            drills.put(link, KEPT)
            page = client.get("/drills").text
            assert "at most 26 admitted after a stop, 63 promised" in page
            assert "12 · 26 · 26" in page
            assert "3 gates, 25 credits, one cut off" in page
            assert "&lt;b&gt;maya" in page
            assert "<b>maya" not in page
            drills.put(link, replace(KEPT, id="b", at="2026-03-02T09:00:00Z", exceeded=2))
            assert "Last drill: 2 of 20 stops let through more than promised" in client.get("/drills").text
        link.close()
        reader.close()
