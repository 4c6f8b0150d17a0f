"""aiokafka's getmany: the limit of Faust's own client. ``logic``: lists through the engine; else bytes only."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers.logic import Logic, Meter, encoded, options


async def main() -> None:
    given = options()
    meter, logic = Meter(given["events"]), Logic() if given["logic"] else None
    consumer = AIOKafkaConsumer(
        given["topic"], bootstrap_servers=given["bootstrap"], group_id=given["group"], auto_offset_reset="earliest",
        fetch_max_wait_ms=10, max_partition_fetch_bytes=1024 * 1024, enable_auto_commit=False,
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=given["bootstrap"], linger_ms=5, acks="all")
    await consumer.start()
    await producer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                if logic is not None:
                    raws, times = [record.value for record in records], [record.timestamp for record in records]
                    for output in logic.judge_all(records[0].key, raws, times):
                        await producer.send(given["out"], encoded(output), key=output.key.encode())
                if meter.count(len(records)):
                    return
    finally:
        await producer.stop()
        await consumer.stop()


asyncio.run(main())
