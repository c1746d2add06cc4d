"""`make demo`: works on a machine without any network, and leaves no process, however it ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from netsim.lab import ROOT, Host, Lab

from .recordings import read_recording

DEMO = ROOT / "scripts" / "demo.py"


@pytest.fixture
async def host(lab: Lab) -> Host:
    """A host alone."""
    return (await lab.lan(["alone"]))["alone"]


def processes_of(host: Host) -> list[str]:
    """Command lines of live processes that mention the host's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(host.directory / "demo-out") in text:
            found.append(text)
    return found


@pytest.mark.timeout(120)
async def test_the_demo_calls_both_ways_and_sends_a_file(host: Host) -> None:
    """Generated media first, then the recording of it as a file; both recordings are there."""
    done = await host.run([sys.executable, DEMO], timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well" in done.stdout
    for word in ("timeline", "path", "codecs", "received", "recorded"):
        assert done.stdout.count(f"\n  {word} ") == 2
    assert processes_of(host) == []
    source = host.directory / "source.mkv"
    (host.directory / "demo-out" / "alice.mkv").rename(source)
    again = await host.run([sys.executable, DEMO, "--source", source], timeout=90)
    assert again.returncode == 0, again.stdout + again.stderr
    recording = await asyncio.to_thread(read_recording, host.directory / "demo-out" / "alice.mkv")
    assert recording.tone_hz == pytest.approx(880, rel=0.01)  # what Bob's end had sent in the first run
    assert recording.moving_share > 0.5


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_interrupted_demo_leaves_no_process(host: Host, number: int) -> None:
    """Whenever it is stopped, everything that it started is stopped too."""
    demo = await host.popen([sys.executable, DEMO])
    await demo.wait_for_line("Alice calls", timeout=60)
    await demo.signal(number, group=number == signal.SIGINT)  # Ctrl-C reaches all, kill one
    ended = await demo.wait(30)
    assert ended.returncode != 0
    assert processes_of(host) == []


async def test_the_demo_says_what_is_off(host: Host) -> None:
    """A source that is missing, and a folder that is not its own."""
    missing = await host.run([sys.executable, DEMO, "--source", "no-such-file.mkv"])
    assert missing.returncode == 1
    assert "no-such-file.mkv is not a file" in missing.stderr
    (host.directory / "demo-out").mkdir()
    (host.directory / "demo-out" / "precious").touch()
    refused = await host.run([sys.executable, DEMO])
    assert refused.returncode == 1
    assert "was not made by this demo" in refused.stderr
    assert (host.directory / "demo-out" / "precious").exists()
