"""What ``tripline doctor`` looks at: each check says what it found and, when it is wrong, what to do."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from governance.settings_types import Settings

MIN_SQLITE = (3, 35, 0)
MIB = 1024 * 1024
EARLIEST_SANE_SECS = 1_735_689_600  # 2025-01-01: a clock before that is not set
AHEAD_MS = 60_000


class Check(Struct, frozen=True):
    """One finding: ok, a warning, or a problem; ``advice`` says what to do."""

    name: str
    status: Literal["ok", "warning", "problem"]
    message: str
    advice: str = ""


def ok(name: str, message: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", message)


def check_all(settings: Settings) -> Iterator[Check]:
    """Every check, in an order in which an earlier one explains a later one."""
    yield versions()
    yield clock()
    if settings.store.url:
        has_tables = yield from shared_store(settings)
    else:
        yield from folder(Path(settings.server.data_dir), settings)
        has_tables = True
    yield from port(settings)
    if has_tables:  # else the check of the store says why; to look for people would make them
        yield from people(settings)
    yield exposure(settings)
    yield from agents(settings)
    yield from policy(settings)
    yield notifications(settings)


def versions() -> Check:
    """Python and SQLite."""
    found = f"Python {'.'.join(map(str, sys.version_info[:3]))}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        wanted = ".".join(map(str, MIN_SQLITE))
        return Check("versions", "problem", found, f"SQLite {wanted} or newer is needed: use a newer Python build")
    return ok("versions", found)


def clock() -> Check:
    """A clock that was never set would put every record in the wrong place."""
    if time.time() < EARLIEST_SANE_SECS:
        return Check("clock", "problem", f"the clock says {time.ctime()}", "set the clock (NTP)")
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def folder(path: Path, settings: Settings) -> Iterator[Check]:
    """Can the data folder be written, is there room, and is the store sound?"""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield Check("data folder", "problem", f"{there} can't be written", "fix its rights, or set server.data_dir")
        return
    free = os.statvfs(there).f_bavail * os.statvfs(there).f_frsize
    if free < settings.engine.min_free_bytes:
        needed = settings.engine.min_free_bytes // MIB
        yield Check("disk", "problem", f"{free // MIB:,} MiB free", f"free some: producers wait below {needed:,} MiB")
    else:
        yield ok("disk", f"{free // MIB:,} MiB free")
    yield store(path)


def shared_store(settings: Settings) -> Generator[Check, None, bool]:
    """PostgreSQL answers, lets us in, and has the tables of this version; returns whether it has them."""
    from storage.errors import StoreError
    from storage.postgres import PgStore

    try:
        with PgStore(settings.store.url, settings.store.password) as there:
            is_up_to_date = there.is_up_to_date()
    except StoreError as problem:
        yield Check("store", "problem", str(problem), "see docs/storage.md: address, password, rights, version")
        return False
    note = ", tables up to date"
    if not is_up_to_date:
        note = "; its tables are made or brought up to date at the next start of a console"
    yield ok("store", f"{there}{note}")
    return is_up_to_date


def store(path: Path) -> Check:
    """The store opens, is whole, is of this version, and its last record is not in the future."""
    from storage import migrations
    from storage.store import FILE

    file = path / FILE
    if not file.exists():
        return ok("store", f"none in {path} yet; it is made at the first start")
    try:
        link = sqlite3.connect(f"file:{file.absolute().as_posix()}?mode=ro", uri=True, timeout=2)
        try:
            sound = link.execute("PRAGMA quick_check(1)").fetchone()[0]
            last_ms = link.execute("SELECT max(last_at_ms) FROM log_segment").fetchone()[0] or 0
        finally:
            link.close()
        revision = migrations.current(file)
    except Exception as problem:  # whatever is wrong with it is what is to be told
        return Check("store", "problem", f"{file} can't be read: {problem}", "restore it from a copy, or move it away")
    if sound != "ok":
        return Check("store", "problem", f"{file} is damaged: {sound}", "restore it from a copy, or move it away")
    if last_ms > time.time() * 1000 + AHEAD_MS:
        ahead = (last_ms - time.time() * 1000) / 1000
        return Check(
            "store", "warning", f"its last record lies {ahead:,.0f} s ahead of the clock",
            "the log's time stands still until the clock gets there; was it a demo's store, or the clock set back?",
        )  # fmt: skip
    note = "" if revision == migrations.HEAD else "; it is brought up to date at the next start"
    return ok("store", f"{file}, {file.stat().st_size // MIB:,} MiB{note}")


def port(settings: Settings) -> Iterator[Check]:
    """Is the port free, or does Tripline answer there already?"""
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as problem:
            yield running(settings, problem.strerror or str(problem))
            return
    yield ok("port", f"{server.host}:{server.port} is free")


def running(settings: Settings, why: str) -> Check:
    """Something holds the port: is it Tripline, and is it well?"""
    import httpx

    host, port_ = settings.server.host, settings.server.port
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    try:
        answer = httpx.get(f"http://{shown}:{port_}/readyz", timeout=3)
        told: Any = answer.json()
    except (httpx.HTTPError, ValueError):
        return Check("port", "problem", f"{host}:{port_}: {why}", "something else listens there: set server.port")
    if not isinstance(told, dict) or "status" not in told:
        return Check("port", "problem", f"{host}:{port_} is taken by another server", "set server.port")
    if told["status"] != "ok":
        return Check("server", "problem", f"it runs, but: {told.get('reasons')}", "see its log")
    return ok("server", f"runs on {host}:{port_}; judged to {told.get('judged_to')}")


def people(settings: Settings) -> Iterator[Check]:
    """Can anybody stop or release an agent?"""
    from console.app import PEOPLE_FILE, open_auth

    if not settings.store.url and not (Path(settings.server.data_dir) / PEOPLE_FILE).exists():
        yield Check("people", "warning", "nobody can log in yet", "tripline users add NAME --role operator")
        return
    able = [
        user["name"]
        for user in open_auth(settings).list_users()
        if user["disabled_ms"] is None and user["role"] in ("operator", "admin") and user["has_password"]
    ]
    if not able:
        advice = "tripline users add NAME --role operator"
        yield Check("people", "warning", "nobody who may release an agent has a password", advice)
    elif len(able) == 1:
        advice = "add a second operator: ending a stop of everything takes two people"
        yield Check("people", "warning", f"only {able[0]} may stop and release agents", advice)
    else:
        yield ok("people", f"{len(able)} may stop and release agents")


def exposure(settings: Settings) -> Check:
    """Who can reach it, and with what?"""
    from console.security import is_loopback

    server = settings.server
    if is_loopback(server.host):
        return ok("exposure", "this machine alone can reach it")
    if server.require_tokens == "never":
        return Check("exposure", "problem", "other machines could send without a token", 'set require_tokens = "auto"')
    if not server.allowed_hosts:
        advice = "name the console's host in server.allowed_hosts"
        return Check("exposure", "warning", "browsers on other machines are refused by the host check", advice)
    return ok("exposure", f"other machines reach it as {', '.join(server.allowed_hosts)}, with tokens")


def agents(settings: Settings) -> Iterator[Check]:
    """Are there agents, and has each an owner?"""
    if not settings.agents:
        yield Check(
            "agents", "warning", "no agent is configured: each is watched with default limits, refused at the gate",
            "add [agents.NAME] tables; a refusal at the gate prints the lines",
        )  # fmt: skip
        return
    ownerless = [name for name, agent in settings.agents.items() if not agent.owner]
    if ownerless:
        yield Check("agents", "warning", f"without an owner: {', '.join(ownerless[:5])}", "set owner in their tables")
    else:
        yield ok("agents", f"{len(settings.agents)} configured, each with an owner")


def policy(settings: Settings) -> Iterator[Check]:
    """Is the policy without mistakes, and do the settings know its agents?"""
    from governance.policy import PolicyError
    from governance.words import plural
    from streams.policies import known_to, load_file

    if not settings.policy.file:
        return
    try:
        loaded = load_file(Path(settings.policy.file), known_to(settings))
    except PolicyError as problem:
        advice = f"tripline policy check {settings.policy.file}; nothing starts with it"
        message = f"{plural(len(problem.problems), 'mistake')}, the first: {problem.problems[0]}"
        yield Check("policy", "problem", message, advice)
        return
    missing = sorted(loaded.policy.agents.keys() - settings.agents.keys())
    if missing and settings.gate.unknown_agents == "deny":
        message = f"the settings do not know its agents {', '.join(missing[:5])}: the gate refuses them"
        yield Check("policy", "warning", message, "add [agents.NAME] tables for them")
    else:
        yield ok("policy", f"version {loaded.policy.short}, {len(loaded.policy.agents)} agents")


def notifications(settings: Settings) -> Check:
    """Does anybody hear of a stop?"""
    from streams.sinks.senders import unusable_targets

    unusable = unusable_targets(settings.notifications) if settings.notifications.targets else []
    if unusable:
        message = f"apprise does not know the address of {', '.join(unusable)}"
        return Check("notifications", "problem", message, "mend notifications.targets[].url")
    if settings.notifications.targets:
        return ok("notifications", ", ".join(target.name for target in settings.notifications.targets))
    return Check("notifications", "warning", "go to the log only", "add [[notifications.targets]] with an apprise url")
