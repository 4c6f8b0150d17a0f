"""What must make no difference to a stage: how its log is cut into batches, and where it is saved and crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec


def written(outputs: list[Any]) -> list[bytes]:
    """What a stage says, as bytes."""
    return [msgspec.json.encode(output.event) for output in outputs]


def state_of(judged: Any) -> Any:
    """Every key's state as bytes, those that nobody needed yet as well, and what all keys share."""
    judged.wake(1_000_000)
    keys = {keyed.key: (keyed.next_offset, judged.dump_body(keyed.body)) for keyed in judged.keys.values()}
    return keys, judged.dump_shared()


def cut(fresh: Callable[[], Any], log: Sequence[Any], cuts: Sequence[int]) -> None:
    """Judge a log whole and in batches: the same bytes."""
    whole, parts = fresh(), fresh()
    expected = written(whole.process(log))
    edges = [0, *sorted(one for one in cuts if one < len(log)), len(log)]
    found = [line for a, b in pairwise(edges) for line in written(parts.process(log[a:b]))]
    assert found == expected
    assert state_of(parts) == state_of(whole)


def crash(fresh: Callable[[], Any], log: Sequence[Any], saved: int, crashed: int, *, lazily: bool) -> None:
    """Save after some records, crash after some more, take the state back and judge again: the same bytes."""
    saved, crashed = sorted((min(saved, len(log)), min(crashed, len(log))))
    whole, before, after = fresh(), fresh(), fresh()
    expected = written(whole.process(log))
    said = written(before.process(log[:saved]))
    kept = before.snapshot()
    said_after_snapshot = written(before.process(log[saved:crashed]))
    resume = after.restore(kept, lazily=lazily)
    replayed = written(after.process([entry for entry in log if entry[0] >= resume]))
    assert said + replayed == expected
    assert replayed[: len(said_after_snapshot)] == said_after_snapshot, "what is said again has the same id and bytes"
    assert state_of(after) == state_of(whole)
