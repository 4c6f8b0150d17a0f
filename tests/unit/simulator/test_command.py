import gzip
import json
from pathlib import Path

from click.testing import CliRunner

from console.cli.simulate import simulate
from events.codec import decode_input


def run(*options: str) -> str:
    result = CliRunner().invoke(simulate, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_line_is_an_event_that_producers_may_send(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    run("--days", "9", "--agents", "3", "--scenario", "outage", "--scenario", "bulk", "--out", str(log))
    lines = log.read_bytes().splitlines()
    assert len(lines) > 1000
    for line in lines:
        decode_input(line)


def test_packed_logs_and_labels_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        log, labels = tmp_path / f"{name}.jsonl.gz", tmp_path / f"{name}.labels"
        run("--days", "9", "--agents", "2", "--scenario", "loop", "--out", str(log), "--labels", str(labels))
        made.append((log.read_bytes(), labels.read_bytes()))
    assert made[0] == made[1]
    ids = {json.loads(line)["id"] for line in gzip.decompress(made[0][0]).splitlines()}
    (label,) = map(json.loads, made[0][1].splitlines())
    assert label["kind"] == "loop"
    assert set(label["event_ids"]) <= ids


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(simulate, ["--scenario", "spike", "--days", "9", "--out", "-"])
    assert result.exit_code == 2
    assert "spike_10" in result.output
