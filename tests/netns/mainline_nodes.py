"""A BitTorrent DHT of real libtorrent nodes on one host, one process each; and what a liar announces there.

mainline_nodes.py run IP PORT FIRST...            one node with stock restrictions that knows the nodes FIRST
mainline_nodes.py announce IP FIRST PORT COUNT    announces meshcall's infohash of today with COUNT dead ports
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import libtorrent

from meshcall.dht.ladder import infohashes


def session(ip: str, port: int, known: tuple[str, ...]) -> Any:
    made = libtorrent.session(
        {
            "listen_interfaces": f"{ip}:{port}",
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "dht_bootstrap_nodes": "",
            "alert_mask": 0,
        }
    )
    add(made, known)
    return made


def nodes(made: Any) -> int:
    made.post_session_stats()
    made.wait_for_alert(1000)
    found = [a.values["dht.dht_nodes"] for a in made.pop_alerts() if hasattr(a, "values")]
    return int(found[-1]) if found else 0


def join(made: Any, known: tuple[str, ...]) -> None:
    """Until one of them has answered: a question that was lost is not asked again, too many are a flood."""
    while not nodes(made):
        time.sleep(1.0)
        add(made, known)


def add(made: Any, known: tuple[str, ...]) -> None:
    for text in known:
        host, _, number = text.rpartition(":")
        made.add_dht_node((host, int(number)))


def run(ip: str, port: str, *known: str) -> None:
    made = session(ip, int(port), known)
    join(made, known)
    print("ready", flush=True)
    signal.pause()


def announce(ip: str, first: str, port: str, count: str) -> None:
    made = session(ip, 0, (first,))
    join(made, (first,))
    for _ in range(3):
        for number in range(int(count)):
            for infohash in infohashes(time.time_ns() // 1_000_000, 0):
                made.dht_announce(libtorrent.sha1_hash(infohash), int(port) + number, 0)
        time.sleep(5)
    print("announced", flush=True)
    signal.pause()


if sys.argv[1] == "run":
    run(*sys.argv[2:])
else:
    announce(*sys.argv[2:])
