"""What people are told of the pipeline of deals and of the model that scores them. Only in the outbox."""

from __future__ import annotations

from msgspec import Struct

from events.types import Event


class Telling(Struct, frozen=True, kw_only=True):
    """A title and a text, in our own words and figures."""

    title: str
    body: str


class TellingEvent(Event, frozen=True, kw_only=True, gc=False, tag="tripline.telling.v1"):
    """Only in the outbox: what a notice of kind ``pipeline`` is made of."""

    data: Telling
