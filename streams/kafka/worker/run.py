"""``tripline worker``: the Faust app with the bulk transport, until it is told to stop or can't go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
from pathlib import Path
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError

from dashboards.registry import version
from events.types import MAIN_ENGINE
from governance.settings import Kafka, Settings
from streams.kafka.admin import input_ids, topic_ids
from streams.kafka.connect import KafkaProblem, bootstrap_of, forbidden
from streams.kafka.spec import OUTPUTS, STATE_OF, check_name, group_of, own_topic, watching_topic
from streams.kafka.worker.clients import ssl_context
from streams.kafka.worker.office import Office
from streams.kafka.worker.transport import Transport
from streams.kafka.worker.watch import worker_metrics
from streams.kafka.worker.web import Web
from streams.routing import INPUT_TOPICS
from streams.standalone.tuning import tune_gc

SESSION_SECS = 8.0
"""A worker that dies is noticed after so long; its partitions then go to the others."""
REBALANCE_SECS = 60.0
_HEARTBEAT_SECS, _REQUEST_SECS, _COMMIT_SECS = 2.0, 90.0, 1.0
_MOST_RECORDS = 20_000
_log = structlog.get_logger("tripline.worker")


def run_worker(settings: Settings, engine_id: str = "main", instance_id: str | None = None) -> None:
    """Work until SIGTERM or Ctrl-C, then save and leave.

    ``engine_id``: which engine it belongs to; see ``Lane``. ``instance_id``: a stable name of this worker (static
    membership), only where the platform gives one.
    Raises KafkaProblem when topics are not as they must be or the brokers can't be reached for long.
    """
    check_name(engine_id)
    _check(settings.kafka, engine_id)
    tune_gc()
    logging.getLogger("faust").setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="tripline-worker-") as folder:
        asyncio.run(Worker(settings, engine_id, instance_id, Path(folder)).run())


def make_app(kafka: Kafka, engine_id: str, instance_id: str | None, folder: Path) -> Any:
    """The Faust app: the group, and an agent for each input topic that never sees a record."""
    app = faust.App(
        group_of(kafka, engine_id),
        broker=[f"kafka://{address}" for address in bootstrap_of(kafka)],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=SESSION_SECS,
        broker_heartbeat_interval=_HEARTBEAT_SECS,
        broker_rebalance_timeout=REBALANCE_SECS,
        broker_request_timeout=_REQUEST_SECS,
        broker_commit_interval=_COMMIT_SECS,
        broker_max_poll_records=_MOST_RECORDS,
        consumer_group_instance_id=instance_id,
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=True,
        web_enabled=False,
        autodiscover=False,
        datadir=folder,
    )
    for topic in INPUT_TOPICS:
        app.agent(app.topic(kafka.prefix + own_topic(engine_id, topic)), name=f"subscribes.{topic}")(_never)
    return app


async def _never(stream: Any) -> None:
    async for _ in stream:
        raise RuntimeError("a bulk topic went through Faust's per-event path")


class Worker:
    """One run of a worker."""

    def __init__(self, settings: Settings, engine_id: str, instance_id: str | None, folder: Path) -> None:
        self._problem: BaseException | None = None
        self._over = asyncio.Event()
        self._office = Office(settings, engine_id, worker_metrics(version()), self._failed)
        self._web = Web(settings.worker, self._office.watch)
        self._app = make_app(settings.kafka, engine_id, instance_id, folder)
        transport = Transport(self._app.conf.broker_consumer, self._app)
        transport.office = self._office
        transport.bulk = {settings.kafka.prefix + own_topic(engine_id, topic): topic for topic in INPUT_TOPICS}
        self._app.transport = transport

    async def run(self) -> None:
        """Start, wait for the end, save, leave the group."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        self._web.start()
        _log.info("worker_web", url=self._web.url)
        try:
            await self._office.start()
            self._app.finalize()
            await self._app.start()
            _log.info("worker_started", group=self._app.conf.id)
            await self._wait()
        except KafkaError as problem:
            self._failed(problem)
        finally:
            with contextlib.suppress(KafkaError):
                await self._app.stop()
            await self._office.stop()
            await asyncio.to_thread(self._web.stop)
        _log.info("worker_stopped", problem=None if self._problem is None else str(self._problem))
        if self._problem is not None:
            raise _said(self._problem)

    async def _wait(self) -> None:
        """Until a signal, a failure of ours, or the end of Faust's app."""
        waits = [asyncio.ensure_future(self._over.wait()), asyncio.ensure_future(self._app.wait_until_stopped())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not self._over.is_set():
            reason = self._app.crash_reason
            self._failed(reason if reason is not None else RuntimeError("Faust's app ended by itself"))

    def _failed(self, problem: BaseException) -> None:
        if self._problem is None:
            self._problem = problem
        self._over.set()


def _said(problem: BaseException) -> BaseException:
    """What a person is told."""
    if (told := forbidden(problem)) is not None:
        return told
    if isinstance(problem, KafkaError):
        advice = "what was not saved is judged again; see the brokers' log, then start the worker again"
        return KafkaProblem(f"the brokers could not be written to or read from: {problem!r}", advice)
    return problem


def _check(kafka: Kafka, engine_id: str) -> None:
    """All topics that a worker needs are there, with the right number of partitions."""
    input_ids(kafka, engine_id)
    own = [] if engine_id == MAIN_ENGINE else [watching_topic(engine_id, topic) for topic in OUTPUTS]
    topic_ids(kafka, [*(own_topic(engine_id, topic) for topic in STATE_OF.values()), *OUTPUTS, *own])


def _credentials(kafka: Kafka) -> Any:
    context = ssl_context(kafka)
    if kafka.security.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_user,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)
