"""Making Tripline's topics, and saying where those of a cluster are not as they must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError
from msgspec import Struct

from governance.settings import Kafka
from streams.kafka.connect import KafkaProblem, client_options
from streams.kafka.reach import unreachable
from streams.kafka.spec import TopicSpec, own_topic, spec_of, topic_specs
from streams.routing import INPUT_TOPICS

MIN_VERSION = (3, 8)
"""Tested with 4.1; older brokers than this are not."""
_UNKNOWN_TOPIC, _NO_ERROR, _EXISTS, _NOT_ALLOWED, _TOO_MANY_COPIES = 3, 0, 36, 29, 38
_MOVE = (
    "its keys would land in other partitions than their state. Keep the count, or make a new set of topics "
    "(another kafka.prefix), replay into them and switch"
)


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is not as the settings say. ``cure``: what to do about it."""

    topic: str
    what: str
    wanted: str
    found: str
    cure: str


class Made(Struct, frozen=True, kw_only=True):
    """What ``create`` did with a topic."""

    topic: str
    did: Literal["created", "there already", "configured"]
    changed: dict[str, str] = {}


def create(kafka: Kafka, *, apply: bool = False, specs: Sequence[TopicSpec] | None = None) -> list[Made]:
    """Make the topics that are missing; ``apply`` also sets configurations of others that differ.

    ``specs``: these topics, not all of the settings'. Raises KafkaProblem for whatever a person must mend. Partition
    counts are never changed.
    """
    specs = topic_specs(kafka) if specs is None else specs
    with _admin(kafka) as admin:
        asked = {
            spec.name: {
                "num_partitions": spec.partitions,
                "replication_factor": spec.replication,
                "configs": spec.configs,
            }
            for spec in specs
        }
        answered = admin.create_topics(asked, raise_errors=False, wait_for_metadata=False)["topics"]
        made = [_made(topic, kafka) for topic in answered]
        admin.wait_for_topics([spec.name for spec in specs])
        if apply:
            made = [_configure(admin, spec, one) for spec, one in zip(specs, _in_order(specs, made), strict=True)]
        return made


def check(kafka: Kafka) -> list[Difference]:
    """Every difference between the cluster's topics and the settings. Raises KafkaProblem when it can't look."""
    specs = topic_specs(kafka)
    with _admin(kafka) as admin:
        names = [spec.name for spec in specs]
        found = {topic["name"]: topic for topic in admin.describe_topics(names)}
        there = [name for name in names if found[name]["error_code"] == _NO_ERROR]
        configs = _configs(admin, there)
        return [each for spec in specs for each in _differences(spec, found[spec.name], configs.get(spec.name, {}))]


def delete(kafka: Kafka, specs: Sequence[TopicSpec]) -> None:
    """Delete topics with all that is in them. Raises KafkaProblem."""
    with _admin(kafka) as admin:
        admin.delete_topics([spec.name for spec in specs])


def existing(kafka: Kafka) -> set[str]:
    """The names, without the prefix, of all topics that begin with it. Raises KafkaProblem."""
    with _admin(kafka) as admin:
        return {name.removeprefix(kafka.prefix) for name in admin.list_topics() if name.startswith(kafka.prefix)}


def versions(kafka: Kafka) -> tuple[tuple[int, ...], int]:
    """The brokers' version and how many there are. Raises KafkaProblem when they can't be reached."""
    with _admin(kafka) as admin:
        return _version(admin), len(admin.describe_cluster()["brokers"])


def topic_ids(kafka: Kafka, topics: Sequence[str]) -> dict[str, str]:
    """The id of each topic (named without the prefix): a topic that is made anew has another one.

    Raises KafkaProblem when one is missing or has not as many partitions as the settings say.
    """
    names = {kafka.prefix + topic: topic for topic in topics}
    with _admin(kafka) as admin:
        found = admin.describe_topics(list(names))
    ids: dict[str, str] = {}
    for topic in found:
        spec = spec_of(kafka, names[topic["name"]])
        for one in _differences(spec, topic, {name: {"value": value} for name, value in spec.configs.items()}):
            if one.what in ("topic", "partitions"):
                raise KafkaProblem(f"{one.topic}: {one.what} is {one.found}, wanted is {one.wanted}", one.cure)
        ids[names[topic["name"]]] = str(topic["topic_id"])
    return ids


