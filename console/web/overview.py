"""The overview in words: is anything wrong, which agents, what needs a person, which deals."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from console.text import plain
from console.web import words as w
from console.web.charts import sparkline, up_to_stop
from console.web.look import Engine, Frame, joined, owner_of, person_name
from events.catalogue import kind_of
from events.times import parse_ms
from governance.approvals import Approval
from governance.words import DOING
from storage.read.types import AgentRow, DealRow, Overview, TopDeals

SHOWN_AGENTS = 8


class Headline(Struct, frozen=True):
    """The biggest line: an icon, a coloured part, the rest, and a sentence below it as (text, is bold) pieces."""

    icon: str
    css: str
    strong: str
    rest: str
    lead: list[tuple[str, bool]]


class AgentLine(Struct, frozen=True):
    """One agent as a row."""

    agent_id: str
    owner: str
    is_declared: bool
    state: w.State
    detail: str
    level: str
    grade: str
    grade_why: str
    spark: Markup
    count: str
    is_hot: bool
    records: str
    last: str
    last_iso: str


class Todo(Struct, frozen=True):
    """Something that waits for a person. ``links`` are (text, address, is primary)."""

    icon: str
    title: str
    text: str
    due: str
    due_small: str
    links: list[tuple[str, str, bool]]


class DealLine(Struct, frozen=True):
    """One deal as a row."""

    deal_id: str
    rank: int
    risk: str
    step: int
    delta: str
    slips: str
    deal: str
    account: str
    amount: str
    closes: str
    why: str
    next: str


class DealsView(Struct, frozen=True):
    """The five deals with their heading."""

    rows: list[DealLine]
    summary: str
    unproven: bool
    managers: list[tuple[str, str]]
    manager_id: str | None


class OverviewView(Struct, frozen=True):
    """Everything on the first page."""

    headline: Headline
    agents: list[AgentLine]
    more_agents: int
    total_agents: int
    todo: list[Todo]
    deals: DealsView
    refusing: str
    is_all_stopped: bool
    drill: tuple[str, str] | None = None
    """How long ago the last drill was, and what it found; None when none was run."""


def overview_view(data: Overview, frame: Frame, shown: int = SHOWN_AGENTS) -> OverviewView:
    """The first page from what the store says."""
    ordered = sorted_rows(data.agents, frame)
    urgent = sum(1 for row in ordered if state_of(row, frame.engine).rank < w.STATES["active"].rank)
    show = max(shown, urgent)
    lines = [agent_line(row, frame) for row in ordered[:show]]
    stopped = [row for row in ordered if row.state == "suspended"]
    all_stopped = data.stop_all is not None and data.stop_all.state == "suspended"
    refusing = f"refuses {w.many(len(stopped), 'agent')}" if stopped else "refuses no agent"
    waiting = todos(ordered, data, frame)
    return OverviewView(
        headline=headline(ordered, data, frame, len(waiting)),
        agents=lines,
        more_agents=len(ordered) - len(lines),
        total_agents=len(ordered),
        todo=waiting,
        deals=deals_view(data.top, frame),
        refusing="refuses everything" if all_stopped else refusing,
        is_all_stopped=all_stopped,
        drill=_drill(data),
    )


def _drill(data: Overview) -> tuple[str, str] | None:
    last = data.last_drill
    if last is None:
        return None
    found = f"{last.admitted_after.max:g} admitted at most" if last.passed else "more admitted than promised"
    return f"{w.span(max(0, data.at_ms - parse_ms(last.at)))} ago", found


def sorted_rows(rows: Sequence[AgentRow], frame: Frame) -> list[AgentRow]:
    """The agents, and those only declared, worst first."""
    return sorted(with_declared(rows, frame), key=lambda row: _worst_first(row, frame.engine))


def with_declared(rows: Sequence[AgentRow], frame: Frame) -> list[AgentRow]:
    """The agents seen, and those that the settings name and nobody has seen yet."""
    seen = {row.agent_id for row in rows}
    unseen = [
        AgentRow(agent_id=name, control=None, bins=[], records_48h=0, last_write_ms=None, last_seen_ms=None)
        for name in sorted(frame.settings.agents)
        if name not in seen
    ]
    return [*rows, *unseen]


def state_of(row: AgentRow, engine: Engine) -> w.State:
    """How an agent is shown: its control state, or blind or quiet where "working" is not known."""
    if row.state != "active":
        return w.state(row.state)
    if engine.blind_from_ms is not None:
        return w.STATES["blind"]
    return w.STATES["quiet"] if row.last_seen_ms is None else w.STATES["active"]


def _worst_first(row: AgentRow, engine: Engine) -> tuple[int, int, str]:
    since = row.control.at_ms if row.control and row.state != "active" else 0
    return state_of(row, engine).rank, -since, row.agent_id


def agent_line(row: AgentRow, frame: Frame) -> AgentLine:
    """One agent as a row of the table."""
    clock, engine = frame.clock, frame.engine
    declared, owner = owner_of(frame.settings, row.agent_id)
    look = state_of(row, engine)
    stopped_ms = row.stop.stopped_ms if row.stop else None
    near = row.bins[-2:]
    last = near[-1] if near else None
    peak = _peak(row, stopped_ms) if stopped_ms is not None else None
    blind = engine.blind_from_ms if row.state == "active" else None
    count = w.number(peak) if peak is not None else w.number(last.actions if last else None)
    hot = peak is not None or bool(last and last.limit is not None and last.actions > last.limit)
    name = plain(row.agent_id, 80)
    return AgentLine(
        agent_id=row.agent_id,
        owner=owner or ("" if declared else "not in the configuration"),
        is_declared=declared is not None,
        state=look,
        detail=_detail(row, look, frame),
        level=str(declared.level) if declared else w.UNKNOWN,
        grade=row.grade.grade if row.grade else "",
        grade_why=row.grade.why if row.grade else "",
        spark=sparkline(row.bins, name, stopped_ms=stopped_ms, blind_from_ms=blind),
        count=w.UNKNOWN if blind is not None else count,
        is_hot=hot and blind is None,
        records=w.number(row.records_48h),
        last=clock.time(row.last_write_ms),
        last_iso=clock.iso(row.last_write_ms) if row.last_write_ms is not None else "",
    )


def _peak(row: AgentRow, stopped_ms: int) -> float | None:
    """How much it did in the five minutes before its stop: as the finding counted it, else as drawn."""
    said = row.finding.finding.evidence if row.finding else None
    if said is not None and said.details.get("window_min") == 5:
        return said.observed
    return up_to_stop(row.bins, stopped_ms)[-1].actions if row.bins else None


def _detail(row: AgentRow, look: w.State, frame: Frame) -> str:
    clock = frame.clock
    if row.control is not None and row.state != "active":
        at_ms = row.stop.stopped_ms if row.stop else row.control.at_ms
        until = f", until {clock.time(row.control.expires_ms)}" if row.control.expires_ms else ""
        return f"since {clock.time(at_ms)}{until}"
    if look is w.STATES["blind"]:
        return f"not known since {clock.time(frame.engine.blind_from_ms)}"
    if row.last_seen_ms is None:
        return "nothing seen yet"
    return f"last seen {clock.time(row.last_seen_ms)}"


def headline(rows: Sequence[AgentRow], data: Overview, frame: Frame, waiting_things: int = 0) -> Headline:
    """The sentence that answers "is anything wrong?"."""
    clock, engine = frame.clock, frame.engine
    stopped = [row for row in rows if row.state == "suspended"]
    rest = _others(rows, engine)
    if data.stop_all is not None and data.stop_all.state == "suspended":
        by = person_name(frame.settings, data.stop_all.by_id)
        lead = [(f"By {by}, {clock.time(data.stop_all.at_ms)}: {plain(data.stop_all.reason, 200)}", False)]
        return Headline("stop", "red", "All agents stopped", "", lead)
    if stopped:
        since = sum(row.stop.admitted_after + row.stop.bypassed_after for row in stopped if row.stop)
        after = f"· {w.many(since, 'change')} since"
        return Headline(
            "stop", "red", f"{w.many(len(stopped), 'agent')} stopped", after, _stop_lead(stopped, clock) + rest
        )
    if engine.blind_from_ms is not None:
        text = "Records wait to be judged; the gate refuses writes until they are."
        return Headline(
            "blind", "st-blind", f"Not known since {clock.clock(engine.blind_from_ms)}", "", [(text, False)]
        )
    if engine.troubles:
        text = "The gate refuses writes: " + joined(engine.troubles, 4) + "."
        return Headline("blind", "st-blind", "Writes are refused", "", [(text, False)])
    waiting = [row for row in rows if row.state in ("held", "releasing", "throttled")]
    if waiting:
        first = w.state(waiting[0].state).word.lower()
        names = joined([plain(row.agent_id, 60) for row in waiting])
        return Headline("wait", "amber", f"{w.many(len(waiting), 'agent')}: {first}", "", [(names + ".", False), *rest])
    return _all_well(rows, data, waiting_things)


def _all_well(rows: Sequence[AgentRow], data: Overview, waiting_things: int) -> Headline:
    working = sum(1 for row in rows if row.last_seen_ms is not None)
    deals = "No deal needs attention." if not data.top.rows else f"{w.many(len(data.top.rows), 'deal')} to look at."
    agents = f"{w.many(working, 'agent')} working." if rows else "No agent has been seen yet."
    lead = [(f"{agents} {deals}", False)]
    if waiting_things:
        verb = "needs" if waiting_things == 1 else "need"
        return Headline("wait", "amber", "", f"{w.many(waiting_things, 'thing')} {verb} you", lead)
    return Headline("ok", "ok", "", "Nothing needs you.", lead)


def _stop_lead(stopped: Sequence[AgentRow], clock: w.Clock) -> list[tuple[str, bool]]:
    pieces: list[tuple[str, bool]] = []
    for row in stopped[:2]:
        if row.stop is None:
            continue
        pieces += [
            (f"{plain(row.agent_id, 60)}, {clock.time(row.stop.stopped_ms)}: ", False),
            (w.number(row.stop.records_before), True),
            (f" {'record' if row.stop.records_before == 1 else 'records'} changed before, ", False),
            (w.number(row.stop.admitted_after), True),
            (" admitted after. ", False),
        ]
        if row.stop.bypassed_after:
            pieces += [(w.number(row.stop.bypassed_after), True), (" reported after it without the gate. ", False)]
    if len(stopped) > 2:
        pieces.append((f"{len(stopped) - 2} more. ", False))
    return pieces


def _others(rows: Sequence[AgentRow], engine: Engine) -> list[tuple[str, bool]]:
    if engine.blind_from_ms is not None:
        return [(" The others are not known.", False)]
    held = sum(1 for row in rows if row.state in ("held", "throttled"))
    return [(f"{w.many(held, 'agent')} held back.", False)] if held else []


def todos(rows: Sequence[AgentRow], data: Overview, frame: Frame) -> list[Todo]:
    """What waits for a person, the longest first among the stops."""
    clock = frame.clock
    items: list[Todo] = []
    if data.stop_all is not None and data.stop_all.state == "suspended":
        text = f"{plain(data.stop_all.reason, 200)} Ending it takes two people."
        items.append(
            Todo(
                "stop-o",
                "All agents are stopped",
                text,
                *_since(data.stop_all.at_ms, clock),
                [("End it …", "/release-all", False)],
            )
        )
    items += _approval_todos(data, frame)
    for row in rows:
        item = _stop_todo(row, clock)
        if item is not None:
            items.append(item)
    unknown = [row for row in rows if row.agent_id not in frame.settings.agents and row.last_seen_ms is not None]
    if unknown and frame.settings.agents:
        names = joined([plain(row.agent_id, 60) for row in unknown])
        text = f"{names}: watched with the default limits, refused at the gate."
        title = f"{w.many(len(unknown), 'agent')} not in the configuration"
        items.append(Todo("open", title, text, "", "", [("See it", f"/agents/{unknown[0].agent_id}", False)]))
    if data.dead_letters_24h:
        title = f"{w.many(data.dead_letters_24h, 'record')} could not be read in 24 h"
        text = "They are kept and can be sent again: tripline dead-letters list."
        items.append(Todo("mail", title, text, "", "", []))
    return items


def _approval_todos(data: Overview, frame: Frame) -> list[Todo]:
    """What waits for an approval, by deadline; several of one agent and action together."""
    together: dict[tuple[str, str], list[Approval]] = {}
    for one in data.approvals:
        together.setdefault((one.agent_id, one.request.action), []).append(one)
    items: list[Todo] = []
    for (agent_id, action), several in together.items():
        first, clock = several[0], frame.clock
        doing = DOING.get(action, plain(action, 60))
        many = len(several) > 1
        title = f"Approve: {plain(agent_id, 60)} wants to {doing}"
        text = _sentence(first.held[:1].upper() + first.held[1:])
        items.append(
            Todo(
                "mail" if kind_of(action).is_external else "page",
                f"{title}, {w.number(len(several))} requests" if many else title,
                text,
                w.span(max(first.expires_ms - clock.now_ms, 0)),
                clock.time(first.expires_ms),
                [("See them" if many else "Look at it", "/approvals" if many else f"/approvals/{first.id}", not items)],
            )
        )
    return items


def _since(at_ms: int, clock: w.Clock) -> tuple[str, str]:
    return f"for {w.span(max(clock.now_ms - at_ms, 0))}", clock.time(at_ms)


def _stop_todo(row: AgentRow, clock: w.Clock) -> Todo | None:
    if row.control is None or row.state in ("active", "releasing"):
        return None
    at_ms = row.stop.stopped_ms if row.stop else row.control.at_ms
    reason = _sentence(row.finding.finding.evidence.summary if row.finding else row.control.reason)
    url = f"/agents/{row.agent_id}"
    name = plain(row.agent_id, 80)
    if row.state == "suspended":
        links = [("See what it did", url, True), ("Release …", url + "#release", False)]
        return Todo("page", f"{name} is stopped", reason, *_since(at_ms, clock), links)
    word = "Writes of {} are held" if row.state == "held" else "{} is throttled"
    return Todo("wait", word.format(name), reason, *_since(at_ms, clock), [("See why", url, False)])


def _sentence(text: str) -> str:
    said = plain(text, 300)
    return said if not said or said[-1] in ".!?…" else said + "."


def deals_view(top: TopDeals, frame: Frame) -> DealsView:
    """The five deals and the sentence above them."""
    lines = [deal_line(row, frame, place) for place, row in enumerate(top.rows, 1)]
    sums = _sums(top.sum_top)
    of = _sums(top.sum_open)
    money = f", {sums} of {of}" if sums and of else ""
    summary = f"of {w.number(top.open_deals)} open{money}" if top.open_deals else "no open deals yet"
    unproven = any(row.model is not None and not row.model.proven for row in top.rows)
    managers = [(one, person_name(frame.settings, one)) for one in top.managers]
    return DealsView(lines, summary, unproven, managers, top.manager_id)


def _sums(sums: dict[str, int]) -> str:
    if not 1 <= len(sums) <= 2:
        return ""
    return " and ".join(w.money_minor(total, currency) for currency, total in sorted(sums.items()))


def deal_line(row: DealRow, frame: Frame, rank: int) -> DealLine:
    """One deal as a row of the table."""
    change = row.p_lost - row.p_lost_before if row.p_lost is not None and row.p_lost_before is not None else None
    return DealLine(
        deal_id=row.deal_id,
        rank=rank,
        risk=w.percent(row.p_lost),
        step=w.risk_step(row.p_lost),
        delta=w.points(change) if change is not None else "new",
        slips=w.percent(row.p_slip),
        deal=plain(row.deal, 120) or plain(row.deal_id, 80),
        account=plain(row.account, 120),
        amount=w.money_minor(row.amount_minor, row.currency or frame.settings.deals.currency),
        closes=frame.clock.date_text(row.close_date),
        why=main_reason(row),
        next=plain(row.recommended_action, 200),
    )


def main_reason(row: DealRow) -> str:
    """The sentence of what raises the risk most; without one, of what weighs most."""
    if not row.reasons:
        return ""
    return _sentence(max(row.reasons, key=lambda reason: reason.contribution).sentence)
