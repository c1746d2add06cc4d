"""Sending: encoders that are open before the gate is, so that the first frame leaves at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import av
from aiortc import RTCRtpTransceiver

from meshcall.aio.media import readers
from meshcall.aio.media.sources import Source
from meshcall.aio.media.threads import wait_threads
from meshcall.aio.rtc import hooks

_ENCODERS = 2
"""Threads: one for each kind."""
_HEAD_START = 0.1
"""Seconds before encoders are opened, which holds everything up for 20 ms: a call on a LAN is up by then, and
opens them with the gate; any other waits for the network longer than that."""


class Sending:
    """The encoders of one endpoint."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encoder")
        self._tasks: list[asyncio.Task[None]] = []
        self._warmed: dict[RTCRtpTransceiver, str] = {}

    def prepare(self, transceiver: RTCRtpTransceiver, source: Source) -> None:
        """Encode in our pool, and open the encoder in advance if there is something to send."""
        hooks.set_encoder_pool(transceiver.sender, self._pool)
        if transceiver.sender.track is not None:
            self._tasks.append(asyncio.create_task(self._warm(transceiver, source), name="encoder-warm"))

    async def _warm(self, transceiver: RTCRtpTransceiver, source: Source) -> None:
        await asyncio.sleep(_HEAD_START)
        frame: av.AudioFrame | av.VideoFrame = readers.silence()
        if transceiver.kind == "video":
            size = None if source.pictures is None else await source.pictures.size()
            if size is None:
                return
            frame = readers.black(*size)
        codec = hooks.codec_name(transceiver)
        if not codec or source.pace.gate.is_set():
            return
        loop = asyncio.get_running_loop()
        encoder = await loop.run_in_executor(self._pool, hooks.make_encoder, transceiver, frame)
        if hooks.codec_name(transceiver) == codec:
            self._warmed[transceiver] = codec
            hooks.set_encoder(transceiver.sender, encoder)

    def negotiated(self) -> None:
        """The answer is known: forget encoders of codecs that the peer did not choose."""
        for transceiver, codec in self._warmed.items():
            if hooks.codec_name(transceiver) != codec:
                hooks.drop_encoder(transceiver.sender)

    async def close(self) -> None:
        """End the threads."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        await wait_threads(hooks.pool_threads(self._pool), 1.0)
