"""From a NAT kind to the rule set (nftables) and kernel settings that make a Linux router behave so.

Law 1: pure: the same kind, addresses and seed give the same text.
Law 2: a text replaces the router's tables in one step; loading it again is how the kind is changed.
Law 3: the router's own input is closed to datagrams that belong to no mapping, unless the kind wants it:
       accepting one makes conntrack keep state for it, and that state takes the port of the host's mapping.

The interfaces of a router are called ``wan`` and ``lan``. What the kernel does by itself (nf_nat_core.c)::

    snat to WAN            EIM + APDF, preserves the port: a source keeps its external port as long as the
                           5-tuple stays unique
    snat to WAN random     APDM + APDF: a new port for each flow

Everything else is made of tables that the packets themselves fill::

    mappings    external port -> host and port    learned behind srcnat, where the port is final
    permitted   external port, remote [, port]    what the filter lets in
    owned,      external port, host               who preserves a port, so that a second host with the
    taken       external port                     same port gets another one for good (RFC 4787 REQ-3)
    tickets     host and port [, remote] -> n     the n-th mapping gets the n-th port of a list

Only the first packet of a flow passes chains of type nat, so tables are refreshed in filter chains.
``numgen`` writes its number in host order where a port is wanted, so ports come from a list by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from netsim.nat import NAT, Filtering, Mapping, Outbound, Ports

POOL_SIZE = 2048
"""Ports of the list that mappings take turns through."""
FIRST_SEQUENTIAL_PORT = 40000
OVERFLOW_PORTS = (50000, 59999)
"""For hosts whose own port is another host's."""
TABLE_SIZE = 65535
TABLES = ("inet fw", "ip nat")


@dataclass(frozen=True, slots=True)
class RouterAddresses:
    """What a rule set needs to know of its router."""

    wan: str
    """The external IPv4 address; empty without an uplink."""
    lan: str
    """The network behind it: ``192.168.1.0/24``."""


def render(nat: NAT, addresses: RouterAddresses, *, seed: int = 0) -> str:
    """The rule set, for ``nft -f``. Another ``seed`` gives other random ports."""
    tables = [_firewall(nat)]
    if nat.translates and nat.outbound is not Outbound.NOTHING:
        tables.append(_translation(nat, addresses, seed))
    # A table is added before it is deleted: deleting one that does not exist is an error.
    fresh = "".join(f"add table {table}\ndelete table {table}\n" for table in TABLES)
    return fresh + "".join(tables)


_BRIDGED = "net/bridge/bridge-nf-call-iptables"


def sysctls(nat: NAT) -> dict[str, str]:
    """Kernel settings of the router, by path below /proc/sys."""
    seconds = str(nat.timeout)
    # Where the kernel can (br_netfilter), what neighbours send each other passes the router's rules, too; and
    # what a host sends to its own outside address is sent on by the bridge, which sends nothing back by the
    # port that it came from.
    bridged = {_BRIDGED: "0"} if (Path("/proc/sys") / _BRIDGED).exists() else {}
    return bridged | {
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        # A hairpinned packet goes back where it came from; the kernel would tell the host a shorter way.
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/default/send_redirects": "0",
        "net/netfilter/nf_conntrack_udp_timeout": seconds,
        "net/netfilter/nf_conntrack_udp_timeout_stream": seconds,
    }


def forget(nat: NAT) -> str:
    """The commands (``nft -f``) that empty the tables, as a reboot does."""
    names = [*_objects(nat)] if nat.translates else []
    return "".join(f"flush {kind} ip nat {name}\n" for name, kind in names)


