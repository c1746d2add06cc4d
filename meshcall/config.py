"""One frozen :class:`Config` for a node, and presets for the usual situations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from meshcall import limits
from meshcall.errors import InvalidConfig

AutoAnswer = Literal["off", "contacts", "anyone"]


@dataclass(frozen=True, slots=True)
class Config:
    """What a node is told before it starts. Nothing here is a secret."""

    home: Path
    """Folder that holds keys, state and sockets (mode 0700)."""

    port: int = 0
    """UDP port for the DHT and for direct records; 0 takes any free one (the last one used, if free)."""

    name: str = ""
    """What others are shown as our name, unverified; empty: none is sent."""

    fixed: frozenset[str] = frozenset()
    """Names of settings (:mod:`meshcall.settings`) that hold here whatever is stored in the home; so do those
    that differ from their default."""

    lan_only: bool = False
    """No DHT beyond this LAN: peers are found by mDNS alone."""

    mdns: bool = True
    """Announce and browse on the LAN."""

    visible: bool = False
    """Let people on the LAN who do not know our ID see it in `meshcall peers`."""

    bootstrap: tuple[str, ...] = ()
    """HOST:PORT of DHT nodes to join through; tls:HOST:PORT or tcp:HOST:PORT where UDP is blocked."""

    ice_servers: tuple[str, ...] = field(default=(), repr=False)
    """STUN and TURN servers to use in calls: URI, or URI,USERNAME,CREDENTIAL; empty: none at all."""

    mainline: bool = True
    """Find routers through the Mainline DHT when nothing else helps, and announce ourselves there while we
    are one; only where libtorrent is installed (extra `mainline`)."""

    mainline_bootstrap: tuple[str, ...] = ()
    """HOST:PORT of Mainline nodes to start from; empty: libtorrent's own."""

    port_mapping: bool = True
    """Ask the router to let others in to our UDP port (PCP, NAT-PMP, UPnP IGD); never with ``lan_only``."""

    interfaces: tuple[str, ...] = ()
    """Names of the network interfaces to use; empty: all that are useful."""

    auto_answer: AutoAnswer = "off"
    """Which incoming calls are answered without asking."""

    source: str = "testsrc"
    """What is sent in calls that are answered automatically: FILE, testsrc, camera[:N], screen, mic,
    camera+mic or none.
    """

    record_dir: Path | None = None
    """Record every call that is answered automatically into this folder."""

    accept_strangers: bool = True
    """Let people who are not contacts ring (they are shown apart)."""

    answer_pings: bool = True
    """Answer pings of contacts, who learn by them which paths lead here, without a ring."""

    contacts_only: bool = False
    """Be found by contacts alone, who have our rendezvous secret, and by who holds an open invite: who knows
    no more than our ID can neither write nor see that we are online."""

    notifications: bool = True
    """Show calls on the desktop while no call page is open."""

    media_workers: bool = False
    """Run each call's media in a process of its own; a program that is this node may have them in its own."""

    page_port: int | None = 6374
    """TCP port of the call page on the loopback interface, or one of the next nine; None: no page."""

    relay: bool | None = None
    """Lend a relay to others; None: while strangers reach this machine at an address of its own."""

    relay_port: int | None = None
    """A port for it, UDP, TCP and TLS; 0: any free one; None: the node's own, and 443 for TCP and TLS."""

    relay_addresses: tuple[str, ...] = ()
    """IP addresses that others reach it at, where a NAT gives this machine another; one of each family."""

    relay_certificate: Path | None = None
    """PEM file with key and certificates for TLS; None: one is made at each start."""

    coturn: str = ""
    """[IP:]PORT[,TLS-PORT] of a coturn that is lent in the place of a relay of this node's own."""

    coturn_secret: Path | None = None
    """File with its static-auth-secret; None: it has the secret that `meshcall relay --coturn` shows."""

    @classmethod
    def lan(cls, home: Path) -> Config:
        """A node for a LAN without internet."""
        return cls(home=home, lan_only=True)

    @classmethod
    def internet(cls, home: Path, *, bootstrap: tuple[str, ...] = ()) -> Config:
        """A node on the internet that also uses its LAN."""
        return cls(home=home, bootstrap=bootstrap)

    def with_(self, **changes: object) -> Config:
        """A copy with ``changes``."""
        return replace(self, **changes)  # type: ignore[arg-type]


def check_name(name: str) -> None:
    """Raise :class:`InvalidConfig` unless ``name`` can be our own name."""
    if len(name.encode("utf-8", errors="replace")) > limits.NAME_MAX or not name.isprintable():
        raise InvalidConfig(f"name: at most {limits.NAME_MAX} octets of printable text")
