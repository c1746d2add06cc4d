"""The lab itself: hosts reach each other and nothing else, programs are looked after, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netsim.errors import CommandFailed, LabError, LabUnavailable, NeverHappened
from netsim.lab import ROOT, Host, Lab
from netsim.namespaces import Sandbox, find_tool
from netsim.probe import SCRIPT

PROBE = [sys.executable, "-I", "-S", str(SCRIPT)]

ANNOUNCE = """
import asyncio, sys
from zeroconf import InterfaceChoice, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
async def main():
    zc = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.All)
    name = "probe._netsim._udp.local."
    info = AsyncServiceInfo(
        "_netsim._udp.local.", name, port=7, server="probe.local.", parsed_addresses=sys.argv[1:]
    )
    await zc.async_register_service(info, cooperating_responders=True)
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""

BROWSE = """
import asyncio
from zeroconf import InterfaceChoice, IPVersion
from zeroconf.asyncio import AsyncZeroconf
async def main():
    zc = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.All)
    for _ in range(20):
        info = await zc.async_get_service_info("_netsim._udp.local.", "probe._netsim._udp.local.", 500)
        if info:
            print(sorted(info.parsed_addresses()))
            break
    await zc.async_close()
asyncio.run(main())
"""


async def reaches(sender: Host, receiver: Host, address: str) -> bool:
    """Whether a datagram gets from one host to an address of the other."""
    sink = await receiver.popen([*PROBE, "receive", address, "7000", "1"])
    await sink.wait_for_line("ready")
    sent = await sender.run([*PROBE, "send", address, "7000", "1", "1", "64"])
    if sent.returncode != 0:
        await sink.kill()
        return False
    return bool((await sink.wait(25)).check().json()["received"] == 1)


@pytest.mark.parametrize("emulated", [False, True], ids=["bridge", "switch"])
@pytest.mark.parametrize("addresses", ["private", "public"])
async def test_hosts_reach_each_other_and_nothing_else(lab: Lab, emulated: bool, addresses: str) -> None:
    """IPv4, IPv6 and link-local pass with neighbours learned on the way; there is no route out."""
    lan = await lab.lan(["alice", "bob"], emulated=emulated, addresses=addresses)  # type: ignore[arg-type]
    alice, bob = lan
    assert await reaches(alice, bob, bob.ipv4)
    assert await reaches(bob, alice, alice.ipv6)
    for family in ("-4", "-6"):
        routes = (await alice.run(["ip", family, "route", "show", "default"])).check()
        assert routes.stdout == ""
    outside = await alice.run([*PROBE, "send", "9.9.9.9", "53", "1", "1", "64"])
    assert "Network is unreachable" in outside.stderr


@pytest.mark.parametrize("emulated", [False, True], ids=["bridge", "switch"])
async def test_multicast_dns_works_without_a_route(lab: Lab, emulated: bool) -> None:
    """A service announced on one host is found on another, IPv4 and IPv6 addresses and all."""
    lan = await lab.lan(["alice", "bob"], emulated=emulated)
    alice, bob = lan
    announcer = await alice.popen([sys.executable, "-c", ANNOUNCE, alice.ipv4, alice.ipv6])
    await announcer.wait_for_line("ready")
    found = (await bob.run([sys.executable, "-c", BROWSE])).check()
    assert found.stdout.strip() == str(sorted([alice.ipv4, alice.ipv6]))


async def test_a_lan_may_have_one_family_only(lab: Lab) -> None:
    """Without IPv4 there is no IPv4 address or route, and likewise for IPv6."""
    only6 = await lab.lan(["alice", "bob"], ipv4=False)
    only4 = await lab.lan(["carol", "dave"], ipv6=False)
    assert await reaches(only6["alice"], only6["bob"], only6["bob"].ipv6)
    assert await reaches(only4["carol"], only4["dave"], only4["dave"].ipv4)
    assert "inet " not in (await only6["alice"].run(["ip", "addr", "show", "dev", "eth0"])).stdout
    assert "inet6" not in (await only4["carol"].run(["ip", "addr", "show", "dev", "eth0"])).stdout


async def test_programs_are_looked_after(lab: Lab) -> None:
    """Exit codes, output, environment, signals and waiting are as with any process."""
    lan = await lab.lan(["alice"])
    alice = lan["alice"]
    done = await alice.run(["sh", "-c", 'echo "$WHO"; echo oops >&2; exit 3'], env={"WHO": "alice"})
    assert (done.returncode, done.stdout, done.stderr) == (3, "alice\n", "oops\n")
    with pytest.raises(CommandFailed, match="ended with 3"):
        done.check()
    with pytest.raises(LabError, match="no-such-program"):
        await alice.run(["no-such-program"])
    process = await alice.popen(
        ["sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"]
    )
    await process.wait_for_line("^up$")
    with pytest.raises(NeverHappened, match="did not end"):
        await process.wait(0.05)
    ended = await process.stop()
    assert (ended.returncode, ended.stdout) == (7, "up\nbye\n")
    killed = await (await alice.popen(["sleep", "60"])).kill()
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(NeverHappened, match="ended before"):
        await (await alice.popen(["true"])).wait_for_line("never")
    echoed = await alice.popen(["printf", '{"event":"a","n":1}\\n{"event":"b"}\\n'])
    assert await echoed.wait_for_event(event="b") == {"event": "b"}


