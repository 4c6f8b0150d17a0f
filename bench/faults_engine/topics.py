"""The topics against a clean replay of the inputs, in two ways; and the dead letters against the poison."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from click.testing import CliRunner

from bench.faults_engine.load import POISON_KEY
from bench.faults_engine.look import Look
from bench.faults_engine.site import FASTER
from console.cli import main as tripline
from events.types import ActionEvent
from streams.kafka.spec import ALERTS, DEAD_LETTERS, FINDINGS, RISK
from streams.routing import ACTIONS, CRM, INPUT_TOPICS
from tests.kafka.working import check_fed, environ, expected

ALERT = b"tripline.alert.v1"
_FILES = ((FINDINGS, "findings.jsonl"), (RISK, "deal_risk.jsonl"), (ALERTS, "alerts.jsonl"))


def inputs(look: Look) -> None:
    """What was acknowledged lies in the input topics; what the API accepted as well."""
    found = {hash((topic, one.key, one.value)) for topic in (ACTIONS, CRM) for one in look.records(topic)}
    look.all_in("acknowledged records in the inputs", look.sender.taken, found)
    posted = {event.id for _, event in look.acts() if isinstance(event, ActionEvent)}
    look.all_in("events accepted over HTTP in the inputs", look.asking.accepted, posted)


def stages(look: Look) -> None:
    """States and outputs are what the stages say to the same records."""
    made = expected(look.site.kafka, look.site.settings)
    wanted: dict[Any, Any] = {}
    kept: dict[Any, Any] = {}
    for place, (states, recovered) in made.states.items():
        wanted |= {(*place, key): value for key, value in states.items()}
        kept |= {(*place, key): value for key, value in recovered.items()}
    look.equal("states of agents, deals, managers (bytes)", wanted, kept)
    look.said, look.again["outputs"] = look.cluster.said()
    for topic, by_key in look.said.items():
        look.equal(f"{topic}: outputs in order (bytes)", _numbered(made.outputs[topic]), _numbered(by_key))
    broken = []
    try:
        check_fed(look.cluster, made.fed)
    except (AssertionError, KeyError) as problem:
        broken.append(repr(problem)[:300])
    look.none_of("scores and markers fed to the portfolio", len(made.fed), broken)


def replay(look: Look) -> None:
    """``tripline replay --from-kafka`` says the same."""
    out, config = look.site.folder / "replay", look.site.folder / "tripline.toml"
    given = ["replay", "--from-kafka", "--out", str(out), "--quiet", "--config", str(config)]
    done = CliRunner().invoke(tripline, given, env={**environ(look.site.kafka), **FASTER})
    if done.exit_code:
        look.none_of("tripline replay --from-kafka", 0, [done.output[-300:]])
        return
    for topic, name in _FILES:
        said = [one for values in look.said[topic].values() for one in values]
        told = [one for one in said if topic != ALERTS or ALERT in one]
        look.equal(f"replay --from-kafka: {name}", (out / name).read_bytes().splitlines(), told)


def letters(look: Look) -> None:
    """Dead letters are the poison, in the topic and in the store."""
    poison = {
        (topic, one.partition, one.offset): one.value or b""
        for topic in INPUT_TOPICS for one in look.records(topic) if one.key == POISON_KEY
    }  # fmt: skip
    by_id = {}
    for one in look.records(DEAD_LETTERS):
        letter = msgspec.json.decode(one.value)
        by_id[letter["id"]] = letter["data"]
    look.again["dead letters"] = len(look.records(DEAD_LETTERS)) - len(by_id)
    look.equal("dead.letters: the poison by place", poison.keys(), [_place(data["origin"]) for data in by_id.values()])
    raw = {_place(data["origin"]): base64.b64decode(data["raw"]) for data in by_id.values()}
    look.equal("dead.letters: its bytes", poison, raw)
    stored = [_place(json.loads(origin)) for (origin,) in look.ask("SELECT origin FROM dead_letter")]
    look.equal("store: dead letters by place", poison.keys(), stored)


def _numbered(by_key: Mapping[str, list[bytes]]) -> dict[Any, bytes]:
    return {(key, place): one for key, values in by_key.items() for place, one in enumerate(values)}


def _place(origin: dict[str, Any]) -> tuple[str, int, int]:
    return origin["topic"], origin["partition"], origin["offset"]
