"""The Mainline worker's timers, without libtorrent."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from meshcall.aio.mainline_worker import Worker


class Session:
    """In the place of libtorrent's: so many nodes are in its table."""

    def __init__(self) -> None:
        self.nodes = 0
        self.settings: list[dict[str, Any]] = []
        self.apply_settings = self.settings.append

    def post_session_stats(self) -> None:
        """They are told with the alerts."""

    def wait_for_alert(self, milliseconds: int) -> None:
        """There is one."""

    def pop_alerts(self) -> list[Any]:
        return [SimpleNamespace(values={"dht.dht_nodes": self.nodes})]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    made = Session()
    library = SimpleNamespace(
        sha1_hash=bytes,
        dht_get_peers_reply_alert=type(None),
        session_stats_alert=SimpleNamespace,
        alert=SimpleNamespace(category_t=SimpleNamespace(dht_operation_notification=1)),
        session=lambda settings: made,
    )
    monkeypatch.setitem(sys.modules, "libtorrent", library)
    return made


def restarts(session: Session, worker: Worker, begin: int, end: int) -> list[int]:
    """The seconds in which the DHT began anew."""
    found = []
    for now in range(begin, end):
        worker.work(float(now))
        if session.settings:
            assert session.settings == [{"enable_dht": False}, {"enable_dht": True}]
            session.settings.clear()
            found.append(now)
    return found


def test_the_dht_begins_anew_while_nobody_answers(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """libtorrent asks its first nodes once; more and more rarely, and not at all while it has nodes."""
    worker = Worker(["192.0.2.1:6881"])
    assert restarts(session, worker, 100, 300) == [105, 115, 135, 175, 235, 295]
    session.nodes = 7
    assert restarts(session, worker, 300, 500) == []
    assert capsys.readouterr().out == '{"nodes": 7}\n'
    session.nodes = 0  # all of them are gone
    assert restarts(session, worker, 500, 520) == [506, 516]
