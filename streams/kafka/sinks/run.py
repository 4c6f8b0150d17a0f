"""All sinks of a console: two threads, so that a flood of actions holds no alert up."""

from __future__ import annotations

import secrets

from governance.settings import Settings
from storage.postgres import PgStore, Told, Wire
from streams.kafka.sinks.acted import Acted
from streams.kafka.sinks.filing import Filing
from streams.kafka.sinks.records import Model, OnChanges
from streams.kafka.sinks.thread import SinkThread
from streams.kafka.sinks.told import Alerts, Letters, Names, Risks
from streams.standalone.types import Changes

ACTED, TOLD = "tripline-sinks-actions", "tripline-sinks"
"""The groups, without the prefix."""


class Sinks:
    """The sinks. Several consoles share the partitions.

    ``on_changes`` hears what each transaction here wrote, and without counts what other consoles wrote or decided.

    Parameters: the settings; the store, whose tables are there.
    """

    def __init__(self, settings: Settings, store: PgStore, on_changes: OnChanges) -> None:
        origin = secrets.token_hex(8)

        def thread(group: str, *models: Model) -> SinkThread:
            filing = Filing(store, models, on_changes, origin)
            return SinkThread(settings.kafka, group, [model.topic for model in models], filing)

        self._threads = (
            thread(ACTED, Acted(settings.kafka.partitions)),
            thread(TOLD, Risks(), Names(), Alerts(settings), Letters()),
        )
        self._wire = Wire(store, lambda told: on_changes(_heard(told)), own=(origin,))

    def start(self) -> None:
        """Start to read; where a broker or the store is missing, it waits for it."""
        self._wire.start()
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        """Store what is in hand, leave the partitions to other consoles, end."""
        for one in self._threads:
            one.stop()
        self._wire.stop()

    def lag(self) -> dict[str, int]:
        """By topic, how many records of this console's partitions are not stored yet, as far as it knows."""
        return {topic: number for one in self._threads for topic, number in one.lag.items()}

    def trouble(self) -> str:
        """Why something does not go on, in words; "" when all does."""
        return "; ".join(one.trouble for one in self._threads if one.trouble)


def _heard(told: Told) -> Changes:
    return Changes(
        agents=frozenset(told.agents),
        deals=frozenset(told.deals),
        kinds=frozenset(told.kinds),
        counts={},
        wrong_records=[],
    )
