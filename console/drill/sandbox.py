"""The server of a drill: a process of its own with a store of its own, and agents that exist nowhere else."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import httpx

from console.app import PEOPLE_FILE, wall_ms
from console.auth import AuthStore, csrf_of
from governance.drills import Scenario
from governance.settings_types import LeaseSettings
from storage.people import open_people

PREFIX, PERSON = "drill-", "drill"
_TIMEOUT_SECS, _CONNECTIONS = 30.0, 8


def settings_text(agents: int, credits_: int, scenario: Scenario, leases: LeaseSettings) -> str:
    """The server's configuration: the leases of yours, and agents of the drill."""
    mode = "enforce" if scenario == "record_loop" else "shadow"
    lines = [
        "[leases]",
        f"ttl_secs = {leases.ttl_secs}\nreport_ms = {leases.report_ms}\noutcome_secs = {leases.outcome_secs}\n",
        f'[detectors.record_loop]\nmode = "{mode}"\n',
    ]
    for number in range(agents):
        name = f"{PREFIX}{number:04d}"
        lines += [
            f'[agents.{name}]\nactions = ["record.update"]\nrecords_per_10_min = 100000\nrecords_per_day = 100000',
            f"lease_actions = {credits_}\nlease_records = {credits_}\n",
        ]
    return "\n".join(lines)


class Sandbox:
    """Use it in a ``with``. Raises RuntimeError when the server does not start."""

    def __init__(self, agents: int, credits_: int, scenario: Scenario, leases: LeaseSettings) -> None:
        self._text = settings_text(agents, credits_, scenario, leases)
        self._folder = tempfile.TemporaryDirectory(prefix="tripline-drill-")
        self._password = secrets.token_urlsafe(16)
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Sandbox:
        folder = Path(self._folder.name)
        (folder / "tripline.toml").write_text(self._text, encoding="utf-8")
        (folder / "data").mkdir()
        AuthStore(open_people(folder / "data" / PEOPLE_FILE), wall_ms).add_user(PERSON, "operator", self._password)
        command = ["-m", "console", "standalone", "--port", "0", "--json", "--data-dir", f"{folder}/data"]
        with (folder / "log.txt").open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *command, "--config", f"{folder}/tripline.toml"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).resolve().parents[2],
            )
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            problem = (folder / "log.txt").read_text(errors="replace")[-1500:]
            self.__exit__(None, None, None)
            raise RuntimeError(f"the server of the drill does not start: {problem}")
        self.url = json.loads(line)["url"]
        self.person = self._log_in()
        return self

    def _log_in(self) -> httpx.Client:
        """A person with a session: a password sent with each request would be checked each time, which takes the
        server 100 ms, and stops would wait in line behind it."""
        patient = httpx.Timeout(_TIMEOUT_SECS, pool=None)
        person = httpx.Client(base_url=self.url, timeout=patient, limits=httpx.Limits(max_connections=_CONNECTIONS))
        person.post("/login", data={"name": PERSON, "password": self._password})
        person.headers["x-csrf-token"] = csrf_of(next(iter(person.cookies.values()), ""))
        return person

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self.url:
            self.person.close()
        self._folder.cleanup()
