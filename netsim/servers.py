"""Servers of the lab: coturn, as it runs on the internet.

Law 1: two public addresses, so that RFC 5780 behaviour discovery works: 3478 and 3479 on both.
Law 2: TURN over UDP and TCP on 3478, over TLS on 443; 443 takes plain TCP too.
Law 3: the certificate is made by the lab, for the server's addresses; clients trust it by ``ca_file``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from netsim.errors import LabError, NeverHappened
from netsim.host import Host
from netsim.namespaces import find_tool
from netsim.process import LabProcess
from netsim.tools import require_tools

PORT = 3478
TLS_PORT = 443
REALM = "lab"
USER = "meshcall"
PASSWORD = "secret"  # noqa: S105 - it is for the lab only, and printed in its documentation
RELAY_PORTS = (49152, 65535)


class TurnServer:
    """coturn on a public host. Made by :meth:`netsim.lab.Lab.server`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.process: LabProcess | None = None
        first = host.ipv4.rpartition(".")[0]
        self.addresses = (f"{first}.2", f"{first}.3")
        prefix = host.ipv6.rpartition("::")[0]
        self.addresses6 = (f"{prefix}::2", f"{prefix}::3")
        self.user = USER
        self.password = PASSWORD

    @property
    def ca_file(self) -> Path:
        """The certificate; set ``SSL_CERT_FILE`` to it."""
        return self.host.directory / "certificate.pem"

    @property
    def stun(self) -> str:
        """The STUN server's URI (RFC 7064)."""
        return f"stun:{self.addresses[0]}:{PORT}"

    def turn(self, transport: Literal["udp", "tcp", "tls"] = "udp", *, port: int | None = None) -> str:
        """The TURN server's URI (RFC 7065); TLS is on 443 and the others on 3478 unless ``port`` is given."""
        if transport == "tls":
            return f"turns:{self.addresses[0]}:{port or TLS_PORT}?transport=tcp"
        return f"turn:{self.addresses[0]}:{port or PORT}?transport={transport}"

    async def start(self) -> None:
        """Start coturn and wait until it answers. Raises LabError, LabUnavailable, NeverHappened."""
        if self.process is not None and self.process.running:
            raise LabError(f"{self.host.name} runs already")
        require_tools("turnserver", "openssl")
        if not self.ca_file.exists():
            await self._make_certificate()
        config = self.host.directory / "turnserver.conf"
        config.write_text("\n".join(self._configuration()) + "\n")
        self.process = await self.host.popen([find_tool("turnserver") or "turnserver", "-c", config])
        try:
            await self.process.wait_for_line("IPv[46]. TLS/TCP listener opened on")
        except NeverHappened as error:
            raise NeverHappened(f"coturn on {self.host.name} did not start", str(error)) from error

    async def stop(self) -> None:
        """Kill coturn; its allocations are gone."""
        if self.process is not None and self.process.running:
            await self.process.kill()

    async def restart(self) -> None:
        """Stop and start; allocations are lost. Raises LabError, NeverHappened."""
        await self.stop()
        await self.start()

    def _configuration(self) -> list[str]:
        addresses = [*self.addresses, *self.addresses6]
        return [
            *(f"listening-ip={address}" for address in addresses),
            *(f"relay-ip={address}" for address in (self.addresses[0], self.addresses6[0])),
            f"listening-port={PORT}",
            f"tls-listening-port={TLS_PORT}",
            f"min-port={RELAY_PORTS[0]}",
            f"max-port={RELAY_PORTS[1]}",
            "lt-cred-mech",
            f"realm={REALM}",
            f"user={USER}:{PASSWORD}",
            f"cert={self.ca_file}",
            f"pkey={self.host.directory / 'key.pem'}",
            f"userdb={self.host.directory / 'turndb'}",
            f"pidfile={self.host.directory / 'turnserver.pid'}",
            "log-file=stdout",
            "verbose",
            "no-cli",
            "no-dtls",
            "fingerprint",
            "relay-threads=1",
        ]

    async def _make_certificate(self) -> None:
        names = ",".join(f"IP:{address}" for address in (*self.addresses, *self.addresses6))
        done = await self.host.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=turn.lab"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-addext", f"subjectAltName={names}"),
                *("-keyout", self.host.directory / "key.pem", "-out", self.ca_file),
            ]
        )
        done.check()
