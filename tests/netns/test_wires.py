"""Uplinks with conditions."""

from __future__ import annotations

import statistics

import pytest

from netsim import emulation
from netsim.errors import LabError
from netsim.lab import Lab
from netsim.link import LADDER, LinkConditions
from netsim.namespaces import Sandbox
from tests.netns.test_link import best_of_some, measure


async def test_an_uplink_delays_what_passes_it(lab: Lab) -> None:
    """Both ways at first, then each direction on its own, while programs run."""
    server = await lab.public_host("server")
    site = await lab.site("alice", link=LinkConditions(delay_ms=30))
    up = await measure(site.host, server, count=200, rate=200)
    assert up["received"] == 200
    assert 30 <= statistics.median(up["delays_ms"]) <= 33
    await site.set_link(LinkConditions(delay_ms=5), direction="up")
    up = await measure(site.host, server, count=200, rate=200)
    assert 5 <= statistics.median(up["delays_ms"]) <= 8
    await site.set_link(LinkConditions(loss=1.0))
    assert (await measure(site.host, server, count=20, rate=200))["received"] == 0


async def test_a_plain_uplink_refuses_conditions(lab: Lab) -> None:
    """It says what to write instead."""
    site = await lab.site("alice")
    with pytest.raises(LabError, match=r"link=\.\.\."):
        await site.set_link(LinkConditions(delay_ms=1))


async def test_two_sites_over_the_ladder(lab: Lab) -> None:
    """Rungs act on both sites' uplinks: the delays add up."""
    link = LADDER["weak-4g"]
    sites = [await lab.site(name, "open", link=link) for name in ("alice", "bob")]
    seen = await best_of_some(
        lambda: measure(sites[0].host, sites[1].host, count=300, rate=200),
        lambda seen: seen["received"] < 300 and statistics.median(seen["delays_ms"]) <= 105,
    )
    assert seen["received"] < 300
    assert 85 <= statistics.median(seen["delays_ms"]) <= 105


async def test_netem_is_used_where_the_kernel_has_it(lab: Lab) -> None:
    """The same conditions by the kernel; where it has no netem, asking for it is refused with the reason."""
    await lab.internet()
    if not await emulation.has_netem(lab.sandbox):
        with pytest.raises(LabError, match="no netem"):
            await emulation.choose(lab.sandbox, "netem", LinkConditions(delay_ms=5))
        assert await emulation.choose(lab.sandbox, "auto", LinkConditions(delay_ms=5)) == "userspace"
        return
    server = await lab.public_host("server")
    site = await lab.site("alice", link=LinkConditions(delay_ms=30))
    up = await measure(site.host, server, count=200, rate=200)
    assert 30 <= statistics.median(up["delays_ms"]) <= 33
    with pytest.raises(LabError, match="userspace"):
        await site.set_link(LinkConditions(reorder=0.1))


async def test_what_netem_can_not_do_is_done_by_the_switch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel with netem, ``auto`` takes it for what it can keep, and the switch for the rest."""

    async def yes(sandbox: Sandbox) -> bool:
        return True

    monkeypatch.setattr(emulation, "has_netem", yes)
    assert await emulation.choose(lab.sandbox, "auto", LinkConditions(delay_ms=5)) == "netem"
    assert await emulation.choose(lab.sandbox, "auto", LinkConditions(mtu=1280)) == "userspace"
    assert await emulation.choose(lab.sandbox, "userspace", LinkConditions(delay_ms=5)) == "userspace"
    with pytest.raises(LabError, match="MTU"):
        await emulation.choose(lab.sandbox, "netem", LinkConditions(mtu=1280))
    step = emulation.netem_step("alice", "eth0", LinkConditions(loss=0.1).to_netem())
    assert " ".join(step.argv) == "tc qdisc replace dev eth0 root netem limit 20000 loss 10%"
