"""What the weekly look at deals leaves in the store: models, their health, and what people are told, each once."""

from __future__ import annotations

from collections.abc import Iterable

from governance.telling import Telling, TellingEvent
from scoring.model import SCORECARD
from scoring.training.card import Looked
from storage import models
from streams.authority import Authority
from streams.envelopes import envelope
from streams.pipeline import Alarm

BY = "tripline"
"""Who adds and promotes models by itself."""
EVERY_MANAGER = "all"


def tell_alarms(authority: Authority, tenant: str, alarms: Iterable[Alarm]) -> None:
    """Tell of weeks in which the pipeline went wrong; an alarm that was told is not told again."""
    for alarm in alarms:
        subject = EVERY_MANAGER if alarm.group == "all" else alarm.group.removeprefix("team ")
        body = f"{alarm.sentence}. Evidence {alarm.evidence:,.0f}; it is an alarm from {alarm.threshold:,.0f} on."
        id_ = f"pipeline:{tenant}:{alarm.group}:{alarm.series}:{alarm.monday}"
        _tell(authority, f"{tenant}/{subject}", id_, "The pipeline itself is going wrong", body)


def keep_look(authority: Authority, tenant: str, looked: Looked, day: str, *, promotes: bool) -> None:
    """Keep what was found and learned; tell people what needs them. ``promotes``: what should score will do so."""
    for file in looked.candidates:
        models.add(authority.link, file, authority.now_ms, BY)
    if looked.health is not None:
        models.keep_health(authority.link, looked.health)
    concerns = list(looked.health.alerts) if looked.health is not None else []
    if looked.promote:
        name = "the hand scorecard" if looked.promote == SCORECARD else f"model {looked.promote[:12]}"
        told = f"tripline deals promote {looked.promote[:12]}"
        concerns.append(f"{name} scores from now on: {looked.why}" if promotes else f"{name}: {looked.why}; {told}")
    if concerns:
        key, id_ = f"{tenant}/{EVERY_MANAGER}", f"deal-model:{tenant}:{day}"
        _tell(authority, key, id_, "The model of deals", ". ".join(concerns))


def _tell(authority: Authority, key: str, id_: str, title: str, body: str) -> None:
    event = envelope(TellingEvent, authority.engine_id, id_, authority.now_ms, key, Telling(title=title, body=body))
    authority.notify(id_, key, authority.now_ms, event)
    authority.changed.add(("alert", key))
