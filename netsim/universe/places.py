"""Where nodes are: addresses that look public, each in a /24 of its own."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

from meshcall.address import Address

SYBIL_NETWORK = "45.9.20"
"""The /24 of concentrated sybils."""
PORT = 4600


def public_addresses(count: int, chance: random.Random) -> list[Address]:
    """``count`` addresses, no two of one /24, none private or reserved."""
    taken = {SYBIL_NETWORK}
    found: list[Address] = []
    while len(found) < count:
        packed = chance.getrandbits(32)
        ip = IPv4Address((packed & 0xFFFFFF00) | (packed & 0xFF) % 254 + 1)
        network = str(ip).rpartition(".")[0]
        if not 1 <= packed >> 24 <= 223 or not ip.is_global or ip.is_multicast or network in taken:
            continue
        taken.add(network)
        found.append((str(ip), PORT))
    return found


def concentrated_addresses(count: int) -> list[Address]:
    """``count`` addresses of one /24; more than 254 share IPs on several ports."""
    return [(f"{SYBIL_NETWORK}.{index % 254 + 1}", PORT + index // 254) for index in range(count)]
