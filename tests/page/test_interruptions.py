"""What is the other side told when one machine sleeps, or its daemon dies, in a call of two pages."""

from __future__ import annotations

import asyncio
import time

import pytest

from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer
from tests.page.browser import GRANTED, Browser, browser_on, call_and_answer, open_page

pytestmark = pytest.mark.timeout(180)

KNOWN = 3.0
"""Seconds in which the other side knows."""
ALL_HERE = """
here=$(readlink /proc/self/ns/net)
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  [ "$pid" != $$ ] && [ "$(readlink $process/ns/net)" = "$here" ] && kill -$1 $pid
done
true
"""


async def asleep(host: Host, does: bool) -> None:
    """Hold all programs of a machine, browsers too, or let them go on."""
    (await host.run(["sh", "-c", ALL_HERE, "sh", "STOP" if does else "CONT"])).check()


async def two(lab: Lab) -> tuple[Peer, Peer]:
    """Contacts on a LAN."""
    alice, bob = (Peer(host) for host in await lab.lan(["alice", "bob"]))
    await asyncio.gather(alice.start(), bob.start())
    for one, other, name in ((alice, bob, "bob"), (bob, alice, "alice")):
        (await one.cli("contact", "add", other.id, "--name", name)).check()
    return alice, bob


async def knows(tab: Browser, began: float) -> None:
    """The person is told that it does not go well."""
    await tab.wait(".call-screen[data-state=reconnecting], .call-screen[data-state=degraded]")
    after = time.monotonic() - began
    print(f"told after {after:.2f} s")
    assert after < KNOWN


async def test_a_machine_sleeps_in_a_call(lab: Lab) -> None:
    """The other side is told within 3 s; a short sleep the call survives, a long one it does not."""
    alice, bob = await two(lab)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        began = time.monotonic()
        await asleep(bob.host, True)
        await knows(a, began)
        await asyncio.sleep(max(0.0, began + 6 - time.monotonic()))
        await asleep(bob.host, False)
        await asyncio.gather(a.sees(), b.sees())
        await a.wait(".call-screen[data-state=connected]")
        print("the call goes on")
        began = time.monotonic()
        await asleep(bob.host, True)
        await a.wait(".call-screen", "detached", timeout=40)
        print(f"given up after {time.monotonic() - began:.1f} s")
        assert (await alice.get("status"))["calls"] == 0
        await asleep(bob.host, False)
        await b.wait(".call-screen", "detached", timeout=40)
        await bob.wait_for_status("no call", lambda status: status["calls"] == 0)
        assert await b.do("count", selector="#answer-video:visible") == 0, "nothing rings"
        await call_and_answer(b, a, "alice")


async def test_a_daemon_dies_in_a_call(lab: Lab) -> None:
    """kill -9: both pages end the call within 3 s; the daemon starts again, and its page calls."""
    alice, bob = await two(lab)
    async with browser_on(alice.host, *GRANTED) as a, browser_on(bob.host, *GRANTED) as b:
        await asyncio.gather(open_page(alice, a), open_page(bob, b))
        await call_and_answer(a, b, "bob")
        assert bob.daemon is not None
        began = time.monotonic()
        await bob.daemon.kill()
        await asyncio.gather(a.wait(".call-screen", "detached"), b.wait(".call-screen", "detached"))
        after = time.monotonic() - began
        print(f"over after {after:.2f} s")
        assert after < KNOWN
        await alice.wait_for_status("no call", lambda status: status["calls"] == 0)
        await bob.start()
        await b.until("document.querySelector('.link')?.dataset.up === 'true'")
        await call_and_answer(b, a, "alice")
