"""The Mainline DHT in a process of its own: the only importer of libtorrent.

Run by ``meshcall.aio.mainline``. It knows no key, contact or file of ours, and ends when its stdin does.

    stdin    {"find": ["<infohash, hex>", ...], "announce": [...], "port": 4000}    what is wanted from now on
    stdout   {"nodes": 12}                      nodes in its table, when that changes
             {"peers": [["192.0.2.7", 4000]]}   who is announced under what is to be found; again and again

Law 1: everything of libtorrent but the DHT is off: no torrents, no TCP, no uTP, no local discovery, no port
mapping.
Law 2: upload stays at libtorrent's default limit for its DHT, 8 kB/s.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Final, NoReturn

_FIND_AGAIN: Final = 3.0
"""Seconds between two searches for the same infohash while it is wanted."""
_ANNOUNCE_AGAIN: Final = (5.0, 15.0, 30.0, 60.0, 900.0)
"""Seconds between announcements: soon again at first, for a young table finds the wrong nodes; then as
libtorrent announces torrents."""
_BEGIN_AGAIN: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds without a node after which the DHT begins anew: libtorrent asks its first nodes once, and no more
when that was lost."""
_STATS_AGAIN: Final = 1.0
_LOOK_MS: Final = 250

_SETTINGS: Final = {
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    # It opens a TCP port of the same number, too, and drops who connects there
    "listen_interfaces": "0.0.0.0:0,[::]:0",
}


class Worker:
    """One libtorrent session."""

    def __init__(self, hosts: list[str]) -> None:
        """``hosts``: HOST:PORT of Mainline nodes to start from; none: libtorrent's own."""
        import libtorrent

        self._sha1 = libtorrent.sha1_hash
        self._reply_type = libtorrent.dht_get_peers_reply_alert
        self._stats_type = libtorrent.session_stats_alert
        settings: dict[str, Any] = {
            **_SETTINGS,
            "alert_mask": libtorrent.alert.category_t.dht_operation_notification,
        }
        if hosts:
            settings["dht_bootstrap_nodes"] = ",".join(hosts)
        self._session = libtorrent.session(settings)
        self._find: list[bytes] = []
        self._announce: list[bytes] = []
        self._port = 0
        self._announced = 0
        self._find_at = self._announce_at = self._stats_at = 0.0
        self._nodes = 0
        self._begun = 0
        """How often the DHT has begun since there was a node."""
        self._begin_at: float | None = None
        """When it begins anew; None: not while there are nodes."""

    def want(self, wish: dict[str, Any]) -> None:
        """From now on find and announce this."""
        find = [bytes.fromhex(text) for text in wish["find"]]
        announce = [bytes.fromhex(text) for text in wish["announce"]]
        if find != self._find:
            self._find, self._find_at = find, 0.0
        if (announce, wish["port"]) != (self._announce, self._port):
            self._announce, self._port = announce, wish["port"]
            self._announced, self._announce_at = 0, 0.0

    def work(self, now: float) -> None:
        """Do what is due, and wait a moment for what comes."""
        self._begin_again(now)
        if self._nodes and now >= self._find_at:
            self._find_at = now + _FIND_AGAIN
            for infohash in self._find:
                self._session.dht_get_peers(self._sha1(infohash))
        if self._nodes and now >= self._announce_at:
            self._announce_at = now + _ANNOUNCE_AGAIN[min(self._announced, len(_ANNOUNCE_AGAIN) - 1)]
            self._announced += 1
            for infohash in self._announce:
                self._session.dht_announce(self._sha1(infohash), self._port, 0)
        if now >= self._stats_at:
            self._stats_at = now + _STATS_AGAIN
            self._session.post_session_stats()
        self._session.wait_for_alert(_LOOK_MS)
        for alert in self._session.pop_alerts():
            if isinstance(alert, self._stats_type):
                nodes = alert.values["dht.dht_nodes"]
                if nodes != self._nodes:
                    self._nodes = nodes
                    tell(nodes=nodes)
            elif isinstance(alert, self._reply_type):
                peers = alert.peers()
                if peers:
                    tell(peers=[list(peer) for peer in peers[:256]])

    def _begin_again(self, now: float) -> None:
        """Unless somebody has answered."""
        if self._nodes:
            self._begun, self._begin_at = 0, None
        elif self._begin_at is None or now >= self._begin_at:
            if self._begin_at is not None:
                for enabled in (False, True):
                    self._session.apply_settings({"enable_dht": enabled})
            self._begin_at = now + _BEGIN_AGAIN[min(self._begun, len(_BEGIN_AGAIN) - 1)]
            self._begun += 1


def tell(**what: Any) -> None:
    """One line out."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def read(lines: SimpleQueue[str]) -> None:
    """Hand on stdin line by line; an empty one is its end."""
    while True:
        line = sys.stdin.readline()
        lines.put(line)
        if not line:
            return


def main() -> NoReturn:
    """Work until stdin ends."""
    worker = Worker(sys.argv[1:])
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=read, args=(lines,), daemon=True).start()
    while True:
        try:
            line = lines.get_nowait()
        except Empty:
            worker.work(time.monotonic())
            continue
        if not line:
            os._exit(0)  # nothing is to be kept, and a session takes its time to end
        worker.want(json.loads(line))


if __name__ == "__main__":
    main()
