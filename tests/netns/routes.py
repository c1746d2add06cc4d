"""The expected route of each pair of networks, as things are: rows call columns.

D: direct, R: by relay, F: no media, DR: either. A small letter is a known gap; its reason is in GAPS.
"""

from __future__ import annotations

from netsim.matrix import KINDS
from netsim.routes import Gap, parse_table

GAPS: dict[str, Gap] = {}

PLAIN = """
open                  D   D   D   D   D   D   D   F
full_cone             D   D   D   D   D   D   D   F
address_restricted    D   D   D   D   D   D   D   F
port_restricted       D   D   D   D   D   F   F   F
cgnat                 D   D   D   D   D   F   F   F
symmetric_sequential  D   D   D   F   F   F   F   F
symmetric_random      D   D   D   F   F   F   F   F
udp_blocked           F   F   F   F   F   F   F   F
"""
"""Plain aiortc without a relay: what mapping and filtering let through."""

PLAIN_RELAY = """
open                  DR  DR  DR  DR  DR  DR  DR  R
full_cone             DR  DR  DR  DR  DR  DR  DR  R
address_restricted    DR  DR  DR  DR  DR  DR  DR  R
port_restricted       DR  DR  DR  DR  DR  R   R   R
cgnat                 DR  DR  DR  DR  DR  R   R   R
symmetric_sequential  DR  DR  DR  R   R   R   R   R
symmetric_random      DR  DR  DR  R   R   R   R   R
udp_blocked           R   R   R   R   R   R   R   R
"""
"""Plain aiortc with one. Which of two paths is taken is a race, so a direct one may lose."""

MESHCALL = """
open                  D   D   D   D   D   D   D   F
full_cone             D   D   D   D   D   D   D   F
address_restricted    D   D   D   D   D   D   D   F
port_restricted       D   D   D   D   D   D   D   F
cgnat                 D   D   D   D   D   D   D   F
symmetric_sequential  D   D   D   D   D   D   F   F
symmetric_random      D   D   D   D   D   F   F   F
udp_blocked           F   F   F   F   F   F   F   F
"""
"""meshcall without a relay. Two networks of which one draws its ports by lot and the other depends on the
destination too are promised a relay only."""

MESHCALL_RELAY = """
open                  D   D   D   D   D   D   D   R
full_cone             D   D   D   D   D   D   D   R
address_restricted    D   D   D   D   D   D   D   R
port_restricted       D   D   D   D   D   D   D   R
cgnat                 D   D   D   D   D   D   D   R
symmetric_sequential  D   D   D   D   D   D   R   R
symmetric_random      D   D   D   D   D   R   R   R
udp_blocked           R   R   R   R   R   R   R   R
"""
"""meshcall with one. A direct path is never given up for it."""

TABLES = {
    ("aiortc", False): parse_table(PLAIN, KINDS, GAPS),
    ("aiortc", True): parse_table(PLAIN_RELAY, KINDS, GAPS),
    ("meshcall", False): parse_table(MESHCALL, KINDS, GAPS),
    ("meshcall", True): parse_table(MESHCALL_RELAY, KINDS, GAPS),
}
"""By stack, and whether a relay is offered."""
