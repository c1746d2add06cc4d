"""Hints, TXT records and the addresses that are believed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.discovery.lan import (
    DAY_MS,
    LanAnnouncement,
    addresses_untrusted,
    decode_txt_untrusted,
    encode_txt,
    hint,
    hints_near,
    host_name,
    instance_name,
)
from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId

DOC = Path(__file__).resolve().parents[3] / "docs" / "protocol" / "lan.md"
ALICE, BOB = (PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public) for n in (1, 2))
NETWORKS = ["192.168.1.7/24", "5.0.1.9/24", "fd00:1::7/64", "fe80::7/64"]


def txt(*strings: bytes) -> bytes:
    return b"".join(bytes([len(text)]) + text for text in strings)


GOOD = (b"v=1", b"h=0123456789abcdef")


def test_the_documented_vectors_hold() -> None:
    """The table in docs/protocol/lan.md is what the code makes."""
    table = dict(re.findall(r"^\| (.+?) \| `(.+?)` \|$", DOC.read_text("utf-8"), re.MULTILINE))
    assert ALICE.key.hex() in DOC.read_text("utf-8")
    zero, day = bytes(16), 20000 * DAY_MS
    assert table == {
        "hint, day 0": hint(ALICE, 0).hex(),
        "hint, day 20000": hint(ALICE, 20000).hex(),
        "hint, day 20001": hint(ALICE, 20001).hex(),
        "TXT, day 20000": encode_txt(LanAnnouncement.of(ALICE, day)).hex(),
        "TXT, day 20000, visible as Zoë": encode_txt(
            LanAnnouncement.of(ALICE, day, visible=True, name="Zoë")
        ).hex(),
        "instance, nonce of 16 zero octets": instance_name(zero),
        "host, nonce of 16 zero octets": host_name(zero),
    }


def test_a_hint_is_recognised_from_the_day_before_to_the_day_after() -> None:
    """Clocks may differ, and nobody is lost at midnight."""
    noon = 20000 * DAY_MS + DAY_MS // 2
    shown = LanAnnouncement.of(ALICE, noon).hint
    for days, known in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        assert (shown in hints_near(ALICE, noon + days * DAY_MS)) == known
    midnight = 20001 * DAY_MS
    assert LanAnnouncement.of(ALICE, midnight - 1).hint != LanAnnouncement.of(ALICE, midnight).hint
    assert shown not in hints_near(BOB, noon)


def test_only_the_visible_tell_id_and_name() -> None:
    """Else the record has a version and a hint, whatever the name is."""
    quiet = encode_txt(LanAnnouncement.of(ALICE, DAY_MS, name="Alice"))
    assert ALICE.text.encode() not in quiet
    assert b"Alice" not in quiet
    assert decode_txt_untrusted(quiet) == LanAnnouncement(hint(ALICE, 1))
    loud = encode_txt(LanAnnouncement.of(ALICE, DAY_MS, visible=True, name="Alice"))
    assert decode_txt_untrusted(loud) == LanAnnouncement(hint(ALICE, 1), ALICE, "Alice")
    assert len(loud) < limits.LAN_TXT_MAX


def test_names_are_random_and_differ() -> None:
    """Instance and host can't be linked to each other or to another start."""
    names = {make(nonce) for make in (instance_name, host_name) for nonce in (bytes(16), bytes([1]) * 16)}
    assert len({name.partition(".")[0] for name in names}) == 4


def test_an_own_name_is_cut_and_cleaned() -> None:
    """Control characters go, and no character is cut in half."""
    name = LanAnnouncement.of(ALICE, 0, visible=True, name="\x1b[31m" + "é" * 60).name
    assert name == "[31m" + "é" * 30
    assert len(name.encode()) == 64


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "version"),
        (txt(b"h=0123456789abcdef"), "version"),
        (txt(b"v=2", b"h=0123456789abcdef"), "version"),
        (txt(b"v", b"h=0123456789abcdef"), "version"),
        (txt(b"v=1"), "hint"),
        (txt(b"v=1", b"h=0123"), "hint"),
        (txt(b"v=1", b"h=0123456789abcdeg"), "hint"),
        (txt(b"v=1", b"h=0123456789abcd \xff"), "hint"),
        (txt(*GOOD)[:-1], "txt"),
        (b"\xff", "txt"),
        (txt(*GOOD, *[b"x" * 255] * 4), "txt-size"),
        (txt(*GOOD, b"i=tooshort"), "id"),
        (txt(*GOOD, b"i=\xff"), "id"),
        (txt(*GOOD, b"i=" + ALICE.text[:-1].encode() + b"a"), "id"),
        (txt(*GOOD, b"i=" + ALICE.text.encode(), b"n=\xff\xfe"), "name"),
        (txt(*GOOD, b"i=" + ALICE.text.encode(), b"n=\x1b[2J"), "name"),
        (txt(*GOOD, b"i=" + ALICE.text.encode(), b"n=" + "\u202egnp.exe".encode()), "name"),
        (txt(*GOOD, b"i=" + ALICE.text.encode(), b"n=" + b"x" * 65), "name"),
    ],
)
def test_malformed_records_are_refused(data: bytes, reason: str) -> None:
    """Each with its own reason."""
    with pytest.raises(Rejected) as verdict:
        decode_txt_untrusted(data)
    assert verdict.value.reason == reason


def test_later_versions_may_add_and_repeat() -> None:
    """RFC 6763 section 6.4: unknown and empty keys are skipped, case is ignored, the first counts."""
    data = txt(b"", b"=x", b"new=1", b"flag", b"\xff=1", b"V=1", b"H=0123456789ABCDEF", b"h=no", b"n=ignored")
    assert decode_txt_untrusted(data) == LanAnnouncement(bytes.fromhex("0123456789abcdef"))


@pytest.mark.parametrize(
    ("ip", "taken"),
    [
        ("192.168.1.20", True),
        ("10.1.2.3", True),
        ("5.0.1.20", True),
        ("5.0.2.20", False),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("169.254.3.4", True),
        ("fd00:1::20", True),
        ("fd99::1", True),
        ("2001:db8::1", False),
        ("fe80::1%eth0", True),
        ("fe80::1", False),
        ("fd00:1::20%eth0", False),
        ("::1", False),
        ("::", False),
        ("ff02::fb%eth0", False),
        ("::ffff:192.168.1.20", False),
        ("not an address", False),
        ("", False),
    ],
)
def test_addresses_that_can_be_on_this_lan(ip: str, taken: bool) -> None:
    """A spoofer can't point our datagrams at the internet, at ourselves or at everybody."""
    assert addresses_untrusted([ip], 4000, NETWORKS) == (((ip, 4000),) if taken else ())


def test_loopback_is_taken_where_there_is_nothing_else() -> None:
    """Two daemons on a machine without a network."""
    found = addresses_untrusted(["127.0.0.1", "::1"], 4000, ["127.0.0.1/8", "::1/128"], loopback=True)
    assert found == (("127.0.0.1", 4000), ("::1", 4000))


def test_addresses_are_capped_and_both_families_stay() -> None:
    """A service with a hundred IPv4 addresses still shows its IPv6 one."""
    many = [f"192.168.1.{n}" for n in range(1, 100)] * 2 + ["fd00:1::20"]
    found = addresses_untrusted(many, 4000, NETWORKS)
    assert len(found) == len(set(found)) == limits.LAN_ADDRESSES_MAX
    assert ("fd00:1::20", 4000) in found


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_gives_no_address(port: int) -> None:
    """Nothing is sent there."""
    assert addresses_untrusted(["192.168.1.20"], port, NETWORKS) == ()
