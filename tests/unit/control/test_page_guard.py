"""Which requests to the page's port are its own."""

from __future__ import annotations

import pytest

from meshcall.control.loopback_peer import find_uid
from meshcall.control.page_guard import SECURITY_HEADERS, check_place, hosts
from meshcall.errors import Forbidden

PORT = 6374
OURS = {"Host": "127.0.0.1:6374", "Origin": "http://127.0.0.1:6374"}


@pytest.mark.parametrize("host", sorted(hosts(PORT)))
def test_our_own_names_pass(host: str) -> None:
    """With our own origin, for reading and for changing."""
    for changes in (False, True):
        check_place({"Host": host, "Origin": f"http://{host}"}, PORT, changes=changes)
    check_place({"Host": host, "Sec-Fetch-Site": "none"}, PORT, changes=False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "meshcall.example:6374"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:80", "Origin": "http://127.0.0.1:80"},
        {"Host": "127.0.0.1:6374.evil.example"},
        OURS | {"Origin": "http://evil.example"},
        OURS | {"Origin": "null"},
        OURS | {"Origin": "https://127.0.0.1:6374"},
        OURS | {"Origin": "http://localhost:6374"},
        OURS | {"Origin": "http://127.0.0.1:8080"},
        {"Host": "127.0.0.1:6374", "Sec-Fetch-Site": "cross-site"},
        {"Host": "127.0.0.1:6374", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_all_others_are_refused(headers: dict[str, str]) -> None:
    """Rebinding, forms, images, scripts, frames, other ports of this machine."""
    for changes in (False, True):
        with pytest.raises(Forbidden):
            check_place(headers, PORT, changes=changes)


def test_a_change_needs_an_origin() -> None:
    """Every browser sends it with a POST and a WebSocket."""
    check_place({"Host": "127.0.0.1:6374"}, PORT, changes=False)
    with pytest.raises(Forbidden):
        check_place({"Host": "127.0.0.1:6374"}, PORT, changes=True)


def test_the_policy_lets_no_foreign_code_in() -> None:
    """Scripts come from the daemon only, and no text becomes one."""
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


TCP = """\
   0: 0100007F:18E6 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:C350 0100007F:18E6 01 00000000:00000000 00:00000000 00000000  1001        0 2
   2: 0100007F:C351 0100007F:18E6 06 00000000:00000000 00:00000000 00000000  1002        0 3
   3: 00000000000000000000000001000000:C352 00000000000000000000000001000000:18E6 01 0 00:0 0  1003 0 4
   4: short
""".splitlines()


@pytest.mark.parametrize(
    ("client", "server", "uid"),
    [
        (("127.0.0.1", 50000), ("127.0.0.1", 6374), 1001),
        (("127.0.0.1", 50001), ("127.0.0.1", 6374), None),
        (("127.0.0.1", 50003), ("127.0.0.1", 6374), None),
        (("::1", 50002), ("::1", 6374), 1003),
        (("127.0.0.1", 50000), ("127.0.0.1", 6375), None),
    ],
)
def test_the_user_at_the_other_end(client: tuple[str, int], server: tuple[str, int], uid: int | None) -> None:
    """The socket that is connected to ours tells; one that is closing, or another one, does not."""
    assert find_uid(TCP, client, server) == uid
