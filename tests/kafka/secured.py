"""A broker that is spoken to with TLS: by a login (SCRAM) on one listener, by the client's certificate on another."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.kafka.broker import Broker, free_port

USER, PASSWORD = "tripline", "correct-horse"


class Authority:
    """Signs certificates; ``ca`` is the file that clients are to trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, is_authority=True)
        self.ca = self._write(f"{name}-ca.pem", self._certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for a name and 127.0.0.1, and its key; both as PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, is_authority=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (
            self._write(f"{name}.pem", certificate.public_bytes(Encoding.PEM)),
            self._write(f"{name}-key.pem", private),
        )

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, pem: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(pem)
        return path


class SecuredBroker(Broker):
    """Listens without protection (for itself), with TLS and a login, and with TLS and the client's certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder, "tests")
        self.login_port, self.certificate_port = free_port(), free_port()
        certificate, key = self.authority.issue("broker")
        store = folder / "broker-store.pem"
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        super().__init__(folder)
        plain = f"PLAINTEXT://127.0.0.1:{self.port}"
        others = f"LOGIN://127.0.0.1:{self.login_port},CERTIFICATE://127.0.0.1:{self.certificate_port}"
        self.properties["controller.port"] = controller = str(free_port())
        self.properties |= {
            "listeners": f"{plain},{others},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"{plain},{others}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL",
            "listener.name.login.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.login.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.certificate.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca),
        }
        self.format_options = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]

    @property
    def login_address(self) -> str:
        """Where it wants a user and a password."""
        return f"127.0.0.1:{self.login_port}"

    @property
    def certificate_address(self) -> str:
        """Where it wants the client's certificate."""
        return f"127.0.0.1:{self.certificate_port}"
