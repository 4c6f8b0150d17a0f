"""How a client reaches the brokers of the settings, and what is said when it can't."""

from __future__ import annotations

from typing import Any

from governance.settings import Kafka

CONNECT_MS = 10_000
REQUEST_MS = 15_000


class KafkaProblem(Exception):
    """Something about the cluster that a person has to mend; the message says what, ``advice`` what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def forbidden(problem: BaseException) -> KafkaProblem | None:
    """What a person is told when the brokers' rules forbid something; None when that is not what is wrong."""
    name = type(problem).__name__  # kafka-python and aiokafka each have classes of their own
    if "AuthorizationFailed" not in name:
        return None
    about = next((str(one) for one in problem.args if one), "") or str(problem)
    kind = name.removesuffix("Error").removesuffix("Failed").removesuffix("Authorization") or "Cluster"
    advice = "workers and consoles need READ and WRITE on all topics of the prefix and READ on groups; producers WRITE"
    return KafkaProblem(f"the brokers' rules forbid this user what it needs on the {kind.lower()} {about}", advice)


def bootstrap_of(kafka: Kafka) -> list[str]:
    """The brokers to ask first, each as host:port."""
    return [address.strip() for address in kafka.bootstrap.split(",")]


def access(kafka: Kafka) -> dict[str, Any]:
    """Where the brokers are and who asks: what kafka-python and aiokafka call by the same names."""
    options: dict[str, Any] = {"bootstrap_servers": bootstrap_of(kafka), "security_protocol": kafka.security}
    if kafka.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_user,
            "sasl_plain_password": kafka.sasl_password,
        }
    return options


def client_options(kafka: Kafka) -> dict[str, Any]:
    """The options that every kafka-python client takes."""
    options = access(kafka) | {
        "client_id": "tripline",
        "request_timeout_ms": REQUEST_MS,
        "bootstrap_timeout_ms": CONNECT_MS,
    }
    if kafka.security.endswith("SSL"):
        options |= {
            "ssl_cafile": kafka.ca_file or None,
            "ssl_certfile": kafka.cert_file or None,
            "ssl_keyfile": kafka.key_file or None,
        }
    return options
