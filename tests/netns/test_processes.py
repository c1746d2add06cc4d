"""Programs in the lab: paused, with wrong clocks, recorded, and gone when the lab is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netsim.capture import LINK_ETHERNET
from netsim.clock import WrongClock
from netsim.lab import ROOT, Lab
from netsim.namespaces import find_tool
from netsim.recording import record
from netsim.tools import require_tools
from tests.netns.reach import meet
from tests.netns.test_lab import is_alive, is_readable_by_others, processes_in, wait_until

CLOCKS = """
import asyncio, datetime, json, queue, threading, time
async def main():
    while True:
        begun, now = time.monotonic(), time.time()
        await asyncio.sleep(0.05)
        await asyncio.to_thread(time.sleep, 0.05)
        threading.Event().wait(0.05)
        try:
            queue.Queue().get(timeout=0.05)
        except queue.Empty:
            pass
        print(json.dumps({"now": now, "date": datetime.datetime.now().timestamp(),
                          "monotonic": begun, "took": time.monotonic() - begun}), flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("offset", [90.0, -3600.5])
async def test_a_program_has_a_wrong_clock(lab: Lab, offset: float) -> None:
    """The time of day is shifted, also by a change while it runs; intervals and timeouts are not."""
    host = (await lab.lan(["alice"]))["alice"]
    clock = WrongClock(host, offset)
    process = await host.popen([sys.executable, "-c", CLOCKS], env=clock.env)
    await process.wait_for_line("took")
    first = process.json_lines()[0]
    assert first["now"] - time.time() == pytest.approx(offset, abs=5)
    assert first["date"] - first["now"] == pytest.approx(0.2, abs=2)
    assert first["monotonic"] == pytest.approx(time.monotonic(), abs=5)
    assert 0.2 <= first["took"] < 2
    clock.set(7 * 86400)
    await wait_until(lambda: process.json_lines()[-1]["now"] - time.time() > 6 * 86400)
    assert process.json_lines()[-1]["took"] < 2
    left = shared_memory()
    await process.kill()
    assert shared_memory() == left  # what it kept there was the lab's


def shared_memory() -> set[Path]:
    """What libfaketime keeps outside of any lab."""
    return set(Path("/dev/shm").glob("*faketime*"))


async def test_a_program_is_paused_and_goes_on(lab: Lab) -> None:
    """It holds still for as long as it is paused."""
    host = (await lab.lan(["alice"]))["alice"]
    process = await host.popen(["sh", "-c", "while :; do echo tick; sleep 0.02; done"])
    await process.wait_for_line("tick")
    await process.pause()
    await asyncio.sleep(0.1)
    held = process.stdout()
    await asyncio.sleep(0.2)
    assert process.stdout() == held
    await process.resume()
    await wait_until(lambda: len(process.stdout()) > len(held))


async def test_a_recording_holds_what_passed(lab: Lab) -> None:
    """A host's and a router's frames, by device, in a file that Wireshark's tools read as well."""
    server = await lab.server()
    alice, bob = await lab.site("alice", ipv6=True), await lab.site("bob")
    at_host, at_router = await record(alice.host), await record(alice.router)
    started = time.time()
    assert all(await meet(alice.host, bob.host, server))
    assert await at_host.stop() == await at_router.stop() == 0
    frames = at_host.frames()
    assert {frame.device for frame in frames} == {"eth0"}
    assert {frame.device for frame in at_router.frames()} >= {"wan", "lan"}
    punches = [frame for frame in frames if frame.octets.endswith(b"punch")]
    assert len(punches) >= 4  # at least two each way
    assert {frame.link_type for frame in frames} == {LINK_ETHERNET}
    assert all(started - 1 < frame.time < started + 10 for frame in frames)
    # What the host sent left the router with the router's address.
    sources = {frame.octets[26:30] for frame in at_router.frames() if frame.octets.endswith(b"punch")}
    assert {bytes(map(int, address.split("."))) for address in (alice.host.ipv4, alice.wan4)} <= sources
    require_tools("capinfos")
    capinfos: list[str | Path] = [find_tool("capinfos") or "capinfos", "-c", "-t", "-I", "-M", at_host.path]
    shown = (await server.host.run(capinfos)).check().stdout
    assert "pcapng" in shown
    counted = re.search(r"Number of packets:\s+(\d+)", shown)
    assert counted is not None
    assert int(counted[1]) == len(frames)
    assert "Name = eth0" in shown


OWNER = """
import asyncio, pathlib, sys
from netsim.lab import Lab
from netsim.recording import record
async def main():
    async with Lab(directory=pathlib.Path(sys.argv[1])) as lab:
        await lab.server()
        site = await lab.site("alice", "cgnat", ipv6=True, upnp=True)
        await record(site.router)
        await site.host.popen(["sleep", "1000"])
        print(lab.sandbox.pid, flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_servers_are_gone_after_kill_9(tmp_path: Path) -> None:
    """coturn, miniupnpd and a recording do not outlive the lab's owner, nor do namespaces and mounts."""
    require_tools("turnserver", "miniupnpd", "nft")
    before = mounts()
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(tmp_path)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    sandbox = int(await owner.stdout.readline())
    programs = " ".join(processes_in(tmp_path))
    assert all(name in programs for name in ("turnserver", "miniupnpd", "capture.py"))
    network = network_of(Path(f"/proc/{sandbox}"))
    os.kill(owner.pid, signal.SIGKILL)
    await owner.wait()
    await wait_until(lambda: not is_alive(sandbox) and not processes_in(tmp_path))
    assert network not in namespaces_in_use()
    assert mounts() == before


def mounts() -> str:
    """What is mounted outside of any lab."""
    return Path("/proc/mounts").read_text()


def network_of(process: Path) -> str:
    """The network namespace of a process by its folder in /proc."""
    return str((process / "ns/net").readlink())


def namespaces_in_use() -> set[str]:
    """The network namespaces of all processes."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.add(network_of(entry))
        except OSError:
            continue
    return found


AS_A_USER = """
import asyncio, sys
from netsim import faults
from netsim.lab import Lab
from netsim.puncher import Puncher
from netsim.recording import record
async def main():
    async with Lab() as lab:
        server = await lab.server()
        site = await lab.site("alice", "cgnat", ipv6=True, upnp=True)
        recording = await record(site.router)
        await faults.change_wan_address(site)
        await faults.reboot_nat(site)
        await faults.cut(site)
        await faults.heal(site)
        async with Puncher(site.host, server.addresses[0]) as puncher:
            print(puncher.mapped[0] == site.public_ipv4, await recording.stop(), len(recording.frames()) > 1)
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes an ordinary user here; others are one already")
def test_an_ordinary_user_may_use_all_of_it(tmp_path: Path) -> None:
    """Servers, NATs, UPnP, faults and recordings need no privilege."""
    require_tools("turnserver", "miniupnpd", "nft")
    python = Path("/usr/bin/python3")
    setpriv = find_tool("setpriv")
    if setpriv is None or not python.exists() or not is_readable_by_others(ROOT / "netsim"):
        pytest.skip("needs setpriv (apt-get install util-linux), /usr/bin/python3 and a readable checkout")
    nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    result = subprocess.run(
        [*nobody, python, "-B", "-c", AS_A_USER],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["True", "0", "True"]
