"""The one object through which pages and GET endpoints read the store. Every method is one short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, func, select

from events.times import DAY_MS, HOUR_MS
from events.types import DEFAULT_TENANT
from governance.approvals import Approval
from governance.drills import DrillResult
from governance.holding import Pending
from governance.lease_types import Lease
from governance.widening import Widening
from storage import tables as t
from storage.read import actions as _actions
from storage.read import agents as _agents
from storage.read import approvals as _approvals
from storage.read import containment as _containment
from storage.read import deals as _deals
from storage.read import delegation as _delegation
from storage.read import drills as _drills
from storage.read import findings as _findings
from storage.read import leases as _leases
from storage.read import widenings as _widenings
from storage.read.approvals import ApprovalCounts, ApprovalStep
from storage.read.delegation import Observed
from storage.read.store import open_engine, reading
from storage.read.types import (
    ActionPage,
    ActionRow,
    AgentPage,
    AgentRow,
    Bin,
    CloseOut,
    ControlEntry,
    DeadLetterRow,
    DealRow,
    FindingPage,
    FindingRow,
    Overview,
    ScorePoint,
    TopDeals,
)
from storage.read.widenings import Ledger


class Reader:
    """Read-only queries over one store and one tenant. Safe to use from several threads."""

    def __init__(self, engine: Engine, tenant: str = DEFAULT_TENANT) -> None:
        self.engine = engine
        self.tenant = tenant

    @classmethod
    def open(cls, path: Path, tenant: str = DEFAULT_TENANT) -> Reader:
        """A reader of the SQLite file at ``path``."""
        return cls(open_engine(path), tenant)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def key(self, name: str) -> str:
        """The state key of an agent, a deal or a manager of this tenant."""
        return f"{self.tenant}/{name}"

    def overview(self, now_ms: int, monday_ms: int, manager_id: str | None = None) -> Overview:
        """All agents, the deals to look at, and what else the first page says."""
        with reading(self.engine) as connection:
            return Overview(
                now_ms,
                _agents.agent_rows(connection, self.tenant, now_ms),
                _agents.stop_all(connection, self.tenant),
                _deals.top_deals(connection, self.tenant, manager_id, monday_ms),
                _findings.dead_letters_since(connection, self.tenant, now_ms - DAY_MS),
                _findings.warnings_since(connection, self.tenant, now_ms - DAY_MS),
                _approvals.listed(connection, self.tenant, now_ms, is_open=True, agent_id=None, limit=200),
                next(iter(_drills.newest(connection, 1)), None),
            )

    def agents(self, now_ms: int) -> list[AgentRow]:
        """Every agent that was ever seen or controlled, by id."""
        with reading(self.engine) as connection:
            return _agents.agent_rows(connection, self.tenant, now_ms)

    def agent(self, agent_id: str, now_ms: int) -> AgentRow | None:
        """One agent, or None when nothing is known of it."""
        with reading(self.engine) as connection:
            found = _agents.agent_rows(connection, self.tenant, now_ms, agent_id)
            return found[0] if found else None

    def agent_page(
        self, agent_id: str, now_ms: int, since_ms: int | None = None, is_declared: bool = False
    ) -> AgentPage | None:
        """One agent with its timeline, findings and history, or None when nothing is known of it.

        ``is_declared``: the settings name it, so that it has a page before it acts.
        """
        key = self.key(agent_id)
        with reading(self.engine) as connection:
            found = _agents.agent_rows(connection, self.tenant, now_ms, agent_id)
            if not found and is_declared:
                found = [_agents.unseen(agent_id)]
            if not found:
                return None
            all_stopped = _agents.stop_all(connection, self.tenant)
            stop_ms, decided_ms = _stopped(found[0], all_stopped)
            return AgentPage(
                found[0],
                _agents.bins(connection, key, since_ms or now_ms - 4 * HOUR_MS, now_ms),
                _findings.of_agent(connection, key, now_ms - 2 * DAY_MS),
                _agents.history(connection, key),
                all_stopped,
                _containment.of_agent(connection, self.tenant, key, stop_ms, now_ms, decided_ms),
            )

    def pending(self, agent_id: str, stop_ms: int, most: int) -> list[Pending]:
        """What an agent set up in the 48 hours before a stop, and what may still happen: the newest."""
        with reading(self.engine) as connection:
            return _containment.pending(connection, self.key(agent_id), stop_ms, most)

    def timeline(self, agent_id: str, since_ms: int, until_ms: int) -> list[Bin]:
        """An agent's counts in five minutes, without a gap."""
        with reading(self.engine) as connection:
            return _agents.bins(connection, self.key(agent_id), since_ms, until_ms)

    def control_history(self, agent_id: str, limit: int = 50) -> list[ControlEntry]:
        """What the authority decided about an agent, newest first."""
        with reading(self.engine) as connection:
            return _agents.history(connection, self.key(agent_id), limit)

    def stop_all(self) -> ControlEntry | None:
        """The organisation's control row, if anybody ever stopped all."""
        with reading(self.engine) as connection:
            return _agents.stop_all(connection, self.tenant)

    def leases(self, agent_id: str | None, most: int) -> list[Lease]:
        """The leases that end last, of one agent or of all."""
        with reading(self.engine) as connection:
            return _leases.newest(connection, self.tenant, agent_id, most)

    def drills(self, most: int) -> list[DrillResult]:
        """The newest drills."""
        with reading(self.engine) as connection:
            return _drills.newest(connection, most)

    def living_leases(self, now_ms: int) -> list[Lease]:
        """Leases under which something may still be admitted, as far as their time says."""
        with reading(self.engine) as connection:
            return _leases.living(connection, self.tenant, now_ms)

    def approvals(self, now_ms: int, *, is_open: bool, agent_id: str | None = None, limit: int = 50) -> list[Approval]:
        """What waits for a person, by deadline; or all approvals, the newest first."""
        with reading(self.engine) as connection:
            return _approvals.listed(connection, self.tenant, now_ms, is_open=is_open, agent_id=agent_id, limit=limit)

    def approval(self, id_: str) -> tuple[Approval, list[ApprovalStep]] | None:
        """One approval with its steps."""
        with reading(self.engine) as connection:
            return _approvals.one(connection, self.tenant, id_)

    def approval_counts(self, now_ms: int) -> ApprovalCounts:
        """How many wait for an answer, and since when."""
        with reading(self.engine) as connection:
            return _approvals.counts(connection, now_ms)

    def widenings(self, agent_id: str | None, now_ms: int, *, with_over: bool = False) -> list[Widening]:
        """Mutes and expectations, the newest first; those that wait or hold, or all."""
        with reading(self.engine) as connection:
            return _widenings.widenings(connection, self.tenant, agent_id, now_ms, with_over=with_over)

    def policy_changes(self, now_ms: int, *, with_over: bool = False) -> list[Widening]:
        """Wider policies that people asked for, the newest first; those that wait or hold, or all."""
        with reading(self.engine) as connection:
            return _widenings.policy_changes(connection, self.tenant, now_ms, with_over=with_over)

    def delegation(self, since_ms: int) -> Observed:
        """What agents did with what they may, since then; reads every decision."""
        with reading(self.engine) as connection:
            return _delegation.observed(connection, self.tenant, since_ms)

    def verdicts(self, finding_ids: list[str]) -> dict[str, str]:
        """What people said of these findings: wrong or expected."""
        with reading(self.engine) as connection:
            return _widenings.verdicts(connection, finding_ids)

    def stop_ledger(self, since_ms: int, now_ms: int) -> Ledger:
        """Stops by detector that were acted on, and those called wrong; how long agents were seen."""
        with reading(self.engine) as connection:
            return _widenings.ledger(connection, self.tenant, since_ms, now_ms)

    def actions(
        self,
        agent_id: str | None,
        since_ms: int,
        until_ms: int,
        *,
        object: str | None = None,
        action: str | None = None,
        record: str | None = None,
        deal_id: str | None = None,
        without_reads: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> ActionPage:
        """What an agent (or any) did in a span of knowledge time, newest first; see ``storage.read.actions``."""
        with reading(self.engine) as connection:
            return _actions.actions(
                connection,
                tenant=self.tenant,
                agent_id=agent_id,
                since_ms=since_ms,
                until_ms=until_ms,
                object=object,
                action=action,
                record=record,
                deal_id=deal_id,
                without_reads=without_reads,
                limit=limit,
                cursor=cursor,
            )

    def touches(self, deal_id: str, since_ms: int, until_ms: int, limit: int = 20) -> list[ActionRow]:
        """What agents did to a deal's own record, newest first."""
        with reading(self.engine) as connection:
            return _actions.touches(connection, self.tenant, deal_id, since_ms, until_ms, limit)

    def findings(
        self,
        since_ms: int = 0,
        *,
        agent_id: str | None = None,
        severity: str | None = None,
        mode: str | None = None,
        detector: str | None = None,
        without_info: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> FindingPage:
        """Findings, newest first; ``without_info`` leaves out what was only a notice."""
        with reading(self.engine) as connection:
            return _findings.findings(
                connection,
                tenant=self.tenant,
                since_ms=since_ms,
                agent_id=agent_id,
                severity=severity,
                mode=mode,
                detector=detector,
                without_info=without_info,
                limit=limit,
                cursor=cursor,
            )

    def finding(self, finding_id: str) -> FindingRow | None:
        """One finding, of this tenant."""
        with reading(self.engine) as connection:
            query = select(t.finding).where(t.finding.c.id == finding_id, t.finding.c.key.startswith(f"{self.tenant}/"))
            row = connection.execute(query).first()
            return _findings.as_row(row) if row else None

    def top_deals(self, manager_id: str | None, monday_ms: int) -> TopDeals:
        """A manager's five; without a manager, the first of everybody's."""
        with reading(self.engine) as connection:
            return _deals.top_deals(connection, self.tenant, manager_id, monday_ms)

    def close_out(self, manager_id: str | None = None) -> CloseOut:
        """The deals to close out."""
        with reading(self.engine) as connection:
            return _deals.close_out(connection, self.tenant, manager_id)

    def open_deals(self, manager_id: str | None = None, limit: int = 200) -> list[DealRow]:
        """Open deals, the riskiest first."""
        with reading(self.engine) as connection:
            return _deals.open_deals(connection, self.tenant, manager_id, limit)

    def deal(self, deal_id: str, monday_ms: int = 0) -> DealRow | None:
        """One deal, or None when it is unknown."""
        with reading(self.engine) as connection:
            return _deals.deal(connection, self.tenant, deal_id, monday_ms)

    def deal_scores(self, deal_id: str, since_ms: int = 0) -> list[ScorePoint]:
        """A deal's scores over time, oldest first."""
        with reading(self.engine) as connection:
            return _deals.scores(connection, self.key(deal_id), since_ms)

    def dead_letters(
        self, *, state: str | None = "new", limit: int = 100, before_id: int | None = None
    ) -> list[DeadLetterRow]:
        """Records that could not be read, newest first."""
        with reading(self.engine) as connection:
            return _findings.dead_letters(connection, self.tenant, state, limit, before_id)

    def dead_letters_that_wait(self, *, limit: int, after_id: int = 0) -> list[DeadLetterRow]:
        """Those that nobody has re-driven, oldest first, beyond ``after_id``."""
        with reading(self.engine) as connection:
            return _findings.dead_letters_that_wait(connection, self.tenant, limit, after_id)

    def dead_letters_of(self, ids: Sequence[int]) -> list[DeadLetterRow]:
        """Those of these numbers that there are, in whatever state, oldest first."""
        with reading(self.engine) as connection:
            return _findings.dead_letters_of(connection, self.tenant, ids)

    def judged_to(self) -> dict[str, int]:
        """Per topic and partition, the log time up to which everything is judged and stored."""
        with reading(self.engine) as connection:
            query = select(t.watermark.c.topic, func.min(t.watermark.c.at_ms)).group_by(t.watermark.c.topic)
            return {topic: int(at_ms) for topic, at_ms in connection.execute(query)}


def _stopped(row: AgentRow, stop_all: ControlEntry | None) -> tuple[int | None, int | None]:
    """Since when an agent is stopped, itself or with all others, and when that was decided."""
    if row.stop is not None and row.control is not None:
        return row.stop.stopped_ms, row.control.at_ms
    if stop_all is not None and stop_all.state == "suspended":
        return stop_all.at_ms, stop_all.at_ms
    return None, None