async def test_names_may_not_collide(lab: Lab) -> None:
    """Two hosts of one name would be one namespace."""
    await lab.lan(["alice"])
    with pytest.raises(LabError, match="taken"):
        await lab.lan(["alice"])
    with pytest.raises(LabError, match="taken"):
        await lab.lan(["bob", "bob"])


async def test_four_labs_run_side_by_side(tmp_path: Path) -> None:
    """Labs with the same names do not see each other, and each starts in less than 1.5 s."""
    started = time.monotonic()

    async def use(number: int) -> str:
        async with Lab(directory=tmp_path / str(number)) as lab:
            lan = await lab.lan(["alice", "bob"], delay_ms=1)
            assert await reaches(lan["alice"], lan["bob"], lan["bob"].ipv4)
            return (await lan["alice"].run(["ip", "netns", "list"])).check().stdout

    namespaces = await asyncio.gather(*(use(number) for number in range(4)))
    assert [sorted(line.split()[0] for line in text.splitlines()) for text in namespaces] == [
        ["alice", "bob"]
    ] * 4
    assert time.monotonic() - started < 6


def processes_in(directory: Path) -> list[str]:
    """Command lines of live processes that mention ``directory``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text:
            found.append(text)
    return found


OWNER = """
import asyncio, pathlib, sys
from netsim.lab import Lab
async def main():
    directory = pathlib.Path(sys.argv[1])
    async with Lab(directory=directory) as lab:
        lan = await lab.lan(["alice", "bob"], delay_ms=1)
        # A grandchild in a session of its own that ignores SIGTERM is the hardest to get rid of.
        script = f"trap '' TERM; while :; do sleep 0.1; : {directory}; done"
        await lan["alice"].popen(["setsid", "sh", "-c", script])
        await lan["bob"].popen(["sleep", "1000"])
        print(lab.sandbox.pid, flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("victim", ["owner", "sandbox"])
async def test_nothing_is_left_after_kill_9(tmp_path: Path, victim: str) -> None:
    """Whether the lab's owner or its sandbox is killed: no process of the lab outlives it."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OWNER,
        str(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert owner.stdout is not None
    sandbox = int(await owner.stdout.readline())
    assert any("trap" in line for line in processes_in(tmp_path))
    os.kill(owner.pid if victim == "owner" else sandbox, signal.SIGKILL)
    await wait_until(lambda: not is_alive(sandbox) and len(processes_in(tmp_path)) == (victim == "sandbox"))
    if victim == "sandbox":  # the owner lives and would go on; nothing but itself is left
        assert owner.returncode is None
        owner.kill()
    await owner.wait()
    assert processes_in(tmp_path) == []


async def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Look again every 20 ms. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody when somebody else's child ends
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes an ordinary user here; others are one already")
def test_an_ordinary_user_may_use_it(tmp_path: Path) -> None:
    """No privilege is needed."""
    python = Path("/usr/bin/python3")
    setpriv = find_tool("setpriv")
    if setpriv is None or not python.exists() or not is_readable_by_others(ROOT / "netsim"):
        pytest.skip("needs setpriv (apt-get install util-linux), /usr/bin/python3 and a readable checkout")
    script = (
        "import asyncio\nfrom netsim.lab import Lab\n"
        "async def main():\n    async with Lab() as lab:\n"
        "        lan = await lab.lan(['alice', 'bob'], delay_ms=1)\n"
        "        print((await lan['alice'].run(['id', '-u'])).stdout, lan['bob'].ipv4)\n"
        "asyncio.run(main())\n"
    )
    nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    version = subprocess.run(
        [*nobody, python, "-c", "import sys; print(sys.version_info >= (3, 11))"],
        capture_output=True,
        text=True,
        check=False,
    )
    if version.stdout.strip() != "True":
        pytest.skip("needs /usr/bin/python3 of version 3.11 or newer")
    result = subprocess.run(
        [*nobody, python, "-B", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["0", "192.168.1.3"]


def is_readable_by_others(path: Path) -> bool:
    """Whether an unrelated user may enter every folder down to ``path``."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in [path, *path.parents])


async def test_a_machine_without_the_tools_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names the packages."""
    monkeypatch.setattr("netsim.namespaces.find_tool", lambda name: None)
    monkeypatch.setattr(Sandbox, "_command", None)
    with pytest.raises(LabUnavailable, match=r"apt-get install .*iproute2"):
        await Sandbox.open(tmp_path)
