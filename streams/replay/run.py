"""``tripline replay``: logs in, findings, control decisions, risks, alerts and dead letters out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from detectors.discovery import judged_with
from events.codec import BadEvent
from events.errors import BadReason
from events.rows import event_of
from events.times import DAY_MS, format_ms
from events.types import FindingEvent
from governance.settings import Settings
from streams.engine import Topology, topology
from streams.envelopes import line_letter, make_key
from streams.records import Output
from streams.replay.authority import Authority
from streams.replay.drive import Drive
from streams.replay.dump import is_dump, manifest_of, replay_dump
from streams.replay.reader import BadLine, Item, OutOfOrder, first_time_ms, read
from streams.replay.report import Report, Wanted, make_report
from streams.replay.span import Span
from streams.replay.watching import Watching

Progress = Callable[[int], None]

FILES = {
    "finding": "findings.jsonl",
    "control": "control.jsonl",
    "risk": "deal_risk.jsonl",
    "alert": "alerts.jsonl",
    "dead_letter": "dead_letters.jsonl",
}
SUMMARY, REPORT = "summary.json", "report.json"
GAP_MS = 180 * DAY_MS
"""A gap in a raw file after which a few last events are taken for wrong clocks, not for the future."""
_encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines


class ReplayResult(Struct, frozen=True, kw_only=True):
    """What a replay did; written as summary.json, the same bytes for the same log and settings."""

    engine_id: str
    mode: str
    events: int
    actions: int
    agents: int
    deals: int
    duplicates: int
    first: str | None
    last: str | None
    findings: dict[str, dict[str, int]]
    suspended: list[str]
    outputs: dict[str, int]
    dead_letters: dict[str, int]
    settings_hash: str


class Writer:
    """Writes outputs to files in a folder beside the target, which take their names when all is done."""

    def __init__(self, folder: Path, engine_id: str, authority: Authority, watching: Watching | None) -> None:
        self.engine_id = engine_id
        self.watching = watching
        self.authority = authority
        self.written: Counter[str] = Counter()
        self.findings: dict[str, Counter[str]] = {}
        self.suspended: dict[str, None] = {}
        self._files = {kind: (folder / name).open("wb") for kind, name in FILES.items()}

    def take(self, outputs: Sequence[Output]) -> None:
        """Write the outputs that are published; a finding that asks for control is put to the authority."""
        said: dict[str, list[Any]] = {}
        for output in outputs:
            kind = output.kind
            if kind in self._files:
                said.setdefault(kind, []).append(output.event)
            if kind == "finding" and isinstance(output.event, FindingEvent):
                self._finding(output, output.event)
        for name, events in said.items():
            self.written[name] += len(events)
            self._files[name].write(_encode_lines(events))

    def write(self, kind: str, event: Any) -> None:
        """One event, one line."""
        self.written[kind] += 1
        self._files[kind].write(_encode(event) + b"\n")

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _finding(self, output: Output, event: FindingEvent) -> None:
        said = event.data
        self.findings.setdefault(said.detector, Counter())[said.action_taken] += 1
        decided = self.authority.request(output.key, said, output.at_ms)
        is_trip = decided is not None and decided.data.state == "suspended"
        if decided is not None:
            self.write("control", decided)
        if is_trip:
            self.suspended[said.agent_id] = None
        if self.watching is not None:
            self.watching.hear(output.key, said, output.at_ms, is_trip=is_trip)


def replay(
    paths: Sequence[Path], settings: Settings, out: Path, *, engine_id: str = "replay", progress: Progress | None = None
) -> ReplayResult:
    """Replay logs and write what the engine says to ``out``, a folder that is made or whose files are replaced.

    A dump of input partitions is replayed exactly; raw files are put in (time, source, id) order with synthetic
    ticks. Raises OSError for files that can't be read or written, NotADump for a dump that is damaged.
    """
    return _replay(paths, settings, out, engine_id, progress, None)[0]


def replay_and_report(
    paths: Sequence[Path],
    settings: Settings,
    out: Path,
    wanted: Wanted,
    *,
    engine_id: str = "replay",
    progress: Progress | None = None,
) -> tuple[ReplayResult, Report]:
    """The same, and what its findings would have meant, also written to ``out`` as report.json."""
    result, watching = _replay(paths, settings, out, engine_id, progress, wanted)
    if watching is None:
        raise RuntimeError("a report was asked for and nothing was watched")
    report = make_report(watching, paths, wanted, judged_with(settings), is_dump=result.mode == "dump")
    (out / REPORT).write_bytes(msgspec.json.format(_encode(report), indent=2) + b"\n")
    return result, report


def _replay(
    paths: Sequence[Path],
    settings: Settings,
    out: Path,
    engine_id: str,
    progress: Progress | None,
    wanted: Wanted | None,
) -> tuple[ReplayResult, Watching | None]:
    out.mkdir(parents=True, exist_ok=True)
    watches = wanted is not None
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=out) as name:
        folder = Path(name)
        if is_dump(paths[0]):
            result, watching = _dump(paths, settings, folder, watches=watches)
        else:
            try:
                result, watching = _raw(paths, settings, folder, engine_id, progress, watches=watches, external=False)
            except OutOfOrder:
                result, watching = _raw(paths, settings, folder, engine_id, progress, watches=watches, external=True)
        (folder / SUMMARY).write_bytes(msgspec.json.format(_encode(result), indent=2) + b"\n")
        for file in (*FILES.values(), SUMMARY):
            shutil.move(folder / file, out / file)
    return result, watching


def _raw(
    paths: Sequence[Path],
    settings: Settings,
    folder: Path,
    engine_id: str,
    progress: Progress | None,
    *,
    watches: bool,
    external: bool,
) -> tuple[ReplayResult, Watching | None]:
    stages = topology(settings, engine_id)
    watching = Watching([stages], has_admissions=False) if watches else None
    writer = Writer(folder, engine_id, Authority(settings, engine_id), watching)
    bad: list[BadLine] = []
    span = Span()
    try:
        drive = Drive(stages, engine_id, settings.engine.tick_secs * 1000, writer.take)
        for items in without_wrong_clocks(read(paths, bad, external=external, with_deal_rows=True), bad):
            if watching is not None:
                watching.see((item[0], item[4]) for item in items)
            drive.feed(items)
            span.take(items[0][0], items[-1][0], len(items))
            if progress is not None:
                progress(span.events)
        drive.finish()
        _dead_letters(bad, writer)
    finally:
        writer.close()
    return _result("raw", writer, [stages], span, bad, settings), watching


def _dump(
    paths: Sequence[Path], settings: Settings, folder: Path, *, watches: bool
) -> tuple[ReplayResult, Watching | None]:
    manifest = manifest_of(paths)
    engine_id = manifest.engine_id if manifest else "main"
    topic_ids, partitions = (manifest.topic_ids, manifest.partitions) if manifest else (None, 1)
    stages = [topology(settings, engine_id, topic_ids, index) for index in range(partitions)]
    for one in stages:
        one.portfolio.sources = partitions
    watching = Watching(stages, has_admissions=True) if watches else None
    writer = Writer(folder, engine_id, Authority(settings, engine_id), watching)
    bad: list[BadLine] = []
    span = Span()
    try:
        replay_dump(paths, stages, writer.take, bad, span, None if watching is None else watching.see)
        _dead_letters(bad, writer)
    finally:
        writer.close()
    return _result("dump", writer, stages, span, bad, settings), watching


def without_wrong_clocks(blocks: Iterable[list[Item]], bad: list[BadLine]) -> Iterator[list[Item]]:
    """Set aside the last few events when they lie half a year or more after all others: their clocks were wrong.

    Live, an event far ahead of the log's clock is refused. A raw file has no such clock, so this asks whether at
    most one event in a hundred (or one alone) stands behind a gap of 180 days at the end of the file.
    """
    passed, last_ms = 0, None
    held: list[Item] = []
    for block in blocks:
        cut = len(block)
        if held:
            cut = 0
        elif (last_ms is not None and block[-1][0] - last_ms > GAP_MS) or block[-1][0] - block[0][0] > GAP_MS:
            cut = _gap(block, last_ms)
        if cut:
            yield block[:cut]
            passed += cut
            last_ms = block[cut - 1][0]
        held += block[cut:]
        if held and len(held) > max(1, passed // 100):
            yield held
            passed += len(held)
            last_ms, held = held[-1][0], []
    if passed < 2:
        if held:
            yield held
        return
    bad += [_ahead(item, last_ms or 0) for item in held]


def _gap(block: Sequence[Item], last_ms: int | None) -> int:
    """Where the last gap of 180 days in a block begins (the place after it), or its end when there is none."""
    for place in range(len(block) - 1, -1, -1):
        before = block[place - 1][0] if place else last_ms
        if before is not None and block[place][0] - before > GAP_MS:
            return place
    return len(block)


def _ahead(item: Item, last_ms: int) -> BadLine:
    event = event_of(item[4])
    message = (
        f"time: {event.time} lies {(item[0] - last_ms) // DAY_MS} days after all other events of the log "
        f"(the last is of {format_ms(last_ms)}); a wrong clock?"
    )
    problem = BadEvent(BadReason.BAD_TIME, message, "time", getattr(event.data, "agent_id", None))
    return BadLine("", item[3], _encode(event), problem, last_ms)


def _dead_letters(bad: Iterable[BadLine], writer: Writer) -> None:
    for line in bad:
        at_ms = first_time_ms(line.raw)
        at_ms = line.after_ms if at_ms is None else at_ms
        letter = line_letter(
            writer.engine_id, at_ms, make_key("default", "*"), line.raw, line.problem, line.path, line.line
        )
        writer.write("dead_letter", letter)


def _result(
    mode: str,
    writer: Writer,
    stages: Sequence[Topology],
    span: Span,
    bad: Sequence[BadLine],
    settings: Settings,
) -> ReplayResult:
    return ReplayResult(
        engine_id=writer.engine_id,
        mode=mode,
        events=span.events,
        actions=sum(one.agents.judged for one in stages),
        agents=sum(len(one.agents.keys) for one in stages),
        deals=sum(len(one.deals.keys) for one in stages),
        duplicates=sum(one.agents.duplicates + one.deals.duplicates for one in stages),
        first=None if span.first_ms is None else format_ms(span.first_ms),
        last=None if span.last_ms is None else format_ms(span.last_ms),
        findings={name: dict(sorted(counts.items())) for name, counts in sorted(writer.findings.items())},
        suspended=list(writer.suspended),
        outputs={name: writer.written[kind] for kind, name in FILES.items()},
        dead_letters=dict(sorted(Counter(str(line.problem.reason) for line in bad).items())),
        settings_hash=hashlib.blake2b(_encode(settings, order="deterministic"), digest_size=16).hexdigest(),
    )
