"""A console on Kafka and PostgreSQL: ``console.ports.Runtime`` for the pages and the HTTP interface.

Any number of these share one store and one set of topics; each may die at any moment. What is decided, is decided in
transactions of the store; what follows is published from there. The workers judge, this obeys and tells.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from events.types import Event
from governance.approvals import Answer, Verdict
from governance.control import ControlRequest, Decision
from governance.drills import DrillResult
from governance.gate import GateDecision, GateRequest
from governance.lease_types import LeaseAsk, What
from governance.policy import Policy
from governance.settings import Settings
from storage import approvals, containment, drills, projections, shared
from storage.errors import StoreError
from storage.models import Use
from storage.postgres import PgLink, PgStore
from storage.quality import QualityRow
from storage.quality import keep as keep_quality
from streams import approving, cancelling
from streams.authority import Authority
from streams.deal_promotion import Promotion, PromotionRefused, promote_on_kafka
from streams.gating import DecisionIds
from streams.kafka.office.contacts import Contacts
from streams.kafka.office.engine import EngineWatch
from streams.kafka.office.findings import Findings
from streams.kafka.office.following import Following
from streams.kafka.office.gate import Gate
from streams.kafka.office.held import Held
from streams.kafka.office.ingest import Ingest
from streams.kafka.office.leader import Leader
from streams.kafka.office.lender import Lender
from streams.kafka.office.post import LoopThread, Post
from streams.kafka.office.publisher import Publisher
from streams.kafka.office.round import OfficeRound
from streams.kafka.office.standing import Counted, GateRound, Standing
from streams.kafka.office.watch import Watch
from streams.kafka.sinks import Sinks
from streams.kafka.spec import FINDINGS
from streams.leasing import Leased, Reported
from streams.policies import PolicyInForce
from streams.policy_change import POLICY_KEY
from streams.routing import CRM
from streams.sinks.notifications import Observe
from streams.standalone.mailbox import HandOver, Mailbox
from streams.standalone.types import Changes, Closed, ItemResult, OriginOf, no_origin
from streams.subscribers import Subscriber, Subscribers

AUTHORITY_GROUP, CONTACTS_GROUP = "tripline-authority", "tripline-contacts"
_LATE_SECS = 10.0
_INGEST_LINGER_MS = 5
_WORTH_TELLING = frozenset({"control", "finding", "alert", "approval"})
T = TypeVar("T")


class OfficeStatus(Struct, frozen=True, kw_only=True):
    """How a console is doing. ``degraded_reasons``: store, broker, projections, backlog; ``troubles`` says it in words.

    ``judged_to_ms`` is what the workers have saved. ``queue`` counts records on their way to the brokers, the oldest
    of which waits since ``oldest_unjudged_ms``, and findings that wait for the authority. There is no log here, so its
    sizes are 0.
    """

    judged_to_ms: int
    oldest_unjudged_ms: int | None
    queue: int
    degraded_reasons: list[str]
    troubles: list[str]
    control_counts: Mapping[str, int]
    suspended_by: Mapping[str, int]
    stop_all: bool
    restarts: int = 0
    wal_bytes: int = 0
    log_bytes: int = 0
    warnings: list[str] = []


class OfficeRuntime:
    """Parameters: settings with ``[kafka]`` and ``[store]``; the store; ``has_pages``, whether this one shares in
    writing the read models, and hears what the others changed.

    ``start`` returns at once: until store and brokers are there, writes are denied and ``status`` says why.
    """

    def __init__(self, settings: Settings, store: PgStore, *, has_pages: bool = True) -> None:
        self.settings = settings
        self.store = store
        self.has_pages = has_pages
        self.observe: Observe | None = None
        """Hears of each attempt to notify; set it before ``start``."""
        self.policies = PolicyInForce(settings)
        self.policies.keep_in(partial(self.decide, POLICY_KEY), self.now_ms, is_shared=True)
        self._lock = threading.Lock()
        self._subscribers = Subscribers()
        self._boxes: tuple[Mailbox, ...] = ()
        self._delivering = threading.Lock()
        self._loop = LoopThread("tripline-kafka")
        self._post = Post(settings.kafka, self._loop)
        self._ingest_post = Post(settings.kafka, self._loop, _INGEST_LINGER_MS)
        self._ingest = Ingest(settings, self._ingest_post)
        self._publisher = Publisher(store, self._post)
        self._gate = Gate(
            settings,
            store,
            self._post,
            lambda: self._watch.is_open,
            self._subscribers.tell,
            self._deliver,
            self.policies,
            lambda: self._engine.judged_to_ms,
        )
        self._findings = Findings(settings, store, self._decided)
        self._contacts = Contacts(settings, store, self._decided)
        self._leader = Leader(settings, store, self._decided, self._observed)
        self._sinks = Sinks(settings, store, self._stored)
        self._engine = EngineWatch(settings, store)
        self._lender = Lender(
            settings, store, self._post, self.policies, lambda: self._engine.judged_to_ms, self._subscribers.tell
        )
        kafka = settings.kafka
        self._following = {
            "findings": Following(kafka, FINDINGS, AUTHORITY_GROUP, self._loop, self._findings.handle),
            "contacts": Following(kafka, CRM, CONTACTS_GROUP, self._loop, self._contacts.handle),
        }
        self._calls = ThreadPoolExecutor(1, "tripline-calls")
        self._held = Held(store)
        self._counted, self._ids = Counted(), DecisionIds()  # of the thread that makes the calls
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._watch = Watch(store, self._begin, self._tell_of_gate)
        self._crm_threads = cancelling.threads(
            settings, self._read, self.decide, store.read_engine, lambda: self.is_leading, self.now_ms
        )
        self._has_begun = False
        self._is_closed = False

    def start(self) -> None:
        """Start to connect; what needs the store begins when its tables are up to date. Raises PolicyError."""
        self.policies.load()
        self.policies.start()
        self._post.start()
        self._ingest_post.start()
        self._gate.start()
        self._watch.start()

    def close(self) -> None:
        """Finish what was taken, and stop. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self.policies.stop()
        self._watch.stop()
        for thread in self._crm_threads if self._has_begun else ():
            thread.stop()
        self._leader.stop()
        if self._has_begun and self.has_pages:
            self._sinks.stop()
        if self._has_begun and self._watches_engine:
            self._engine.stop()
        for following in self._following.values():
            following.stop()
        self._calls.shutdown()
        if not self._watch.trouble:
            with contextlib.suppress(StoreError):  # it is forgotten when it was not heard of for an hour
                self._held.run(lambda link: containment.forget_gate(link, self._name))
        self._lender.stop()
        self._gate.stop()
        self._publisher.stop()
        self._post.stop()
        self._ingest_post.stop()
        self._loop.stop()
        self._findings.close()
        self._contacts.close()
        self._held.close()

    # --- events -------------------------------------------------------------------------------------------------

    def ingest(
        self, events: Sequence[tuple[bytes, Event]], *, origin_of: OriginOf | None = no_origin
    ) -> Future[list[ItemResult]]:
        """Write events to their topics; done when all in-sync copies have them. Raises Busy."""
        self._check_open()
        return self._ingest.take(events, origin_of)

    def dead_letter(
        self,
        raw: bytes,
        reason: str,
        message: str,
        origin: dict[str, Any] | None = None,
        agent_id: str | None = None,
        tenant: str = "default",
    ) -> Future[int]:
        """Keep what could not be read, in its topic; the number is 0."""
        self._check_open()
        return self._ingest.dead_letter(raw, reason, message, origin or {}, agent_id, tenant)

    def settle_dead_letters(self, ids: Sequence[int]) -> Future[None]:
        """Mark dead letters as re-driven."""
        return self._call(lambda link: projections.settle_dead_letters(link, ids, self.now_ms()))

    def keep_quality(self, rows: Sequence[QualityRow]) -> Future[None]:
        """Store a day's scores of the CRM's data."""
        return self._call(lambda link: keep_quality(link, rows))

    def promote(self, asked: Promotion) -> Future[Use | PromotionRefused]:
        """Have a model score deals: its record goes to each partition. A refusal is the answer."""
        return self._call(lambda link: self._promote(link, asked))

    # --- the gate -----------------------------------------------------------------------------------------------

    def check(self, request: GateRequest) -> Future[GateDecision]:
        """May an agent do this? An admission is in the log when the answer comes. Never fails: it denies."""
        future: Future[GateDecision] = Future()
        self._gate.ask(request, future.set_result)
        return future

    def mailbox(self, hand_over: HandOver) -> Mailbox:
        """Where answers to ``ask`` go; one for each event loop, made once."""
        box = Mailbox(hand_over)
        with self._lock:
            self._boxes = (*self._boxes, box)
        return box

    def ask(self, request: GateRequest, box: Mailbox, token: Any) -> None:
        """As ``check``; the decision comes to the mailbox with the token."""
        if not self._gate.ask(request, partial(box.put, token)):
            self._deliver()

    # --- leases -------------------------------------------------------------------------------------------------

    def lease(self, ask: LeaseAsk) -> Future[Leased]:
        """A lease, or why there is none; durable when it comes."""
        self._check_open()
        return self._lender.grant(ask)

    def report_lease(self, reported: Reported, what: What) -> Future[Leased | None]:
        """Take what the holder of a lease did; in the log when it comes. None: there is no such lease."""
        self._check_open()
        return self._lender.report(reported, what)

    def override_lease(self, key: str, minutes: int, by: str, reason: str) -> Future[int]:
        """A person lets a blind agent go on; until when."""
        self._check_open()
        return self._lender.override(key, minutes, by, reason)

    def keep_drill(self, result: DrillResult) -> Future[None]:
        """Keep what a drill measured."""
        return self._call(lambda link: drills.put(link, result))

    @property
    def _watches_engine(self) -> bool:
        """Pages show how far the workers are, and leases wait for it."""
        return self.has_pages or any(agent.lease_actions for agent in self.settings.agents.values())

    # --- control ------------------------------------------------------------------------------------------------

    def control(self, request: ControlRequest) -> Future[Decision]:
        """Ask the authority; what it decided is durable and obeyed by every gate when the future is done."""
        return self.decide(request.key, lambda authority: authority.request(request))

    def decide(self, key: str, function: Callable[[Authority], T]) -> Future[T]:
        """Decide something about an agent in one transaction that holds it; what follows is published."""
        return self._call(lambda link: self._decide(link, key, function))

    def answer_approval(self, given: Answer) -> Future[Verdict | None]:
        """A person approves, edits or refuses; durable when it comes. None: there is no such approval."""
        return self._call(lambda link: self._answer(link, given))

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy | None:
        """The policy in force; None without one."""
        return self.policies.policy

    def now_ms(self) -> int:
        """The time now, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def status(self) -> OfficeStatus:
        """How it is doing; cheap, from any thread."""
        troubles = self._troubles()
        now_ms, oldest = self.now_ms(), self._ingest.oldest_secs()
        counts = self._watch.counts
        return OfficeStatus(
            judged_to_ms=self._judged_to_ms(now_ms),
            oldest_unjudged_ms=now_ms - int(oldest * 1000) if oldest else None,
            queue=self._ingest.queue + self._following["findings"].lag,
            degraded_reasons=list(troubles),
            troubles=list(troubles.values()),
            control_counts=counts.states,
            suspended_by=counts.suspended_by,
            stop_all=counts.stop_all,
            warnings=self.policies.warnings,
        )

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call back after each transaction with what it changed, in its thread; returns what ends it."""
        return self._subscribers.add(callback)

    @property
    def is_leading(self) -> bool:
        """Whether this console ends throttles and tells people, for all."""
        return self._leader.is_leading

    # --- inside -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.policies.begin()
        self._publisher.start()
        for following in self._following.values():
            following.start()
        self._leader.start()
        for thread in self._crm_threads:
            thread.start()
        if self.has_pages:
            self._sinks.start()
        if self._watches_engine:
            self._engine.start()
        self._has_begun = True

    def _tell_of_gate(self, link: PgLink) -> None:
        """Once a second: what it refused, and that it is there and obeys what is decided."""
        self._gate.count_refusals(link)
        containment.beat(link, self._name, shared.now_ms(link), self._gate.trouble)

    def _decide(self, link: PgLink, key: str, function: Callable[[Authority], T]) -> T:
        round_ = OfficeRound(link, self.settings)
        round_.begin((key,))
        made = function(round_)
        round_.commit()
        self._decided(round_.changes())
        return made

    def _answer(self, link: PgLink, given: Answer) -> Verdict | None:
        found = approvals.find(link, given.approval_id)
        if found is None:
            return None
        policy = self.policies.policy
        round_ = GateRound(link, self.settings, self._counted, self._ids, policy)
        try:
            round_.open_for([found.request])
            verdict = approving.answer(round_, Standing(round_, found.request), given, policy)
            round_.commit()
        except BaseException:
            self._counted.forget({found.key})
            raise
        self._decided(round_.changes())
        return verdict

    def _promote(self, link: PgLink, asked: Promotion) -> Use | PromotionRefused:
        try:
            use = promote_on_kafka(link, asked, self.settings.kafka)
        except PromotionRefused as problem:
            link.execute("ROLLBACK")
            return problem
        self._publisher.wake()
        return use

    def _read(self, function: Callable[[PgLink], T]) -> T:
        return self._call(function).result(30)

    def _call(self, function: Callable[[PgLink], T]) -> Future[T]:
        self._check_open()
        return self._calls.submit(lambda: self._held.run(function))

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the console is stopping")

    def _decided(self, changes: Changes) -> None:
        """Something was decided: publish it, tell people and pages."""
        self._publisher.wake()
        self._leader.wake()
        self._subscribers.tell(changes)

    def _deliver(self) -> None:
        with self._delivering:
            for box in self._boxes:
                box.deliver()

    def _stored(self, changes: Changes) -> None:
        """Read models were written, or a console has decided something: perhaps there is something to tell."""
        if changes.kinds & _WORTH_TELLING:
            self._leader.wake()
        self._subscribers.tell(changes)

    def _observed(self, target: str, is_accepted: bool, secs: float) -> None:
        if self.observe is not None:
            self.observe(target, is_accepted, secs)

    def _judged_to_ms(self, now_ms: int) -> int:
        """Now, while the workers save what they judge as often as they should."""
        known = self._engine.judged_to_ms
        return now_ms if known and not self._engine.behind_ms(now_ms) else known

    def _troubles(self) -> dict[str, str]:
        """What is wrong, by its short name, in words."""
        found: dict[str, str] = {}
        now_ms = self.now_ms()
        if self._watch.trouble:
            found["store"] = f"the store can't be used: {self._watch.trouble}"
        broker = self._post.trouble or self._ingest_post.trouble
        if broker:
            found["broker"] = f"the brokers can't be written to: {broker}"
        elif self._has_begun:
            waits = [following.trouble for following in self._following.values() if following.trouble]
            if waits:
                found["broker"] = "; ".join(waits)
        if self._has_begun and self.has_pages and (sinks := self._sinks.trouble()):
            found["projections"] = f"actions, deals and alerts are not written: {sinks}"
        if (late := self._ingest.oldest_secs()) > _LATE_SECS:
            found["backlog"] = f"the oldest event on its way has waited {late:.0f} s"
        elif behind := self._engine.behind_ms(now_ms):
            found["backlog"] = f"nothing was judged for {behind // 1000} s: does a worker run?"
        return found
