"""What the API tells of the policy: its version with each answer, and a bad new version as a warning."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from governance.gate import Rule
from tests.unit.console import fakes
from tests.unit.console.fakes import FakeRuntime

CHECK = {"agent_id": "dealbot", "action": "email.send", "record_ids": ["r"], "system": "gmail"}


def test_an_answer_names_the_version_and_the_policys_rule(
    client: TestClient[Litestar], runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fakes.gate_decision

    def held(*args: Any) -> Any:
        return msgspec.structs.replace(
            plain(*args), decision="hold", rule=Rule.POLICY, policy="5f3a", policy_rule="first_contact"
        )

    monkeypatch.setattr(fakes, "gate_decision", held)
    told = client.post("/v1/gate/check", json=CHECK).json()
    assert (told["rule"], told["policy"], told["policy_rule"]) == ("policy", "5f3a", "first_contact")
    assert runtime.checks[0].system == "gmail"


def test_without_a_policy_an_answer_has_neither(client: TestClient[Litestar]) -> None:
    assert {"policy", "policy_rule"} & client.post("/v1/gate/check", json=CHECK).json().keys() == set()


def test_a_warning_is_told_and_takes_nobody_out_of_service(client: TestClient[Litestar], runtime: FakeRuntime) -> None:
    runtime.warnings = ["the policy's new version has mistakes"]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["warnings"] == runtime.warnings
