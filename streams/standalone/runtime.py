"""The standalone runtime: everything in one process, with SQLite as log and store.

``Runtime`` is safe to use from any thread. Its methods return futures that resolve when what they ask for is durable.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
from xxhash import xxh3_64_intdigest

from events import codec
from events.types import (
    ActionEvent,
    By,
    Event,
    PolicyEvent,
    PolicyVersion,
)
from governance.approvals import Answer, Verdict
from governance.control import ControlRequest, Decision, is_stop_all, stop_all_key
from governance.drills import DrillResult
from governance.gate import GateDecision, GateRequest
from governance.lease_types import LeaseAsk, What
from governance.policy import Policy
from governance.policy.granted import granted
from governance.ports import Clock
from governance.settings import Settings
from storage import drills, projections
from storage.link import Link
from storage.models import Use
from storage.quality import QualityRow
from storage.quality import keep as keep_quality
from storage.read.store import open_engine
from storage.store import Store
from streams import cancelling
from streams.authority import Authority
from streams.deal_promotion import Promotion, PromotionRefused, try_promote
from streams.envelopes import envelope, make_key
from streams.leasing import Leased, Reported
from streams.policies import PolicyInForce
from streams.policy_change import POLICY_KEY
from streams.records import Entry, Stage
from streams.routing import ACTIONS, CRM, INPUT_TOPICS, topics_of
from streams.standalone import leasing
from streams.standalone.clock import SystemClock
from streams.standalone.core import Core
from streams.standalone.dump import dump
from streams.standalone.gatekeeper import GateCheck, answer_approval
from streams.standalone.jobs import Call, Delivery, Job, TickJob, answer
from streams.standalone.keeper import Checkpointer, Ticker
from streams.standalone.mailbox import HandOver, Mailbox
from streams.standalone.projection import MakeProjection, Projection
from streams.standalone.projector import Projector
from streams.standalone.recent import id_hash
from streams.standalone.recent import pack as pack_ids
from streams.standalone.recovery import MakeStages, open_core, settings_hash
from streams.standalone.round import Round
from streams.standalone.tuning import tune_interpreter
from streams.standalone.types import Busy, Changes, ItemResult, OriginOf, Prepared, RuntimeStatus, no_origin
from streams.standalone.writer import Writer
from streams.subscribers import Subscriber, Subscribers
from streams.ticks import EVERYBODY

MAX_QUEUED = 20_000
_DISK_CHECK_SECS = 0.5
_BACKLOG_SECS = 10
_ROWS = frozenset({"rows"})
_SET_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_pack = msgspec.msgpack.Encoder()
T = TypeVar("T")
_log = structlog.get_logger("tripline.runtime")


def engine_stages(settings: Settings, engine_id: str, topic_ids: Mapping[str, str]) -> Mapping[str, Stage]:
    """The real topology; see ``streams.engine``."""
    from streams.engine import topology  # noqa: PLC0415 - the detectors load only where they are run

    return topology(settings, engine_id, topic_ids).stages()


class Runtime:
    """The engine, its store and its threads. Parameters: settings; the clock; the data folder (default: the settings').

    ``make_stages`` is the topology, replaced in tests; ``make_projector`` says who writes the rows of what agents did:
    a thread, or a process (``ProjectorProcess``). ``start`` opens the store and may raise StoreError, or PolicyError.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        store: Store | None = None,
        make_stages: MakeStages = engine_stages,
        make_projector: MakeProjection = Projector,
        with_ticker: bool = True,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.store = store or Store(Path(settings.server.data_dir))
        self.make_stages = make_stages
        self.make_projector = make_projector
        self.projector: Projection | None = None
        self.policies = PolicyInForce(settings, self._record_policy)
        self.policies.keep_in(partial(self.decide, POLICY_KEY), self.now_ms, is_shared=False)
        self._subscribers = Subscribers()
        self._lock = threading.Lock()
        self._writer = Writer(self._open, self._committed, self._opened)
        self._ticker = Ticker(self.clock, settings.engine.tick_secs * 1000, self._tick_due) if with_ticker else None
        self._checkpointer = Checkpointer(self.store)
        self._crm_threads = cancelling.threads(
            settings, self._read, self.decide, lambda: open_engine(self.store.path), lambda: True, self.now_ms
        )
        self._tick_waits = False
        self._tick_trouble = ""
        self._disk_checked = 0.0
        self._wal_bytes = 0
        self._log_bytes = 0
        self._free_bytes = 1 << 62
        self._is_closed = False

    def __enter__(self) -> Runtime:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Lock, open and recover the store; start the threads."""
        self.policies.load()
        self.store.lock()
        try:
            self.store.migrate()
            self.store.connect_projections().close()
            self._writer.start()
        except BaseException:
            self.store.close()
            raise
        tune_interpreter()
        core = self._writer.core
        if core is not None:
            self.projector = self.make_projector(self.store, core.lanes[ACTIONS].topic_id, self._rows_written)
            self.projector.start()
        self._checkpointer.start()
        if self._ticker is not None:
            self._ticker.start()
        for thread in self._crm_threads:
            thread.start()
        self.policies.settle()
        self._record_policy().result(30)
        self.policies.start()

    def close(self) -> None:
        """Finish what was accepted, save the states, give the store back. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self.policies.stop()
        for thread in self._crm_threads:
            thread.stop()
        if self._ticker is not None:
            self._ticker.stop()
        self._writer.stop()
        if self.projector is not None:
            self.projector.stop()
        self._checkpointer.stop()
        self.store.close()

    # --- events -------------------------------------------------------------------------------------------------

    def ingest(
        self,
        events: Sequence[tuple[bytes, Event]],
        *,
        after: Callable[[Round], None] | None = None,
        may_wait: bool = False,
        origin_of: OriginOf | None = no_origin,
    ) -> Future[list[ItemResult]]:
        """Take events; the answers, one each, come when they are judged and durable. Raises Busy.

        Parameters: each event with the bytes it came in (empty: written anew). ``after`` runs in the transaction of
        the last of them. ``may_wait`` skips the check for Busy (a file can wait, a network client should be told).
        ``origin_of`` goes into the dead letter of an event that is refused; None: it gets none.
        """
        if not may_wait:
            self.check_load()
        delivery = Delivery(prepare(events), time.monotonic(), after, origin_of)
        if not events:
            delivery.future.set_result([])
            return delivery.future
        self._writer.deliver(delivery)
        return delivery.future

    def check_load(self) -> None:
        """Raise Busy when a producer should wait; cheap, so ask before reading a large body."""
        engine, writer = self.settings.engine, self._writer
        self._look_at_disk()
        oldest = writer.oldest_unjudged_secs()
        if oldest is not None and oldest * 1000 > engine.max_unjudged_ms:
            raise Busy(f"the oldest unjudged event has waited {oldest * 1000:.0f} ms", 0.25)
        if writer.queued_events > MAX_QUEUED:
            raise Busy(f"{writer.queued_events} events wait to be judged", 0.25)
        if self._wal_bytes > engine.max_wal_bytes:
            raise Busy(f"the store's write-ahead log is {self._wal_bytes >> 20} MiB large", 2.0)
        if self._free_bytes < engine.min_free_bytes:
            raise Busy(f"only {self._free_bytes >> 20} MiB of disk are free", 30.0)

    def dead_letter(
        self,
        raw: bytes,
        reason: str,
        message: str,
        origin: dict[str, Any] | None = None,
        agent_id: str | None = None,
        tenant: str = "default",
    ) -> Future[int]:
        """Keep what could not be read; the number of the dead letter comes when it is durable."""
        return self.call(lambda round_: round_.dead_letter(raw, reason, message, origin or {}, agent_id, tenant))

    def call(self, function: Callable[[Round], Any]) -> Future[Any]:
        """Run a function in a transaction of the writer's thread."""
        return self._queued(self._writer.calls, function)

    def _read(self, function: Callable[[Link], T]) -> T:
        found: T = self.call(lambda round_: function(round_.link)).result(30)
        return found

    def _queued(self, queue: deque[Job], function: Callable[[Round], T]) -> Future[T]:
        job: Call[T] = Call(function)
        self._writer.put(queue, job)
        return job.future

    def settle_dead_letters(self, ids: Sequence[int]) -> Future[None]:
        """Mark dead letters as re-driven."""
        return self.call(lambda round_: projections.settle_dead_letters(round_.core.link, ids, round_.now_ms))

    def keep_quality(self, rows: Sequence[QualityRow]) -> Future[None]:
        """Store a day's scores of the CRM's data."""
        return self.call(lambda round_: keep_quality(round_.core.link, rows))

    def promote(self, asked: Promotion) -> Future[Use | PromotionRefused]:
        """Have a model score deals from the next record on; a refusal is the answer, and nothing has changed then."""

        def run(round_: Round) -> Use | PromotionRefused:
            core = round_.core
            return try_promote(core.link, asked, round_.now_ms, partial(round_.append, CRM), core.engine_id)

        return self.call(run)

    # --- the gate -----------------------------------------------------------------------------------------------

    def check(self, request: GateRequest) -> Future[GateDecision]:
        """May an agent do this? An admission is durable and judged when the answer comes. Never fails: it denies."""
        future: Future[GateDecision] = Future()
        job = GateCheck(request, self.settings, self.policies, partial(answer, future))
        self._writer.put(self._writer.gates, job)
        return future

    def mailbox(self, hand_over: HandOver) -> Mailbox:
        """Where answers to ``ask`` go; one for each event loop, made once."""
        box = Mailbox(hand_over)
        with self._lock:
            self._writer.boxes = (*self._writer.boxes, box)
        return box

    def ask(self, request: GateRequest, box: Mailbox, token: Any) -> None:
        """As ``check``; the decision comes to the mailbox with the token, together with the others of its round."""
        job = GateCheck(request, self.settings, self.policies, partial(box.put, token))
        if not self._writer.put(self._writer.gates, job):
            box.deliver()

    # --- leases -------------------------------------------------------------------------------------------------

    def lease(self, ask: LeaseAsk) -> Future[Leased]:
        """A lease, or why there is none; durable when it comes."""
        return self._at_gate(lambda round_: leasing.grant(round_, ask, self.policies.policy, prepare))

    def report_lease(self, reported: Reported, what: What) -> Future[Leased | None]:
        """Take what the holder of a lease did; durable and judged when it comes. None: there is no such lease."""
        return self._at_gate(lambda round_: leasing.report(round_, reported, what, self.policies.policy, prepare))

    def override_lease(self, key: str, minutes: int, by: str, reason: str) -> Future[int]:
        """A person lets a blind agent go on; until when."""
        return self._at_gate(lambda round_: leasing.override(round_, key, minutes, by, reason))

    def keep_drill(self, result: DrillResult) -> Future[None]:
        """Keep what a drill measured."""
        return self.call(lambda round_: drills.put(round_.link, result))

    def _at_gate(self, function: Callable[[Round], T]) -> Future[T]:
        return self._queued(self._writer.gates, function)

    # --- control ------------------------------------------------------------------------------------------------

    def control(self, request: ControlRequest) -> Future[Decision]:
        """Ask the authority; it decides before anything else that waits."""
        return self.decide(request.key, lambda authority: authority.request(request))

    def answer_approval(self, given: Answer) -> Future[Verdict | None]:
        """A person approves, edits or refuses; durable when it comes. None: there is no such approval."""
        return self._queued(self._writer.control, lambda round_: answer_approval(round_, given, self.policies.policy))

    def decide(self, key: str, function: Callable[[Authority], T]) -> Future[T]:
        """Decide something about an agent in one transaction, before anything else that waits."""
        return self._queued(self._writer.control, function)

    def suspend(self, agent_id: str, by: str, reason: str, tenant: str = "default") -> Future[Decision]:
        """A person stops an agent."""
        return self.control(self._human(make_key(tenant, agent_id), agent_id, "suspended", 0, by, reason))

    def release(self, agent_id: str, epoch: int, by: str, reason: str, tenant: str = "default") -> Future[Decision]:
        """A person releases an agent; ``epoch`` is the one that the person saw. A refusal is in the decision."""
        return self.control(self._human(make_key(tenant, agent_id), agent_id, "active", epoch, by, reason))

    def stop_all(self, by: str, reason: str, tenant: str = "default") -> Future[Decision]:
        """One person stops every agent."""
        return self.control(self._human(stop_all_key(tenant), "*", "suspended", 0, by, reason))

    def end_stop_all(self, epoch: int, by: str, second: str, reason: str, tenant: str = "default") -> Future[Decision]:
        """Two people end the stop of all; each agent's own row still holds."""
        request = self._human(stop_all_key(tenant), "*", "active", epoch, by, reason)
        return self.control(msgspec.structs.replace(request, second=By("human", second)))

    def tick(self, at_ms: int | None = None) -> Future[None]:
        """Append a tick now; for tests and simulations without a ticker."""
        job = TickJob(at_ms if at_ms is not None else self.clock.now_ms())
        return self.call(job.run)

    def dump(self, folder: Path) -> dict[str, int]:
        """Write the input partitions as files for ``tripline replay``; returns how many records each has."""
        return dump(self.store, folder)

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy | None:
        """The policy in force; None without one."""
        return self.policies.policy

    def now_ms(self) -> int:
        """The time by the runtime's clock."""
        return self.clock.now_ms()

    def status(self) -> RuntimeStatus:
        """How it is doing; cheap, from any thread."""
        writer, core = self._writer, self._writer.core
        self._look_at_disk()
        oldest = writer.oldest_unjudged_secs()
        lanes = core.lanes if core is not None else {}
        rows = list(core.control.values()) if core is not None else []
        troubles = self._troubles(oldest)
        now_ms = self.clock.now_ms()
        return RuntimeStatus(
            now_ms=now_ms,
            judged_to_ms=now_ms if oldest is None and core is not None else writer.judged_to_ms,
            oldest_unjudged_ms=None if oldest is None else now_ms - int(oldest * 1000),
            queue=writer.queued_events,
            wal_bytes=self._wal_bytes,
            log_bytes=self._log_bytes,
            free_bytes=self._free_bytes,
            projection_lag=self._projection_lag(),
            degraded_reasons=list(troubles),
            troubles=list(troubles.values()),
            warnings=self.policies.warnings,
            offsets={topic: lane.next_offset for topic, lane in lanes.items()},
            counts=dict(core.counts) if core is not None else {},
            control_counts=Counter(row.state for row in rows if not is_stop_all(row.key)),
            suspended_by=Counter(row.by.kind for row in rows if row.state == "suspended" and not is_stop_all(row.key)),
            stop_all=any(is_stop_all(row.key) and row.state == "suspended" for row in rows),
            restarts=writer.restarts,
            is_writing=core is not None,
        )

    def _projection_lag(self) -> int:
        core, projector = self._writer.core, self.projector
        return max(0, core.lanes[ACTIONS].next_offset - projector.position) if core and projector else 0

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Be called after each commit with what changed, in the writer's thread; returns how to end it."""
        return self._subscribers.add(callback)

    # --- inside -------------------------------------------------------------------------------------------------

    def _open(self) -> Core:
        return open_core(self.store, self.settings, self.make_stages, self.clock.now_ms)

    def _opened(self, core: Core) -> None:
        _log.info("store_opened", offsets={topic: lane.next_offset for topic, lane in core.lanes.items()})

    def _committed(self, round_: Round, changes: Changes, entries: list[Entry]) -> None:
        if self.projector is not None:
            if entries:
                self.projector.take(entries)
            if round_.denials:
                self.projector.take_denials(round_.denials)
            if round_.bands:
                self.projector.take_bands(round_.bands)
        self._subscribers.tell(changes)

    def _rows_written(self, agents: frozenset[str]) -> None:
        """A page that looked right after the commit may have missed the rows; now they are there."""
        self._subscribers.tell(Changes(agents=agents, deals=frozenset(), kinds=_ROWS, counts={}, wrong_records=[]))

    def _tick_due(self, at_ms: int) -> None:
        if self._tick_waits:
            return
        self._tick_waits = True
        job: Call[None] = Call(TickJob(at_ms).run)
        job.future.add_done_callback(self._tick_done)
        self._writer.put(self._writer.calls, job)

    def _tick_done(self, done: Future[None]) -> None:
        problem = done.exception()
        self._tick_trouble = "" if problem is None else str(problem) or type(problem).__name__
        self._tick_waits = False

    def _record_policy(self) -> Future[None]:
        """The version of settings and policy goes into every input topic when they changed, with what it grants."""
        policy = self.policies.policy
        found = settings_hash(self.settings) + (f"+{policy.hash}" if policy is not None else "")
        grants = granted(policy) if policy is not None else None

        def record(round_: Round) -> None:
            round_.confirm_open_releases()
            link = round_.core.link
            known = dict(link.execute("SELECT name, value FROM meta WHERE name IN ('policy_hash', 'policy_version')"))
            if known.get("policy_hash") == found:
                return
            version = int(known.get("policy_version", 0)) + 1
            for name, value in (("policy_hash", found), ("policy_version", str(version))):
                link.execute(_SET_META, (name, value))
            data = PolicyVersion(version=version, hash=found, granted=grants)
            event = envelope(PolicyEvent, round_.core.engine_id, f"policy-{version}", round_.now_ms, EVERYBODY, data)
            for topic in INPUT_TOPICS:
                round_.append(topic, event)

        return self.call(record)

    def _human(self, key: str, agent_id: str, wanted: Any, epoch: int, by: str, reason: str) -> ControlRequest:
        return ControlRequest(
            key=key,
            agent_id=agent_id,
            wanted=wanted,
            basis_epoch=epoch,
            by=By("human", by),
            reason=reason,
            at_ms=self.clock.now_ms(),
        )

    def _look_at_disk(self) -> None:
        now = time.monotonic()
        if now - self._disk_checked > _DISK_CHECK_SECS:
            self._disk_checked = now
            self._wal_bytes, self._free_bytes = self.store.wal_bytes(), self.store.free_bytes()
            self._log_bytes = self.store.file_bytes()

    def _troubles(self, oldest: float | None) -> dict[str, str]:
        """What is wrong, by its short name, in words."""
        engine, writer = self.settings.engine, self._writer
        found: dict[str, str] = {}
        if writer.core is None or writer.trouble:
            found["store"] = f"the store can't be used: {writer.trouble}"
        if not writer.is_running and not self._is_closed:
            found["writer"] = "the writer's thread is not running"
        if self._wal_bytes > engine.max_wal_bytes:
            found["wal"] = f"the write-ahead log is {self._wal_bytes >> 20} MiB large"
        if self._free_bytes < engine.min_free_bytes:
            found["disk"] = f"only {self._free_bytes >> 20} MiB of disk are free"
        if oldest is not None and oldest > _BACKLOG_SECS:
            found["backlog"] = f"the oldest unjudged event has waited {oldest:.0f} s"
        if self._tick_trouble:
            found["ticks"] = f"the last tick failed: {self._tick_trouble}"
        if self.projector is not None and self.projector.trouble:
            found["projections"] = f"the record of actions can't be written: {self.projector.trouble}"
        return found


def prepare(events: Sequence[tuple[bytes, Event]]) -> list[Prepared]:
    """Events as the writer takes them: hashed and routed."""
    pack, time_ms, encode, encode_json = _pack.encode, codec.time_ms, codec.encode, msgspec.json.encode
    found = []
    only_actions = (ACTIONS,)
    for raw, event in events:
        id_ = id_hash(event)
        data = event.data  # type: ignore[attr-defined]
        try:
            content = xxh3_64_intdigest(pack(data))
        except OverflowError:  # a field's value beyond 64 bits: JSON has room for it
            content = xxh3_64_intdigest(encode_json(data))
        found.append(
            Prepared(
                raw or encode(event),
                event,
                time_ms(event),
                id_,
                content,
                pack_ids(id_, content),
                only_actions if type(event) is ActionEvent else topics_of(event),
            )
        )
    return found
