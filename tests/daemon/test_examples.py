"""The examples run as they are, against each other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meshcall.testing.testnet import Testnet

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Example:
    """A running example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def wait_for(self, text: str) -> str:
        """The first line with ``text``."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip())
                if text in line:
                    return line.rstrip()
        raise AssertionError(f"no {text!r} in {self.lines}")

    def write(self, text: str) -> None:
        """A line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())

    async def finish(self) -> str:
        """Let it end well; its output from here on."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            rest = (await self.process.stdout.read()).decode()
            assert await self.process.wait() == 0, "\n".join([*self.lines, rest])
        return rest


@asynccontextmanager
async def example(name: str, home: Path, testnet: Testnet, *arguments: str | Path) -> AsyncIterator[Example]:
    """Run an example; it is killed if it outlives the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / name, *arguments,
        *("--home", home, "--bootstrap", testnet.bootstrap[0], "--interface", "lo"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.timeout(90)
async def test_call_by_id_and_answering_machine(tmp_path: Path) -> None:
    """One calls the other by its ID; both record."""
    async with (
        Testnet(8) as testnet,
        example(
            "answering_machine.py", tmp_path / "b", testnet,
            "--folder", tmp_path / "messages", "--calls", "1", "--seconds", "30",
        ) as machine,
    ):  # fmt: skip
        peer = (await machine.wait_for("my ID is")).split()[-1]
        record = tmp_path / "heard.mkv"
        async with example(
            "call_by_id.py", tmp_path / "a", testnet, peer, "--record", record, "--duration", "2"
        ) as caller:
            said = await caller.finish()
        assert "connected, path: lan" in said
        assert "confirmed" in said
        await machine.finish()
    (message,) = (tmp_path / "messages").glob("*.mkv")
    assert min(message.stat().st_size, record.stat().st_size) > 10_000


@pytest.mark.timeout(90)
async def test_chat(tmp_path: Path) -> None:
    """Lines go both ways; the end of one's input ends both."""
    async with Testnet(8) as testnet, example("chat.py", tmp_path / "b", testnet) as bob:
        peer = (await bob.wait_for("my ID is")).split()[-1]
        async with example("chat.py", tmp_path / "a", testnet, peer) as alice:
            await asyncio.gather(alice.wait_for("connected"), bob.wait_for("connected"))
            alice.write("how are you?")
            await bob.wait_for("how are you?")
            bob.write("fine \x1b[31m")
            assert "\x1b" not in await alice.wait_for("fine")
            assert alice.process.stdin is not None
            alice.process.stdin.close()
            assert "ended: hangup" in await alice.finish()
            assert "ended: hangup" in await bob.finish()


@pytest.mark.parametrize("name", ["call_by_id.py", "chat.py", "answering_machine.py", "lan_meeting.py"])
def test_examples_are_short(name: str) -> None:
    """An example has fewer than 100 lines."""
    assert len((EXAMPLES / name).read_text().splitlines()) < 100
