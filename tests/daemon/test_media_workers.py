"""Calls of real daemons, whose media are in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from meshcall.testing.testnet import Testnet
from tests.daemon.conftest import Daemon, StartDaemon, run_cli, wait_for

pytestmark = pytest.mark.timeout(120)


def make_home(path: Path) -> tuple[Path, str]:
    """A home with an identity, and the ID."""
    assert run_cli(path, "init").code == 0
    return path, run_cli(path, "id").out.strip()


def children(pid: int) -> list[int]:
    """Processes below ``pid``."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in rows if parent == one]
    return found[1:]


def loaded(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def calls(daemon: Daemon) -> dict[str, Any]:
    """Calls by the peer's ID."""
    listed = daemon.cli("calls", "--json").json
    return {one["peer_id"]: one for one in (listed["calls"] if isinstance(listed, dict) else listed)}


def busiest(pids: list[int]) -> list[int]:
    """Workers by the processor time that they used, most first."""

    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return sorted(pids, key=ticks, reverse=True)


async def test_a_dead_worker_ends_one_call_of_a_daemon(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """The node process has no aiortc during calls; when a worker is stopped, its call ends on both sides
    within 3 s, the other goes on, and descriptors are given back.
    """
    async with Testnet(8) as testnet:
        flags = ("--no-mdns", "--interface", "lo", "--bootstrap", testnet.bootstrap[0])
        homes = {name: make_home(tmp_path / name) for name in ("alice", "bob", "carol")}
        daemons = {
            name: await asyncio.to_thread(start_daemon, home, *flags, "--auto-answer", "anyone")
            for name, (home, _) in homes.items()
        }
        alice = daemons["alice"]
        bob, carol = homes["bob"][1], homes["carol"][1]

        def state(of: str, peer: str) -> str:
            return str(calls(daemons[of]).get(peer, {}).get("state"))

        await asyncio.to_thread(
            wait_for, lambda: alice.cli("status", "--json").json["dht"]["state"] != "joining", "a DHT", 20
        )
        before = fds(alice.process.pid)
        started: list[subprocess.Popen[str]] = []
        workers: dict[str, int] = {}
        known: set[int] = set()
        try:
            for name, peer in (("bob", bob), ("carol", carol)):
                started.append(
                    subprocess.Popen(
                        [os.sys.executable, "-m", "meshcall", "call", peer, "--duration", "60", "--json"],
                        env={**os.environ, "MESHCALL_HOME": str(alice.home)},
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
                await asyncio.to_thread(wait_for, lambda p=peer: state("alice", p) == "connected", name, 40)
                await asyncio.sleep(3)
                (workers[name], *_) = busiest([p for p in children(alice.process.pid) if p not in known])
                known = {workers["bob"], *known}
            for daemon in daemons.values():
                text = loaded(daemon.process.pid)
                assert "/av/" not in text
                assert "pylibsrtp" not in text
                assert "libav" not in text
            assert "libav" in loaded(workers["bob"])
            at = time.monotonic()
            os.kill(workers["bob"], signal.SIGSTOP)
            await asyncio.to_thread(wait_for, lambda: state("alice", bob) == "ended", "the end", 3)
            alices = homes["alice"][1]
            await asyncio.to_thread(wait_for, lambda: state("bob", alices) == "ended", "the end", 3)
            took = time.monotonic() - at
            print(f"both ends knew after {took:.2f} s")
            assert took < 3.5
            assert state("alice", carol) == "connected"
            out, err = await asyncio.to_thread(started[0].communicate, timeout=10)
            assert '"reason":"media-failed"' in out.splitlines()[-1], (out, err)
            assert not Path(f"/proc/{workers['bob']}").exists()
            await asyncio.sleep(2)
            assert state("alice", carol) == state("carol", alices) == "connected"
            alice.cli("hangup")
            await asyncio.to_thread(wait_for, lambda: state("alice", carol) == "ended", "the end", 10)
            await asyncio.sleep(3)
            assert fds(alice.process.pid) <= before + 8  # the spare worker and who forks it stay for a while
        finally:
            for process in started:
                process.kill()
                process.communicate()
        for daemon in daemons.values():
            left = children(daemon.process.pid)
            assert await asyncio.to_thread(daemon.stop) == 0
            assert not any(Path(f"/proc/{pid}").exists() for pid in left)
            assert "Traceback" not in daemon.log.read_text()


async def test_a_killed_daemon_leaves_no_worker(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """kill -9 of the node ends what it forked."""
    async with Testnet(8) as testnet:
        flags = ("--no-mdns", "--interface", "lo", "--bootstrap", testnet.bootstrap[0])
        (left, _), (right, peer) = make_home(tmp_path / "alice"), make_home(tmp_path / "bob")
        alice = await asyncio.to_thread(start_daemon, left, *flags)
        await asyncio.to_thread(start_daemon, right, *flags, "--auto-answer", "anyone")
        with subprocess.Popen(
            [os.sys.executable, "-m", "meshcall", "call", peer, "--json"],
            env={**os.environ, "MESHCALL_HOME": str(left)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as caller:
            await asyncio.to_thread(
                wait_for, lambda: str(calls(alice).get(peer, {}).get("state")) == "connected", "a call", 40
            )
            forked = children(alice.process.pid)
            assert len(forked) >= 2
            alice.process.kill()
            await asyncio.to_thread(
                wait_for, lambda: not any(Path(f"/proc/{pid}").exists() for pid in forked), "their end", 10
            )
            caller.kill()
