"""Two daemons on this machine call each other by ID, through a small private DHT; nothing leaves the machine.

``make demo`` runs it; ``--source FILE`` sends a media file both ways instead of a test picture and a tone.
Everything it makes is in demo-out/, made anew each time. Exit status 1 when anything is off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import av

from meshcall.cli.timeline import path_text, timeline_lines

OUT = Path("demo-out").resolve()
MARKER = OUT / "made-by-make-demo"
MESHCALL = Path(sys.executable).with_name("meshcall")
NODES = 8
SECONDS = 5
ENOUGH = 0.9
"""Share of what was sent that has to arrive: the last frames may be on their way when the call ends."""

Event = dict[str, Any]


class Processes(contextlib.ExitStack):
    """Starts programs, and stops each by its own process id, however the demo ends."""

    def start(self, name: str, *command: str | Path, pipe: bool = False) -> subprocess.Popen[str]:
        """Start a program; its stderr, and its stdout unless ``pipe``, goes to demo-out/NAME.log."""
        log: IO[str] = self.enter_context(log_of(name).open("w"))
        out = subprocess.PIPE if pipe else log
        with undisturbed():
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, text=True)
            self.callback(stop, process)
        return process


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A signal that comes meanwhile counts afterwards: a program is started and known, or neither."""
    came: list[int] = []
    kept = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def stop(process: subprocess.Popen[str]) -> None:
    """Politely, then not."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def log_of(name: str) -> Path:
    """Where a program's log is."""
    return OUT / f"{name}.log"


def fail(reason: str) -> NoReturn:
    """Say what is off, and end; the processes are stopped on the way out."""
    raise SystemExit(f"\ndemo failed: {reason}\nlogs: {OUT}/*.log")


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def run(who: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of one of the two to its end."""
    command = [MESHCALL, "--home", OUT / who, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def ask(who: str, *args: str) -> Any:
    """Run a command that prints JSON; None if it did not work."""
    done = run(who, *args, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def wait_for(what: str, seconds: float, test: Callable[[], object], log: str) -> None:
    """Wait until ``test`` is true."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            tail = log_of(log).read_text(errors="replace")[-1500:]
            fail(f"{what} within {seconds:.0f} s: no\n{tail}")
        time.sleep(0.1)


def free_ports(count: int) -> int:
    """The first of ``count`` UDP ports in a row that nobody uses on 127.0.0.1."""
    for first in range(20_000, 60_000, 100):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    fail("no free UDP ports on 127.0.0.1")


def start_daemons(processes: Processes) -> str:
    """The DHT and the two daemons; returns Bob's ID."""
    port = free_ports(NODES)
    testnet = ("-m", "meshcall.testing.testnet", "--nodes", str(NODES), "--bind", "127.0.0.1")
    processes.start("testnet", sys.executable, *testnet, "--port", str(port))
    last = f"127.0.0.1:{port + NODES - 1}\n"  # it prints its nodes' addresses once they know each other
    wait_for("a DHT on this machine", 20, lambda: last in log_of("testnet").read_text(), "testnet")
    flags = ("--no-mdns", "--bootstrap", f"127.0.0.1:{port}", "--interface", "lo")
    for who in ("alice", "bob"):
        done = run(who, "init")
        if done.returncode != 0:
            fail(f"init: {done.stderr.strip()}")
        processes.start(who, MESHCALL, "--home", OUT / who, "daemon", *flags)
    for who in ("alice", "bob"):
        ready = f"{who}'s daemon is ready and has joined the DHT"
        wait_for(ready, 30, lambda who=who: is_joined(who), who)  # type: ignore[misc]
    return str(ask("bob", "id")["peer_id"])


def is_joined(who: str) -> bool:
    """Whether a daemon runs and the nodes near its inbox would push a call to it."""
    status = ask(who, "status")
    return status is not None and status["dht"]["watches"] > 0


def finish(process: subprocess.Popen[str], who: str) -> Event:
    """The summary that ends the JSON lines of `call` and `answer`."""
    try:
        output, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        fail(f"{who}'s call did not end")
    if process.returncode != 0:
        log = log_of(f"{who}-call").read_text(errors="replace").strip()
        fail(f"{who}'s call: exit code {process.returncode}: {log}")
    events = [json.loads(line) for line in output.splitlines()]
    if not events or events[-1].get("event") != "ended":
        fail(f"{who}'s call printed no summary")
    summary: Event = events[-1]
    return summary


def report(who: str, mine: Event, other: Event) -> None:
    """Print what one end received and recorded; fail if that is not what the other end sent."""
    recording = OUT / f"{who}.mkv"
    try:
        with av.open(str(recording)) as container:
            stored = " + ".join(stream.codec_context.name for stream in container.streams)
            frames = sum(1 for _ in container.decode(video=0)) if container.streams.video else 0
    except (OSError, av.FFmpegError) as error:
        fail(f"{who}'s recording can't be read: {error}")
    sent, received = other["sent"], mine["received"]
    say(f"\n{who}")
    say(f"  path       {path_text(mine)}")
    say(f"  connected  in {mine['setup_ms']:.0f} ms")
    for number, line in enumerate(timeline_lines(mine)):
        say(f"  {'' if number else 'timeline':<9}{line}")
    say(f"  codecs     {', '.join(f'{kind} {name}' for kind, name in mine['codecs'].items())}")
    say(f"  received   {received['video_frames']} frames, {received['audio_seconds']:.2f} s of sound")
    say(f"  of         {sent['video_frames']} frames, {sent['audio_seconds']:.2f} s that were sent")
    say(f"  recorded   {frames} frames, as {stored}, in {recording}")
    if not sent["video_frames"] and not sent["audio_seconds"]:
        fail(f"nothing was sent to {who}")
    if frames < ENOUGH * sent["video_frames"] or received["audio_seconds"] < ENOUGH * sent["audio_seconds"]:
        fail(f"{who} has less than {ENOUGH:.0%} of what was sent")


def main() -> None:
    """Start everything, call, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="a media file to send both ways")
    file = parser.parse_args().source
    if file and not Path(file).is_file():
        fail(f"{file} is not a file")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: fail("stopped"))
    if OUT.exists() and not MARKER.exists():
        fail(f"{OUT} was not made by this demo; move it away")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    MARKER.touch()
    with Processes() as processes:
        say(f"Starting a private DHT of {NODES} nodes and two daemons on this machine ...")
        bob = start_daemons(processes)
        say(f"Alice calls {bob}")
        answer = ("answer", "--wait", "60s", "--json", "--record", OUT / "bob.mkv")
        callee = processes.start(
            *("bob-call", MESHCALL, "--home", OUT / "bob", *answer, "--source", file or "testsrc:880"),
            pipe=True,
        )
        call = ("call", bob, "--json", "--duration", f"{SECONDS}s", "--record", OUT / "alice.mkv")
        caller = processes.start(
            *("alice-call", MESHCALL, "--home", OUT / "alice", *call, "--source", file or "testsrc:440"),
            pipe=True,
        )
        at_alice, at_bob = finish(caller, "alice"), finish(callee, "bob")
        report("alice", at_alice, at_bob)
        report("bob", at_bob, at_alice)
    say("\nAll is well. Play the recordings with any player, such as: mpv demo-out/alice.mkv")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
