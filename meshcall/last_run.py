"""What a node has from its last run: its identity, the key of its DHT node, its port, its table."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from meshcall.aio.files import StateDb, create_key, load_key, load_or_set_aside, write_atomic
from meshcall.aio.udp import UdpPort
from meshcall.dht.saved import checked_table
from meshcall.errors import NoIdentity, PortTaken
from meshcall.identity.keys import Random, SigningKey
from meshcall.paths import HomePaths

_log = logging.getLogger("meshcall.node")

_NODE_KEY: Final = "node-key"
_PORT: Final = "port"
_MAPPING_SECRET: Final = "port-mapping-secret"  # noqa: S105 - the name that it is kept under
_MAPPING_SECRET_SIZE: Final = 16


def identity_of(home: HomePaths, passphrase: str | None, random: Random) -> SigningKey:
    """The identity of the home; a home that has none gets one."""
    try:
        return load_key(home, passphrase)
    except NoIdentity:
        return create_key(home, passphrase, random=random)


def node_key_of(state: StateDb, random: Random) -> SigningKey:
    """The key of our DHT node: never the identity."""
    seed = state.get_blob(_NODE_KEY)
    if seed is None or len(seed) != 32:
        seed = random(32)
        state.set_blob(_NODE_KEY, seed)
    return SigningKey.from_seed(seed)


def mapping_secret_of(state: StateDb, random: Random) -> bytes:
    """What makes our requests to routers ours, after a crash, too."""
    secret = state.get_blob(_MAPPING_SECRET)
    if secret is None or len(secret) != _MAPPING_SECRET_SIZE:
        secret = random(_MAPPING_SECRET_SIZE)
        state.set_blob(_MAPPING_SECRET, secret)
    return secret


async def open_port(wanted: int, state: StateDb) -> UdpPort:
    """The port that is wanted; 0: the one used last, for a router's mapping stays good, or any free one."""
    if wanted:
        return await UdpPort.open(wanted)
    noted = state.get_blob(_PORT) or b""
    last = int(noted) if noted.isdigit() and len(noted) <= 5 else 0
    if 0 < last < 65536:
        with contextlib.suppress(PortTaken):
            return await UdpPort.open(last)
    udp = await UdpPort.open(0)
    state.set_blob(_PORT, str(udp.port).encode())
    return udp


class TableFile:
    """The DHT's table on the disk. That it can't be written ends nothing: there are other ways in."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self.saved_ms: int | None = None
        """When it was written last in this run, Unix milliseconds."""

    def load(self) -> tuple[bytes | None, str | None]:
        """The table, and a warning; a damaged file is set aside."""
        return load_or_set_aside(self._path, checked_table, None, now_ms=self._now_ms())

    def save(self, table: bytes) -> None:
        """Write it, now."""
        try:
            write_atomic(self._path, table)
        except OSError as error:
            _log.warning("the DHT's table can't be saved: %s", error.strerror)
        else:
            self.saved_ms = self._now_ms()

    async def keep(self, table: bytes) -> None:
        """Write it, beside the loop."""
        await asyncio.to_thread(self.save, table)
