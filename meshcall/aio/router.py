"""A DHT router alone on its port: the pure engine, a poll, timers. No event loop, so that it stays small.

Law 1: every input (datagram, timer) is followed by a complete drain of the engine's output.
Law 2: nothing here waits for the disk or for DNS while others wait for an answer: threads of their own do.
Law 3: it routes from the first moment: that it can be reached is its operator's word.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from meshcall.address import Address, parse_host_port
from meshcall.aio.clock import Clock
from meshcall.aio.files.atomic import write_atomic
from meshcall.aio.poll import Poll
from meshcall.aio.udp import UdpPort
from meshcall.dht.compact import is_impossible
from meshcall.dht.engine import DhtEngine
from meshcall.dht.events import BootstrapDone
from meshcall.dht.messages import FIRST_OCTETS
from meshcall.dht.saved import decode_table_untrusted
from meshcall.dht.statistics import DhtStatistics
from meshcall.identity.keys import Random, SigningKey
from meshcall.limits import BOOTSTRAP_RETRY, BOOTSTRAP_RETRY_MAX, DHT_SAVE_INTERVAL
from meshcall.stun.responder import answer_stranger_untrusted

_STUN: Final = range(4)
"""First octets of STUN (RFC 7983)."""
WAIT_MAX: Final = 60.0
"""Seconds that a wait may last when nothing is due: whoever set a flag without waking us is noticed then."""


class Router:
    """One router. Make it, :meth:`serve`, :meth:`close`."""

    def __init__(
        self,
        node_key: SigningKey,
        *,
        port: int,
        bootstrap: Sequence[str],
        table: Path,
        state: bytes | None,
        clock: Clock,
        random: Random,
        log: Callable[[str], None],
    ) -> None:
        """Opens ``port`` (0: any free one); raises :class:`meshcall.errors.PortTaken`.

        ``bootstrap``: HOST:PORT, names allowed. ``table``: the file of the table; ``state``: what it held.
        """
        self._clock = clock
        self._log = log
        self._table = table
        self._bootstrap = bootstrap
        self._poll = Poll()
        self.engine = DhtEngine(node_key, random=random, now=clock.now(), router=True, state=state)
        """The machine."""
        self._restored = state is not None and bool(decode_table_untrusted(state))
        self._udp = UdpPort.open_on(self._poll, port)
        self._udp.register(FIRST_OCTETS, self._receive)
        self._udp.register(_STUN, self._receive_stun, lambda data, source: False)
        self._waker, self._wakened = socket.socketpair()
        for end in (self._waker, self._wakened):
            end.setblocking(False)
        self._poll.add_reader(self._wakened.fileno(), self._awake)
        self._stopping = False
        self._joining = False
        self._pause = BOOTSTRAP_RETRY
        self._resolved: list[Address] | None = None
        self._save_thread: threading.Thread | None = None
        self._due: dict[Callable[[], None], float] = {}
        """When which of our own timers runs."""

    @property
    def port(self) -> int:
        """Our UDP port."""
        return self._udp.port

    def waking_fd(self) -> int:
        """A byte written here ends the wait; for :func:`signal.set_wakeup_fd`."""
        return self._waker.fileno()

    def every(self, seconds: float, work: Callable[[], object]) -> None:
        """Call ``work`` every so many seconds, in the thread that serves."""

        def again() -> None:
            self._due[again] = self._clock.now() + seconds
            work()

        self._due[again] = self._clock.now() + seconds

    def stop(self) -> None:
        """Have :meth:`serve` return; from any thread and from a signal's handler."""
        self._stopping = True
        self._wake()

    def statistics(self) -> DhtStatistics:
        """A frozen snapshot."""
        return self.engine.statistics()

    def serve(self) -> None:
        """Answer, join, keep the table; returns after :meth:`stop`."""
        self.every(DHT_SAVE_INTERVAL, self._save_aside)
        self._join()
        self._drain()
        while not self._stopping:
            self._poll.run_once(self._wait())
            now = self._clock.now()
            due = self.engine.deadline()
            if due is not None and due <= now:
                self.engine.handle_timer(now)
            for work in [work for work, when in self._due.items() if when <= now]:
                del self._due[work]
                work()
            self._start_bootstrap()
            self._drain()

    def close(self) -> None:
        """Save the table, close the port. Idempotent."""
        if self._save_thread is not None:
            self._save_thread.join()
        if self._udp.families and self.engine.contacts():
            self._save(self.engine.save())
        self._udp.shut()
        self._poll.remove_reader(self._wakened.fileno())
        for end in (self._waker, self._wakened):
            end.close()

    # --- inside ---

    def _wait(self) -> float:
        now = self._clock.now()
        due = self.engine.deadline()
        soonest = min([*self._due.values(), now + WAIT_MAX if due is None else due])
        return min(WAIT_MAX, max(0.0, soonest - now))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is being wakened anyway; closed: it is over
            self._waker.send(b"\0")

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakened.recv(256):
                pass

    def _receive(self, data: bytes, address: Address) -> None:
        self.engine.receive(data, address, self._clock.now())
        self._send()

    def _receive_stun(self, data: bytes, address: Address) -> None:
        """Anybody learns from us how we see him."""
        answer = answer_stranger_untrusted(data, address)
        if answer is not None:
            self._udp.send(answer, address)

    def _send(self) -> None:
        for data, address in self.engine.transmits():
            self._udp.send(data, address)

    def _drain(self) -> None:
        self._send()
        for event in self.engine.events():
            if isinstance(event, BootstrapDone):
                self._joined(event.answered)

    # --- joining ---

    def _join(self) -> None:
        """Resolve what is configured, then ask there and at the saved table's nodes."""
        if self._joining or not (self._bootstrap or self._restored):
            return  # the first node of a network waits for the others
        self._joining = True
        threading.Thread(target=self._resolve, name="resolve", daemon=True).start()

    def _resolve(self) -> None:
        """In a thread: DNS may take long."""
        found: list[Address] = []
        for text in self._bootstrap:
            host, port = parse_host_port(text)
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError):
                self._log(f"the bootstrap host {host} can't be resolved")
                continue
            found += [(str(info[4][0]), port) for info in infos]
        self._resolved = list(dict.fromkeys(address for address in found if not is_impossible(address)))
        self._wake()

    def _start_bootstrap(self) -> None:
        addresses, self._resolved = self._resolved, None
        if addresses is not None:
            self.engine.start_bootstrap(addresses, self._clock.now())

    def _joined(self, answered: int) -> None:
        self._joining = False
        if answered:
            self._pause = BOOTSTRAP_RETRY
            self._log(f"joined: {answered} {'node' if answered == 1 else 'nodes'} answered")
            return
        if self._pause == BOOTSTRAP_RETRY:
            self._log("no other node answers; still trying")
        self._due[self._join] = self._clock.now() + self._pause
        self._pause = min(2 * self._pause, BOOTSTRAP_RETRY_MAX)

    # --- the table on the disk ---

    def _save_aside(self) -> None:
        """Keep the table; an empty one would take the place of a better one, and calls for a new start."""
        if not self.engine.contacts():
            self._join()
        elif self._save_thread is None or not self._save_thread.is_alive():
            table = self.engine.save()
            self._save_thread = threading.Thread(target=self._save, args=(table,), name="save", daemon=True)
            self._save_thread.start()

    def _save(self, table: bytes) -> None:
        try:
            write_atomic(self._table, table)
        except OSError as error:
            self._log(f"the table can't be saved: {error.strerror}")
