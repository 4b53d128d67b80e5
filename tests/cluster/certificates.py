"""Makes the certificates of one cluster with the openssl command: one CA, and a key pair per identity.

The CA carries keyUsage and a key identifier, every leaf an authority key identifier: Python 3.13 verifies in strict mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.shell import run

DAYS = "3650"
CONFIGURATION = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = unused\n"


@dataclass(frozen=True, slots=True)
class KeyPair:
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate names: the user and group of a client, the addresses and names of a server."""

    user: str
    group: str | None = None
    names: tuple[str, ...] = ()  # DNS names
    addresses: tuple[str, ...] = ()


def subject(identity: Identity) -> str:
    """openssl's notation of the distinguished name; Kubernetes reads the user from CN and groups from O."""
    group = f"/O={identity.group}" if identity.group else ""
    return f"{group}/CN={identity.user}"


def extensions(identity: Identity) -> tuple[str, ...]:
    """The X.509v3 extensions of a leaf, in openssl's notation."""
    usages = "clientAuth,serverAuth" if identity.names or identity.addresses else "clientAuth"
    alternatives = ",".join([f"DNS:{name}" for name in identity.names] + [f"IP:{ip}" for ip in identity.addresses])
    return (
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        f"extendedKeyUsage={usages}",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
        *((f"subjectAltName={alternatives}",) if alternatives else ()),
    )


class Authority:
    """The cluster's certificate authority, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._configuration = directory / "openssl.cnf"
        self.pair = KeyPair(directory / "ca.crt", directory / "ca.key")

    def create(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._configuration.write_text(CONFIGURATION)
        self._request(
            self.pair,
            "/CN=slipway-local-ca",
            ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"),
        )

    def issue(self, name: str, identity: Identity) -> KeyPair:
        """A fresh key pair `<name>.crt`, `<name>.key`."""
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        signer = ("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key))
        self._request(pair, subject(identity), extensions(identity), signer)
        return pair

    def signing_key(self, name: str) -> KeyPair:
        """A bare key pair for service account tokens; `certificate` holds the public key."""
        pair = KeyPair(self._directory / f"{name}.pub", self._directory / f"{name}.key")
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pair.key])
        run(["openssl", "pkey", "-in", pair.key, "-pubout", "-out", pair.certificate])
        return pair

    def _request(
        self, pair: KeyPair, name: str, extension_lines: tuple[str, ...], signer: tuple[str, ...] = ()
    ) -> None:
        added = [part for line in extension_lines for part in ("-addext", line)]
        run(
            [
                "openssl",
                "req",
                "-config",
                self._configuration,
                "-x509",
                "-new",
                "-noenc",
                "-days",
                DAYS,
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-subj",
                name,
                "-keyout",
                pair.key,
                "-out",
                pair.certificate,
                *signer,
                *added,
            ]
        )
