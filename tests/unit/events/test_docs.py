"""What the pages about events say is true."""

from __future__ import annotations

import re
from pathlib import Path

from events.codec import EVENT_TYPES, INPUT_TYPES, BadEvent, BadReason, decode, decode_input
from streams.standalone.types import ENGINE_REASONS
from tests.unit.events.samples import ACTION, bent, raw

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")
EXAMPLES = [block.encode() for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_every_example_is_read_by_the_decoder() -> None:
    kinds = {type(decode(example)) for example in EXAMPLES}
    shown = {name for name, kind in EVENT_TYPES.items() if kind in kinds}
    outputs = {"finding", "control", "deal.risk", "alert", "dead_letter"}
    assert shown >= {*INPUT_TYPES, *(f"tripline.{name}.v1" for name in outputs)}


def test_every_input_has_an_example_that_a_producer_may_send() -> None:
    sent = set()
    for example in EXAMPLES:
        try:
            sent.add(decode_input(example).__struct_config__.tag)
        except BadEvent as problem:
            assert problem.reason == BadReason.TYPE_NOT_ALLOWED  # noqa: PT017 - it is about those that are refused
    assert sent == set(INPUT_TYPES)


def test_every_code_is_explained() -> None:
    codes = set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE.partition("| code |")[2].partition("\n## ")[0], re.MULTILINE))
    assert codes - set(ENGINE_REASONS) == {reason.value for reason in BadReason}


def test_the_sentences_shown_are_the_sentences_said() -> None:
    wrong = [
        bent("data.records", -1),
        bent("time", "2026-03-02T09:14:03"),
        bent("type", "tripline.agent.actions.v1"),
        raw(ACTION).replace(b'"kind":"rule"', b'"kind":"rule","kind":"rule"'),
    ]
    for data in wrong:
        try:
            decode(data)
        except BadEvent as problem:
            assert problem.message in PAGE  # noqa: PT017 - the message itself is what is looked up
        else:
            raise AssertionError(data)
