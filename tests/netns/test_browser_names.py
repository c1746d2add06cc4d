"""A browser that hides its addresses behind ``.local`` names, on a LAN without a server."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

from netsim.lab import ROOT, Lab

NODES = Path(__file__).with_name("browser_nodes.py")
RUNS = 20

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path("/usr/bin/chromium").exists(), reason="no Chromium here: apt-get install -y chromium"
    ),
]


@pytest.mark.timeout(120)
async def test_chromium_behind_local_names(lab: Lab) -> None:
    """Chromium tells names only, and is not told where we are: both roles, data both ways."""
    alice, bob = await lab.lan(["alice", "bob"])
    (
        await bob.run(["ip", "route", "add", "default", "dev", "eth0"])
    ).check()  # of others Chromium tells nothing
    socket = alice.directory / "calls"
    environment = {"PYTHONPATH": str(ROOT)}
    ours = await alice.popen([sys.executable, NODES, "ours", socket], env=environment)
    await ours.wait_for_event(event="ready")
    browser = await bob.popen([sys.executable, NODES, "chromium", socket, str(RUNS)], env=environment)
    await browser.wait_for_event(timeout=90, event="done")
    lines = browser.json_lines()
    calls = [line for line in lines if line["event"] == "call"]
    told = [host for line in lines if line["event"] == "candidates" for host in line["hosts"]]
    seconds = [call.get("seconds", -1.0) for call in calls]
    print(
        f"{len(calls)} calls, {sum('path' in call for call in calls)} connected, to a message there and back:"
    )
    print(f"median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")
    assert told
    assert all(host.endswith(".local") for host in told)
    assert [call.get("path") for call in calls] == ["lan"] * 2 * RUNS
    assert statistics.median(seconds) < 1.0
    for process in (ours, browser):
        assert "Traceback" not in process.stderr()
