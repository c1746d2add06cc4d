"""A private DHT on this machine: real nodes, real sockets, one process.

In a test::

    async with Testnet(20) as testnet:
        config = Config.internet(home, bootstrap=testnet.bootstrap)

By hand, for a demo or a lab (runs until SIGTERM or Ctrl-C, prints one bootstrap address per line)::

    python -m meshcall.testing.testnet --nodes 20 --port 4600
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from types import TracebackType

from meshcall.address import Address, format_address, parse_host_port
from meshcall.aio.clock import Clock, SystemClock, system_random
from meshcall.aio.dht import DhtNode
from meshcall.aio.udp import UdpPort
from meshcall.errors import MeshcallError
from meshcall.identity.keys import Random, SigningKey

_JOINING = 8
"""Nodes that join at a time: each brings a few dozen signatures to check."""


class Testnet:
    """``n`` DHT nodes that know each other."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    def __init__(
        self,
        n: int,
        *,
        port: int = 0,
        bind: str | Sequence[str] = "127.0.0.1",
        join: tuple[Address, ...] = (),
        clock: Clock | None = None,
        random: Random = system_random,
    ) -> None:
        """``port``: nodes use ``port`` to ``port + n - 1``; 0: any free ones. ``bind``: their IP address, or
        several that they take in turns.

        ``join``: nodes of a network to be part of; without them this is one of its own.
        """
        if n < 1:
            raise ValueError("a network has at least one node")
        self._n = n
        self._port = port
        self._binds = (bind,) if isinstance(bind, str) else tuple(bind)
        self._join = join
        self._clock = clock or SystemClock()
        self._random = random
        self._ports: list[UdpPort] = []
        self.nodes: list[DhtNode] = []
        """The nodes, in the order of :attr:`addresses`."""

    @property
    def addresses(self) -> list[Address]:
        """Where the nodes are; any of them will do to bootstrap."""
        return [(self._bind_of(index), port.port) for index, port in enumerate(self._ports)]

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """The first three addresses as HOST:PORT, for a Config."""
        return tuple(format_address(address) for address in self.addresses[:3])

    async def __aenter__(self) -> Testnet:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _bind_of(self, index: int) -> str:
        return self._binds[index % len(self._binds)]

    async def _open(self) -> None:
        for index in range(self._n):
            number = self._port + index if self._port else 0
            port = await UdpPort.open(number, hosts=(self._bind_of(index),))
            self._ports.append(port)
            node = DhtNode(
                port,
                node_key=SigningKey.generate(self._random),
                clock=self._clock,
                random=self._random,
                router=True,
            )
            self.nodes.append(node)
            await node.start()
        first = self._join or self.addresses[:1]
        for start in range(0 if self._join else 1, self._n, _JOINING):
            joining = self.nodes[start : start + _JOINING]
            await asyncio.gather(*(node.bootstrap(list(first)) for node in joining))

    async def close(self) -> None:
        """Stop all nodes and close their ports. Idempotent."""
        for node in self.nodes:
            await node.close()
        for port in self._ports:
            await port.close()


async def _serve(nodes: int, port: int, bind: Sequence[str], join: tuple[Address, ...]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Testnet(nodes, port=port, bind=bind, join=join) as testnet:
        for address in testnet.addresses:
            print(format_address(address), flush=True)  # noqa: T201 - the addresses are the output
        await stop.wait()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m meshcall.testing.testnet",
        description="Run a private DHT until SIGTERM; prints one bootstrap address per line when it is up.",
    )
    parser.add_argument("--nodes", type=int, default=20, help="how many nodes (default 20)")
    parser.add_argument("--port", type=int, default=0, help="first port; 0 takes free ones (default)")
    parser.add_argument(
        "--bind",
        metavar="IP",
        action="append",
        help="IP address of the nodes (default 127.0.0.1); can be repeated: they take turns",
    )
    parser.add_argument(
        "--bootstrap",
        metavar="HOST:PORT",
        type=parse_host_port,
        action="append",
        default=[],
        help="a node of a network to be part of; can be repeated",
    )
    options = parser.parse_args(arguments)
    if options.nodes < 1 or not 0 <= options.port <= 65536 - max(1, options.nodes):
        parser.error("--nodes must be at least 1, and all ports at most 65535")
    try:
        binds = options.bind or ["127.0.0.1"]
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(options.nodes, options.port, binds, tuple(options.bootstrap)))
    except MeshcallError as error:
        print(f"testnet: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
