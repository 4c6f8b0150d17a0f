"""What ``tripline doctor --kafka`` looks at: brokers, topics, partitioners, lag, clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from console.cli.checks import Check, ok

if TYPE_CHECKING:
    from governance.settings_types import Kafka, Settings
    from streams.kafka.admin import Difference

SKEW_MS = 5_000
TICK_AGE_STEPS = 6
SHOWN = 5


def check_kafka(settings: Settings) -> Iterator[Check]:
    """Every check; the first that finds no broker is the last."""
    from streams.kafka.admin import check
    from streams.kafka.connect import KafkaProblem

    kafka = settings.kafka
    try:
        yield brokers(kafka)
    except KafkaProblem as problem:
        yield Check("brokers", "problem", str(problem), problem.advice)
        return
    try:
        differences = check(kafka)
    except KafkaProblem as problem:
        yield Check("topics", "problem", str(problem), problem.advice)
        return
    yield from topics(kafka, differences)
    if any(one.what in ("topic", "partitions") for one in differences):
        return  # what lies in topics that are missing or of another shape tells nothing
    parts: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("records", lambda: records(settings)),
        ("lag", lambda: lag(kafka)),
    ]
    for name, look in parts:
        try:
            yield from look()
        except KafkaProblem as problem:
            yield Check(name, "problem", str(problem), problem.advice)


def brokers(kafka: Kafka) -> Check:
    """Do they answer, are they new enough, and enough of them?"""
    from streams.kafka.admin import versions

    version, count = versions(kafka)
    said = f"{count} at {kafka.bootstrap}, Kafka {'.'.join(map(str, version))}"
    if count < kafka.replication:
        advice = f"each partition is to have {kafka.replication} copies: add brokers, or set kafka.replication"
        return Check("brokers", "problem", said, advice)
    if count == 1:
        return Check("brokers", "warning", said, "one broker is for trying out: when it is down, so are gates")
    return ok("brokers", said)


def topics(kafka: Kafka, found: Sequence[Difference]) -> Iterator[Check]:
    """Is each as it has to be?"""
    for one in found[:SHOWN]:
        message = f"{one.topic}: {one.what} is {one.found}, wanted is {one.wanted}"
        yield Check("topics", "problem", message, one.cure)
    if len(found) > SHOWN:
        yield Check("topics", "problem", f"{len(found) - SHOWN} more differences", "tripline topics check")
    if not found:
        yield ok("topics", f"all are there with {kafka.partitions} partitions")


def records(settings: Settings) -> Iterator[Check]:
    """Do producers use the right partitioner, and do the clocks agree?"""
    from streams.kafka.look import sample

    found = sample(settings.kafka)
    if found.astray:
        yield Check(
            "partitioners", "problem", f"{found.astray} of the newest {found.looked} records: {found.example}",
            "producers must use murmur2 over the UTF-8 key (in librdkafka: partitioner=murmur2_random); workers "
            "produce such records again where they belong",
        )  # fmt: skip
    else:
        yield ok("partitioners", f"the newest {found.looked} records lie where their keys belong")
    if found.unreadable:
        advice = "tripline dead-letters list says what is wrong with them"
        yield Check("records", "warning", f"{found.unreadable} of the newest can't be read", advice)
    now_ms, newest = int(time.time() * 1000), max(found.newest_ms, found.tick_logged_ms)
    step_ms = settings.engine.tick_secs * 1000
    if newest > now_ms + SKEW_MS:
        ahead = (newest - now_ms) / 1000
        advice = "set the clocks (NTP): of the brokers, or of this machine"
        yield Check("clocks", "problem", f"the brokers' clock is {ahead:,.1f} s ahead of this machine's", advice)
    elif not found.tick_ms:
        yield Check("clocks", "warning", "there is no tick yet: nothing that waits for time happens", "tripline worker")
    elif abs(found.tick_logged_ms - found.tick_ms) > SKEW_MS + step_ms:
        apart = abs(found.tick_logged_ms - found.tick_ms) / 1000
        advice = "set the clocks (NTP): of the machine with the workers, or of the brokers"
        yield Check("clocks", "problem", f"the ticker's clock and the brokers' are {apart:,.1f} s apart", advice)
    elif now_ms - found.tick_logged_ms > TICK_AGE_STEPS * step_ms:
        age = (now_ms - found.tick_logged_ms) / 1000
        yield Check("clocks", "problem", f"the newest tick is {age:,.0f} s old", "does a worker run? tripline worker")
    else:
        yield ok("clocks", "ticks come; the ticker's clock, the brokers' and this machine's agree")


def lag(kafka: Kafka) -> Iterator[Check]:
    """Do the workers keep up, those of each engine?"""
    from streams.kafka.engines import known
    from streams.kafka.look import lags

    engines = known(kafka)
    for engine in engines:
        whose = f"{engine}: " if len(engines) > 1 else ""
        for one in lags(kafka, engine):
            if one.records is None:
                advice = "tripline worker" if engine == "main" else f"tripline worker --engine {engine}"
                yield Check("lag", "warning", f"{whose}{one.topic}: no worker has saved anything yet", advice)
            else:
                yield ok("lag", f"{whose}{one.topic}: {one.records:,} records behind what workers have saved")
