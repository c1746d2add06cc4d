"""A coturn behind the announcement of a node: what who asks is told, and how it is made safe to lend.

Law: it sends nowhere where our own relay sends nothing (:mod:`meshcall.turn.policy`), and has its quotas.
"""

from __future__ import annotations

from meshcall.limits import (
    TURN_ALLOCATIONS_MAX,
    TURN_ALLOCATIONS_PER_USER,
    TURN_NONCE_LIFE,
    TURN_PEER_PORT_MIN,
    TURN_RATE,
    TURN_TOTAL_RATE,
)
from meshcall.turn.authentication import REALM
from meshcall.turn.coturn_place import Coturn
from meshcall.turn.grant import Place
from meshcall.turn.policy import denied_ranges


def coturn_places(coturn: Coturn) -> list[Place]:
    """As who asks is told."""
    places = [Place("udp", coturn.port, coturn.host)]
    if coturn.tls_port:
        places.append(Place("tls", coturn.tls_port, coturn.host))
    return [*places, Place("tcp", coturn.port, coturn.host)]


def coturn_config(coturn: Coturn, secret: str) -> str:
    """A ``turnserver.conf`` for coturn 4.5 and later."""
    tls = (
        [f"tls-listening-port={coturn.tls_port}", "cert=/etc/coturn/cert.pem", "pkey=/etc/coturn/key.pem"]
        if coturn.tls_port
        else ["no-tls"]
    )
    lines = [
        "# Made by `meshcall relay --coturn`. It holds a secret: chmod 0600.",
        f"listening-port={coturn.port}",
        *([f"listening-ip={coturn.host}"] if coturn.host else []),
        *tls,
        "no-dtls",
        "",
        "# Who is let in: credentials that the daemon grants, and nobody else.",
        "use-auth-secret",
        f"static-auth-secret={secret}",
        f"realm={REALM}",
        f"stale-nonce={int(TURN_NONCE_LIFE)}",
        "fingerprint",
        "",
        "# How much.",
        f"user-quota={TURN_ALLOCATIONS_PER_USER}",
        f"total-quota={TURN_ALLOCATIONS_MAX}",
        f"max-bps={int(TURN_RATE)}",
        f"bps-capacity={int(TURN_TOTAL_RATE)}",
        f"min-port={max(49152, TURN_PEER_PORT_MIN)}",
        "max-port=65535",
        "",
        "# Nothing but relays for UDP, and no way in.",
        "no-cli",
        "no-tcp-relay",
        "no-rfc5780",
        "no-software-attribute",
        "",
        "# Where nothing is sent: RFC 6890, multicast, addresses that hide others, clouds' metadata.",
        "no-multicast-peers",
        *(f"denied-peer-ip={first}-{last}" for first, last in denied_ranges()),
    ]
    return "\n".join(lines) + "\n"
