"""How many candidates of a peer a call takes, whatever it names."""

from __future__ import annotations

from meshcall import limits
from meshcall.ice.allowance import Allowance
from meshcall.ice.candidate import Candidate


def named(host: int, port: int = 5000) -> Candidate:
    return Candidate("host", "udp", f"198.51.100.{host}", port, 1)


def taken(allowance: Allowance, candidates: list[Candidate]) -> list[str]:
    refusals = []
    for candidate in candidates:
        refusals.append(allowance.refusal(candidate))
        if not refusals[-1]:
            allowance.take([candidate])
    return refusals


def test_no_more_than_so_many_and_few_of_one_host() -> None:
    """A later message has no new allowance."""
    allowance = Allowance()
    ports = taken(allowance, [named(1, 5000 + n) for n in range(limits.CANDIDATES_PER_ADDRESS_MAX + 2)])
    assert ports[-3:] == ["", "candidate-port-scan", "candidate-port-scan"]
    hosts = taken(allowance, [named(n) for n in range(2, 60)])
    assert hosts.count("") == limits.ICE_REMOTE_CANDIDATES_MAX - limits.CANDIDATES_PER_ADDRESS_MAX
    assert set(hosts) == {"", "candidate-too-many"}


def test_what_was_named_before_costs_nothing() -> None:
    """A peer that tells all its candidates again, because no path works, is heard."""
    allowance = Allowance()
    first = [named(n) for n in range(limits.ICE_REMOTE_CANDIDATES_MAX)]
    assert set(taken(allowance, first)) == set(taken(allowance, first)) == {""}


def test_a_call_that_lives_may_move_again_but_not_at_once() -> None:
    """The allowance is renewed once in ``ICE_CHECKS_RENEW``."""
    allowance = Allowance()
    allowance.renew(1000.0)
    taken(allowance, [named(n) for n in range(40)])
    allowance.renew(1000.0 + limits.ICE_CHECKS_RENEW - 0.1)
    assert allowance.refusal(named(41)) == "candidate-too-many"
    allowance.renew(1000.0 + limits.ICE_CHECKS_RENEW)
    assert allowance.refusal(named(41)) == ""
