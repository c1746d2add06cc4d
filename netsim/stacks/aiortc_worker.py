"""Plain aiortc on one host: what the lab's tables compare meshcall with.

Nothing of meshcall is in its way: descriptions are carried by whoever started this, all candidates in them.
Each line of stdin is a command, each line of stdout an event, in JSON::

    {"do": "offer", "call": "1", "servers": [{"uri": ..., "username": ..., "credential": ...}]}
    {"do": "answer", "call": "1", "servers": [...], "sdp": "..."}
    {"do": "accept", "call": "1", "sdp": "..."}
    {"do": "close", "call": "1"}

    {"event": "described", "call": "1", "sdp": "..."}
    {"event": "media", "call": "1", "at": 12.3, "relay": false}      at: monotonic, the same on all hosts
    {"event": "failed", "call": "1", "reason": "..."}

It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack


def say(event: str, **fields: Any) -> None:
    """Print one event."""
    print(json.dumps({"event": event, **fields}), flush=True)


class WorkerCall:
    """One peer connection with sound both ways."""

    def __init__(self, name: str, servers: list[dict[str, str]]) -> None:
        self._name = name
        ice = [RTCIceServer(s["uri"], s["username"] or None, s["credential"] or None) for s in servers]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=ice))
        self._pc.addTrack(AudioStreamTrack())
        self._pc.createDataChannel("control")
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", self._on_state)
        self._reader: asyncio.Task[None] | None = None

    async def offer(self) -> None:
        """Describe what is offered, once all servers have answered or have not."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        say("described", call=self._name, sdp=self._pc.localDescription.sdp)

    async def answer(self, sdp: str) -> None:
        """Take an offer and answer it."""
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        say("described", call=self._name, sdp=self._pc.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        """Take the answer."""
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def close(self) -> None:
        """Hang up."""
        if self._reader is not None:
            self._reader.cancel()
        await self._pc.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._reader = asyncio.create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        try:
            await track.recv()
            at = time.monotonic()
            # aiortc does not tell which pair was nominated
            pair = self._pc.getTransceivers()[0].receiver.transport.transport._connection._nominated[1]
            relay = "relay" in (pair.local_candidate.type, pair.remote_candidate.type)
            say("media", call=self._name, at=at, relay=relay)
            while True:
                await track.recv()
        except MediaStreamError:
            pass  # it ended

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            say("failed", call=self._name, reason=f"the connection is {self._pc.connectionState}")


class Worker:
    """Carries out commands; those of different calls run side by side."""

    def __init__(self) -> None:
        self._calls: dict[str, WorkerCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until stdin ends."""
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        say("ready")
        while line := await reader.readline():
            task = asyncio.create_task(self._carry_out(json.loads(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*(call.close() for call in self._calls.values()), return_exceptions=True)

    async def _carry_out(self, command: dict[str, Any]) -> None:
        name = command["call"]
        try:
            match command["do"]:
                case "offer":
                    self._calls[name] = WorkerCall(name, command["servers"])
                    await self._calls[name].offer()
                case "answer":
                    self._calls[name] = WorkerCall(name, command["servers"])
                    await self._calls[name].answer(command["sdp"])
                case "accept":
                    await self._calls[name].accept(command["sdp"])
                case "close":
                    if name in self._calls:  # it is from before a restart otherwise
                        await self._calls.pop(name).close()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is this attempt's result
            say("failed", call=name, reason=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(Worker().run())
