"""Why brokers can't be reached: asked step by step, so that a person is told which setting to look at."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from governance.settings import Kafka
from streams.kafka.connect import KafkaProblem, bootstrap_of

_SECS = 3.0
_ALERT_SECS = 0.5
"""A broker that wants a certificate refuses within so long after its own part of the handshake (TLS 1.3)."""


def unreachable(kafka: Kafka, problem: BaseException) -> KafkaProblem:
    """What to tell of brokers that a client could not be made for.

    Tries the first broker that takes a connection: files, TLS, the client's certificate, then what is left.
    """
    for setting in ("ca_file", "cert_file", "key_file"):
        found = _unreadable(getattr(kafka, setting)) if kafka.security.endswith("SSL") else ""
        if found:
            return KafkaProblem(f"kafka.{setting} can't be read: {found}", f"point kafka.{setting} at a PEM file")
    for address in bootstrap_of(kafka):
        host, _, port = address.rpartition(":")
        try:
            link = socket.create_connection((host.strip("[]"), int(port)), _SECS)
        except (OSError, ValueError):
            continue
        with link:
            return _met(kafka, address, link, problem)
    advice = "is Kafka running there? Check kafka.bootstrap; to try Tripline: make kafka"
    return KafkaProblem(f"no broker answers at {kafka.bootstrap} ({problem})", advice)


def _unreadable(path: str) -> str:
    try:
        if path:
            Path(path).read_bytes()
    except OSError as problem:
        return f"{path}: {problem.strerror}"
    return ""


def _met(kafka: Kafka, address: str, link: socket.socket, problem: BaseException) -> KafkaProblem:
    if not kafka.security.endswith("SSL"):
        said = f"{address} takes connections but does not answer as a broker with {kafka.security} ({problem})"
        return KafkaProblem(said, "check kafka.security and kafka.sasl_*: does this port want TLS, or a log-in?")
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file or None)
        if kafka.cert_file:
            context.load_cert_chain(kafka.cert_file, kafka.key_file or None)
    except (ssl.SSLError, OSError) as bad:
        said = f"kafka.ca_file, kafka.cert_file or kafka.key_file is not usable: {bad}"
        return KafkaProblem(said, "they are PEM files; the key must fit the certificate and have no pass phrase")
    return _handshake(kafka, address, link, context)


def _handshake(kafka: Kafka, address: str, link: socket.socket, context: ssl.SSLContext) -> KafkaProblem:
    try:
        with context.wrap_socket(link, server_hostname=address.rpartition(":")[0].strip("[]")) as safe:
            safe.settimeout(_ALERT_SECS)
            with contextlib.suppress(TimeoutError):
                safe.recv(1)
    except ssl.SSLCertVerificationError as bad:
        said = f"the certificate of {address} is not trusted: {bad.verify_message}"
        return KafkaProblem(said, "set kafka.ca_file to the certificates that sign the brokers' ones")
    except ssl.SSLError as bad:
        if "CERTIFICATE" in (bad.reason or ""):
            said = f"{address} wants a certificate of ours, or another one than kafka.cert_file ({bad.reason})"
            return KafkaProblem(said, "set kafka.cert_file and kafka.key_file to what the brokers trust")
        return KafkaProblem(f"{address} does not speak TLS ({bad.reason or bad})", "check kafka.security and the port")
    except OSError as bad:
        return KafkaProblem(f"{address} ended the TLS handshake ({bad})", "check kafka.security and the port")
    if kafka.security.startswith("SASL"):
        said = f"{address} speaks TLS but does not let {kafka.sasl_user!r} in with {kafka.sasl_mechanism}"
        return KafkaProblem(said, "check kafka.sasl_user, kafka.sasl_password and kafka.sasl_mechanism")
    return KafkaProblem(f"{address} speaks TLS but does not answer as a broker", "check kafka.security and the port")
