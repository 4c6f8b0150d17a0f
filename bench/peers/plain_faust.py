"""Plain Faust: an agent over the stream. ``table``: the agent's state is written to a table at each event.

At its best: no acknowledgement per event (``noack`` would lose records), memory store, no Cython difference, a fetch
wait of 10 ms instead of 1,500, buffers of 4,096, no web server, no monitor per event.
"""

from __future__ import annotations

import tempfile
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

from bench.peers.logic import Logic, Meter, encoded, options

given = options()
meter, logic = Meter(given["events"]), Logic()


class Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = 10
        return consumer


driver.Consumer._new_consumer_thread = lambda self: Thread(self, loop=self.loop, beacon=self.beacon)  # type: ignore[method-assign]

app = faust.App(
    given["group"],
    broker=f"kafka://{given['bootstrap']}",
    store="memory://",
    datadir=tempfile.mkdtemp(prefix="bench-faust-"),
    consumer_auto_offset_reset="earliest",
    topic_partitions=given["partitions"],
    topic_disable_leader=True,
    table_standby_replicas=0,
    stream_buffer_maxsize=4096,
    web_enabled=False,
    producer_linger=0.005,
    producer_acks=-1,
    key_serializer="raw",
    value_serializer="raw",
)
source = app.topic(given["topic"], key_type=bytes, value_type=bytes)
out = app.topic(given["out"], key_type=bytes, value_type=bytes)
states = (
    app.Table("states", key_type=bytes, value_type=bytes, partitions=given["partitions"]) if given["table"] else None
)


@app.agent(source)
async def judge(stream: Any) -> None:
    async for event in stream.events():
        key = event.message.key
        for output in logic.judge(key, event.value, int(event.message.timestamp * 1000)):
            await out.send(key=output.key.encode(), value=encoded(output))
        if states is not None and (state := logic.state_of(key)) is not None:
            states[key] = state
        if meter.count():
            app.loop.call_later(0.1, _end)


def _end() -> None:
    import os  # noqa: PLC0415

    os._exit(0)


if __name__ == "__main__":
    app.finalize()
    worker = faust.Worker(app, loglevel="WARN", redirect_stdouts=False)
    worker.execute_from_commandline()