def _block(head: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"  {head} {{\n{body}  }}\n"


def _firewall(nat: NAT) -> str:
    verdict = nat.unsolicited.value
    known = "ct state established,related accept"
    forward = ["type filter hook forward priority filter; policy drop;", known]
    if nat.outbound is Outbound.ALL:
        forward.append('iifname "lan" accept')
    elif nat.outbound is Outbound.WEB:
        forward += [
            # Where the kernel has bridges pass the firewall, neighbours do, too: only the way out is blocked.
            'iifname "lan" oifname "lan" accept',
            'iifname "lan" tcp dport { 80, 443 } accept',
            'iifname "lan" meta l4proto tcp reject with tcp reset',
            'iifname "lan" counter drop',
        ]
    else:
        forward.append('iifname "lan" oifname "lan" accept')
    if not nat.translates and nat.filtering is Filtering.EIF:
        forward.append('iifname "wan" meta nfproto ipv4 accept')
    if nat.ipv6 is Filtering.EIF:
        forward.append('iifname "wan" meta nfproto ipv6 accept')
    forward.append("ct status dnat accept")
    return (
        "table inet fw {\n"
        + _block(
            "chain input",
            [
                "type filter hook input priority filter; policy accept;",
                f'iifname "wan" {known}',
                f'iifname "wan" meta l4proto {{ udp, tcp }} {verdict}',
            ],
        )
        + _block("chain forward", forward)
        + "}\n"
    )


def _objects(nat: NAT) -> dict[tuple[str, str], str]:
    """The dynamic tables of this kind: (name, "map" or "set") -> type."""
    objects = {}
    if _learns_mappings(nat):
        objects["mappings", "map"] = "inet_service : ipv4_addr . inet_service"
    if _learns_mappings(nat) and nat.filtering is not Filtering.EIF:
        remote = "ipv4_addr" if nat.filtering is Filtering.ADF else "ipv4_addr . inet_service"
        objects["permitted", "set"] = f"inet_service . {remote}"
    if nat.mapping is Mapping.EIM and nat.ports is Ports.PRESERVE:
        objects["owned", "set"] = "inet_service . ipv4_addr"
        objects["taken", "set"] = "inet_service"
    if _has_tickets(nat):
        key = "ipv4_addr . inet_service" + (" . ipv4_addr" if nat.mapping is Mapping.ADM else "")
        objects["tickets", "map"] = f"{key} : mark"
        objects["served", "set"] = key
    return objects


def _learns_mappings(nat: NAT) -> bool:
    # conntrack by itself filters by address and port; mappings are needed for what it would not let in.
    return nat.hairpin or nat.filtering is not Filtering.APDF


def _has_tickets(nat: NAT) -> bool:
    return nat.mapping in {Mapping.EIM, Mapping.ADM} and nat.ports is not Ports.PRESERVE


def _has_pool(nat: NAT) -> bool:
    return _has_tickets(nat) or (nat.mapping is Mapping.APDM and nat.ports is Ports.SEQUENTIAL)


def _pool_size(nat: NAT) -> int:
    first, last = nat.port_range
    return min(POOL_SIZE, last - first + 1) if nat.ports is Ports.RANGE else POOL_SIZE


def _pool(nat: NAT, seed: int) -> str:
    if nat.ports is Ports.SEQUENTIAL:
        ports = list(range(FIRST_SEQUENTIAL_PORT, FIRST_SEQUENTIAL_PORT + POOL_SIZE))
    else:
        first, last = nat.port_range if nat.ports is Ports.RANGE else (1024, 65535)
        ports = Random(seed).sample(range(first, last + 1), _pool_size(nat))
    elements = ", ".join(f"{index} : {port}" for index, port in enumerate(ports))
    return f"  map pool {{ type mark : inet_service; elements = {{ {elements} }} }}\n"


def _translation(nat: NAT, addresses: RouterAddresses, seed: int) -> str:
    seconds = nat.timeout
    declarations = "".join(
        f"  {kind} {name} {{ type {of}; flags dynamic,timeout; timeout {seconds}s; size {TABLE_SIZE}; }}\n"
        for (name, kind), of in _objects(nat).items()
    )
    return (
        "table ip nat {\n"
        + declarations
        + (_pool(nat, seed) if _has_pool(nat) else "")
        + _block("chain incoming", _incoming(nat, addresses))
        + (_block("chain number", _number(nat)) if _has_pool(nat) else "")
        + _block("chain outgoing", _outgoing(nat, addresses))
        + _block("chain learn", _learn(nat))
        + "}\n"
    )


def _incoming(nat: NAT, addresses: RouterAddresses) -> list[str]:
    lines = ["type nat hook prerouting priority dstnat;"]
    if not _learns_mappings(nat):
        return lines
    to_host = "dnat ip to udp dport map @mappings"
    from_wan = f'iifname "wan" ip daddr {addresses.wan} meta l4proto udp'
    permitted = {
        Filtering.EIF: "",
        Filtering.ADF: "udp dport . ip saddr @permitted ",
        # A hairpinned flow has its own state; the same host's other remotes need the table.
        Filtering.APDF: "udp dport . ip saddr . udp sport @permitted ",
    }[nat.filtering]
    lines.append(f"{from_wan} {permitted}{to_host}")
    if nat.hairpin:
        lines.append(f'iifname "lan" ip daddr {addresses.wan} meta l4proto udp {to_host}')
    return lines


def _number(nat: NAT) -> list[str]:
    """A ticket for each new mapping; its number travels as the packet's mark."""
    lines = ["type filter hook postrouting priority srcnat - 10;"]
    ticket = f"numgen inc mod {_pool_size(nat)}"
    first = 'oifname "wan" meta l4proto udp'
    if nat.mapping is Mapping.APDM:
        return [*lines, f"{first} ct state new meta mark set {ticket}"]
    source = "ip saddr . udp sport"
    key = f"{source} . ip daddr" if nat.mapping is Mapping.ADM else source
    return [
        *lines,
        f"{first} ct direction original {key} != @served add @tickets {{ {key} : {ticket} }}",
        f"{first} ct direction original update @served {{ {key} }}",
        f"{first} ct direction original meta mark set {key} map @tickets",
        # Refreshed with its own number: both tables live as long as the mapping.
        f"{first} ct direction original update @tickets {{ {key} : meta mark }}",
    ]


def _outgoing(nat: NAT, addresses: RouterAddresses) -> list[str]:
    wan = addresses.wan
    lines = ["type nat hook postrouting priority srcnat;"]
    udp = 'oifname "wan" meta l4proto udp'
    first, last = nat.port_range
    low, high = OVERFLOW_PORTS
    per_flow = " random" if nat.mapping is Mapping.APDM else ""
    if _has_pool(nat):
        lines.append(f"{udp} snat ip to {wan} : meta mark map @pool")
    elif nat.ports is Ports.RANGE:
        lines.append(f"{udp} snat ip to {wan}:{first}-{last}{per_flow}")
    elif nat.mapping is Mapping.EIM:
        lines += [
            f"{udp} udp sport . ip saddr @owned snat ip to {wan}",
            f"{udp} udp sport @taken snat ip to {wan}:{low}-{high}",
        ]
    lines.append(f'oifname "wan" snat ip to {wan}{per_flow}')
    if nat.hairpin:
        lines.append(
            f'oifname "lan" ct status dnat ct original ip daddr {wan} ip saddr {addresses.lan}'
            f" meta l4proto udp snat ip to {wan}"
        )
    return lines


def _learn(nat: NAT) -> list[str]:
    lines = ["type filter hook postrouting priority srcnat + 10;"]
    first = 'oifname "wan" ct direction original meta l4proto udp'
    values = {
        "mappings": "ct reply proto-dst : ct original ip saddr . ct original proto-src",
        "owned": "ct reply proto-dst . ct original ip saddr",
        "taken": "ct reply proto-dst",
        "permitted": "ct reply proto-dst . ip daddr"
        + (" . udp dport" if nat.filtering is Filtering.APDF else ""),
    }
    return lines + [
        f"{first} update @{name} {{ {values[name]} }}" for name, _ in _objects(nat) if name in values
    ]
