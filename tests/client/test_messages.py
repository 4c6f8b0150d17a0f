"""What describes an operation can be sent, or is refused before anything is admitted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tripline_client.errors import BadRequest
from tripline_client.messages import operation

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
ODD = st.binary(max_size=2) | st.sets(st.integers(), max_size=1) | st.tuples(PLAIN) | st.just(object())
VALUES = st.recursive(
    PLAIN | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN | st.tuples(PLAIN), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(VALUES)
def test_an_operation_is_refused_exactly_when_json_cannot_say_it(value: Any) -> None:
    try:
        json.dumps({"trigger": value})
    except (TypeError, ValueError):
        with pytest.raises(BadRequest, match="can't be sent"):
            operation("bot", "record.update", {}, {"trigger": value})
    else:
        operation("bot", "record.update", {}, {"trigger": value})


def test_what_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(BadRequest, match="can't be sent"):
        operation("bot", "record.update", {}, {"trigger": loop})