def input_ids(kafka: Kafka, engine_id: str) -> dict[str, str]:
    """The ids of an engine's input topics, by their common names. Raises KafkaProblem as ``topic_ids``."""
    found = topic_ids(kafka, [own_topic(engine_id, topic) for topic in INPUT_TOPICS])
    return {topic: found[own_topic(engine_id, topic)] for topic in INPUT_TOPICS}


# --- parts -----------------------------------------------------------------------------------------------------------


@contextmanager
def _admin(kafka: Kafka) -> Iterator[Any]:
    where = kafka.bootstrap
    try:
        admin = KafkaAdminClient(**client_options(kafka))
    except SaslAuthenticationFailedError as problem:
        raise KafkaProblem(f"{where} does not let {kafka.sasl_user!r} in: {problem}", "check kafka.sasl_*") from None
    except (KafkaError, OSError) as problem:
        raise unreachable(kafka, problem) from None
    try:
        version = _version(admin)
        if version < MIN_VERSION:
            wanted, said = ".".join(map(str, MIN_VERSION)), ".".join(map(str, version))
            raise KafkaProblem(f"the brokers speak Kafka {said}; {wanted} or newer is needed", "update the brokers")
        yield admin
    except AuthorizationError as problem:
        advice = "give this user DESCRIBE, DESCRIBE_CONFIGS and CREATE (and ALTER_CONFIGS for --apply) on the topics"
        raise KafkaProblem(f"the brokers refuse: {problem}", advice) from None
    except KafkaError as problem:
        raise KafkaProblem(f"the brokers at {where} said: {problem}", "see the brokers' log, then try again") from None
    finally:
        admin.close()


def _version(admin: Any) -> tuple[int, ...]:
    return tuple(admin._manager.broker_version)


def _made(topic: Mapping[str, Any], kafka: Kafka) -> Made:
    name, code, message = topic["name"], topic["error_code"], topic["error_message"] or ""
    if code == _NO_ERROR:
        return Made(topic=name, did="created")
    if code == _EXISTS:
        return Made(topic=name, did="there already")
    if code == _TOO_MANY_COPIES:
        advice = "add brokers, or for trying out set kafka.replication = 1 and kafka.min_in_sync = 1"
        raise KafkaProblem(f"{name} can't have {kafka.replication} copies: {message}", advice)
    if code == _NOT_ALLOWED:
        raise KafkaProblem(f"{name} may not be created by this user: {message}", "give it CREATE on the topics")
    raise KafkaProblem(f"{name} could not be created: {message} (code {code})", "see the brokers' log")


def _in_order(specs: Sequence[TopicSpec], made: Sequence[Made]) -> list[Made]:
    by_name = {one.topic: one for one in made}
    return [by_name[spec.name] for spec in specs]


def _configs(admin: Any, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, None) for name in names]
    told: dict[str, dict[str, Any]] = admin.describe_configs(asked, config_filter="all")["topic"]
    return told


def _configure(admin: Any, spec: TopicSpec, made: Made) -> Made:
    configs = _configs(admin, [spec.name]).get(spec.name, {})
    wrong = {key: value for key, value in spec.configs.items() if str(configs.get(key, {}).get("value")) != value}
    if not wrong:
        return made
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, wrong)])
    return Made(topic=spec.name, did="configured", changed=wrong)


def _differences(spec: TopicSpec, topic: Mapping[str, Any], configs: Mapping[str, Any]) -> Iterator[Difference]:
    code = topic["error_code"]
    if code == _UNKNOWN_TOPIC:
        yield Difference(topic=spec.name, what="topic", wanted="there", found="missing", cure="tripline topics create")
        return
    if code != _NO_ERROR:
        found = "not to be seen by this user" if code == _NOT_ALLOWED else f"error {code}"
        yield Difference(
            topic=spec.name, what="topic", wanted="there", found=found, cure="give this user DESCRIBE on the topic"
        )
        return
    partitions = len(topic["partitions"])
    if partitions != spec.partitions:
        yield Difference(
            topic=spec.name, what="partitions", wanted=str(spec.partitions), found=str(partitions), cure=_MOVE
        )
    copies = min(len(partition["replica_nodes"]) for partition in topic["partitions"])
    if copies < spec.replication:
        cure = "add copies with kafka-reassign-partitions, or lower kafka.replication"
        yield Difference(
            topic=spec.name, what="replication", wanted=str(spec.replication), found=str(copies), cure=cure
        )
    for key, wanted in spec.configs.items():
        value = str(configs.get(key, {}).get("value"))
        if value != wanted:
            yield Difference(
                topic=spec.name, what=key, wanted=wanted, found=value, cure="tripline topics create --apply"
            )
