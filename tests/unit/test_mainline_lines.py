"""What the Mainline worker says is data from strangers."""

from __future__ import annotations

import importlib.util

import pytest

from meshcall.aio.mainline import Mainline, peers_untrusted
from meshcall.errors import Rejected


def test_lines_of_the_worker() -> None:
    """Nodes, peers, both or neither."""
    assert peers_untrusted(b'{"nodes": 7}\n') == (7, [])
    assert peers_untrusted(b'{"peers": [["5.1.1.1", 4000]]}') == (None, [("5.1.1.1", 4000)])
    assert peers_untrusted(b"{}") == (None, [])


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"x", b"[]", b'{"nodes": -1}', b'{"nodes": "7"}', b'{"peers": [["5.1.1.1"]]}',
     b'{"peers": [[7, 7]]}', b'{"peers": [["' + b"9" * 46 + b'", 1]]}', b"[" * 5000, b"\xff",
     b'{"peers": [' + b'["5.1.1.1", 1],' * 256 + b'["5.1.1.1", 1]]}'],
)  # fmt: skip
def test_bad_lines_of_the_worker_are_rejected(line: bytes) -> None:
    """With one exception, whatever a worker that was taken over may say."""
    with pytest.raises(Rejected):
        peers_untrusted(line)


def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the variable, as these tests do, has nothing of it asked."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert not Mainline.is_available()
    monkeypatch.delenv("MESHCALL_NO_MAINLINE")
    assert Mainline.is_available()
