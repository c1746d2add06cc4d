"""What a user is told when there is no path: the cause, all that is known in a sentence, what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from meshcall.ice.candidate import Candidate
from meshcall.ice.nat import Mapping, NatView, Ports
from meshcall.ice.network import Network
from meshcall.ice.verdict import HINTS, Cause, Evidence, hint_of, no_path

HOST = Candidate("host", "udp", "192.168.1.2", 5000, 1)
PUBLIC = Candidate("host", "udp", "5.2.1.2", 5000, 1)
REFLEXIVE = Candidate("srflx", "udp", "5.2.2.2", 5000, 1)
RELAYED = Candidate("relay", "udp", "5.2.3.2", 5000, 1)
SIX = Candidate("host", "udp", "2a00::2", 5000, 1)

NOTHING = Evidence((HOST,), (HOST, REFLEXIVE), paired=True, valid=False, arrived=False)
HIDDEN = replace(NOTHING, remote=(HOST,))
BLOCKED = Network(udp=False, relays=0)
RANDOM = Network(udp=True, nat=NatView(mapping=Mapping.APDM, ports=Ports.RANDOM))


@pytest.mark.parametrize(
    ("evidence", "network", "cause", "reason"),
    [
        (HIDDEN, BLOCKED, "udp-blocked-both", "both sides block UDP and no relay is known"),
        (HIDDEN, Network(udp=False, relays=2), "udp-blocked-both",
         "both sides block UDP, and none of the known relays answers"),
        (NOTHING, BLOCKED, "udp-blocked", "UDP is blocked on this side"),
        (HIDDEN, Network(udp=True, relays=0), "udp-blocked-there", "the peer's side"),
        (HIDDEN, Network(), "nat", "nothing arrives from the peer"),
        (replace(NOTHING, remote=(PUBLIC,)), Network(udp=True), "nat", "nothing arrives from the peer"),
        (NOTHING, RANDOM, "nat", "at random"),
        (replace(NOTHING, local=(HOST, RELAYED)), Network(udp=True), "nat", "the relay was no way round"),
        (replace(NOTHING, arrived=True), Network(udp=True, relays=0), "one-way", "never answers ours"),
        (replace(NOTHING, arrived=True, valid=True), Network(), "not-chosen", "never chose one"),
        (replace(NOTHING, remote=(), paired=False), Network(), "no-address", "named no address"),
        (replace(NOTHING, remote=(SIX,), paired=False), Network(), "no-family", "IPv6 only, a family"),
    ],
)  # fmt: skip
def test_what_is_known_is_in_the_sentence(
    evidence: Evidence, network: Network, cause: str, reason: str
) -> None:
    """The cause is a stable word."""
    verdict = no_path(evidence, network)
    assert verdict.cause == cause
    assert reason in verdict.reason
    assert verdict.hint == hint_of(cause)


def test_nothing_is_said_that_is_not_known() -> None:
    """A node that knows nothing of its network blames nobody."""
    verdict = no_path(NOTHING, Network())
    assert verdict.reason == (
        "nothing arrives from the peer: NATs or firewalls between the two let nothing through"
    )


def test_each_cause_has_something_to_do_about_it() -> None:
    """And a word that is no cause has nothing."""
    assert set(HINTS) == set(get_args(Cause))
    assert all(HINTS.values())
    assert hint_of("dtls") == ""
