"""``tripline detectors mix``: from a log to a list of windows to look at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli.detectors import detectors
from events.times import HOUR_MS, format_ms

START_MS = 1_767_571_200_000


def event(agent: str, hour: int, step: int) -> str:
    name = "record.delete" if (agent, hour) == ("b", 9) else "record.update" if step % 2 else "record.read"
    return json.dumps({
        "specversion": "1.0", "id": f"{agent}{hour}-{step}", "source": "/crm", "type": "tripline.agent.action.v1",
        "time": format_ms(START_MS + hour * HOUR_MS + step * 60_000), "subject": f"agent/{agent}",
        "partitionkey": agent, "datacontenttype": "application/json",
        "data": {"agent_id": agent, "action": name, "object": "Lead", "record_ids": [f"r{step}"], "outcome": "ok"},
    })  # fmt: skip


def run(tmp_path: Path, agents: str, *more: str, hours: int = 26) -> Result:
    log = tmp_path / "log.jsonl"
    lines = [event(agent, hour, step) for hour in range(hours) for step in range(12) for agent in agents]
    log.write_text("\n".join(lines) + "\n")
    return CliRunner().invoke(detectors, ["mix", str(log), "--out", str(tmp_path / "out.json"), *more])


def test_the_strangest_windows_are_written_with_their_reasons(tmp_path: Path) -> None:
    result = run(tmp_path, "abc", "--top", "1")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out.json").read_text())
    first = found["windows"][0]
    assert (first["agent_id"], first["from"][:13]) == ("b", "2026-01-05T09")
    assert (found["seen"], found["without_peers"], len(found["windows"])) == (78, [], 3)
    assert "share of record.delete" in {one["name"] for one in first["features"]}
    assert "3 of 78 windows" in result.output


@pytest.mark.parametrize(("agents", "hours"), [("ab", 26), ("abc", 3)], ids=["no peers", "too short"])
def test_too_little_to_compare_is_an_error_that_says_what_it_takes(tmp_path: Path, agents: str, hours: int) -> None:
    result = run(tmp_path, agents, hours=hours)
    assert result.exit_code == 1
    assert "two with the same role" in result.output
    assert not (tmp_path / "out.json").exists()
