"""Invites: what goes into the link comes out of it, and nothing else is taken for an invite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import InvalidInvite
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import parse_peer
from meshcall.signaling.invite import Invite, usable_node

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "identity.json").read_text("utf-8")
)
TEXT: str = VECTORS["ids"][0]["text"]
PEER = PeerId.parse(TEXT)
SECRET = "aaaqeayeaudaocajbifqydiob4"
EXPIRES = 1_800_000_000_000


@pytest.mark.parametrize("vector", VECTORS["invites"], ids=lambda vector: vector["name"] or "bare")
def test_golden_invites_in_both_directions(vector: dict[str, Any]) -> None:
    """Value to link, link and QR text to value."""
    invite = Invite(
        PeerId(bytes.fromhex(vector["peer"])),
        bytes.fromhex(vector["secret"]),
        vector["expires_ms"],
        vector["name"],
        vector["once"],
        tuple((host, port) for host, port in vector["nodes"]),
        tuple((host, port) for host, port in vector["gateways"]),
    )
    assert invite.format() == vector["uri"]
    assert Invite.parse(vector["uri"]) == invite
    assert Invite.parse(invite.qr_text()) == invite


def test_create_rounds_cleans_and_chooses() -> None:
    """A program may pass what it has: the invite takes what is of use."""
    invite = Invite.create(
        PEER,
        expires_ms=EXPIRES - 999,
        random=lambda n: bytes([7]) * n,
        name="Ann\n B",
        once=True,
        nodes=[
            ("fe80::1%eth0", 1),
            ("0.0.0.0", 1),
            ("not-an-ip", 1),
            ("2001:DB8:0::1", 4),
            ("2001:db8::1", 4),
            ("192.0.2.1", 5),
            ("::ffff:192.0.2.1", 5),
            ("127.0.0.1", 6),
            ("10.0.0.1", 7),
        ],
        gateways=[("gate.example", 443), ("192.0.2.9", 443), ("2001:db8::9", 4600), ("192.0.2.7", 443)],
    )
    assert invite.gateways == (("192.0.2.9", 443), ("2001:db8::9", 4600)), "no names, two at most"
    assert invite.format().partition("#")[0].endswith("&t=192.0.2.9:443&t=%5B2001:db8::9%5D:4600")
    assert invite.secret == bytes([7]) * 16
    assert invite.expires_ms == EXPIRES
    assert invite.name == "Ann B"
    assert invite.nodes == (("2001:db8::1", 4), ("192.0.2.1", 5), ("127.0.0.1", 6))
    assert Invite.parse(invite.format()) == invite


def test_an_invite_expires() -> None:
    """It works until its second, and not in it."""
    invite = Invite(PEER, bytes(16), EXPIRES)
    invite.check(EXPIRES - 1)
    with pytest.raises(InvalidInvite, match="expired"):
        invite.check(EXPIRES)


def test_an_invite_also_works_as_a_link() -> None:
    """Who only wants to add a contact may paste it: ID and name are read as in any link."""
    invite = Invite(PEER, bytes(16), EXPIRES, "Ann", True, (("192.0.2.1", 5),))
    uri = parse_peer(invite.format())
    assert (uri.peer_id, uri.name, uri.secret) == (PEER, "Ann", invite.secret_text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a whole invite"),
        (TEXT, "not a whole invite"),
        (f"meshcall:{TEXT}", "no secret"),
        (f"meshcall:{TEXT}?x=1800000000", "no secret"),
        (f"meshcall:{TEXT}#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x=#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x=0#{SECRET}", "whole second"),
        (f"meshcall:{TEXT}?x=-1#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x=1e9#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x=%C2%B2#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x={'9' * 13}#{SECRET}", "when it expires"),
        (f"meshcall:{TEXT}?x=1800000000&x=1900000000#{SECRET}", "x= twice"),
        (f"meshcall:{TEXT}?x=1800000000&o=1&o=0#{SECRET}", "o= twice"),
        (f"meshcall:{TEXT}?x=1800000000&o=yes#{SECRET}", "works once"),
        (f"meshcall:{TEXT}?x=1800000000#{SECRET[:-1]}", "not whole"),
        (f"meshcall:{TEXT}?x=1800000000#{SECRET[:-1]}5", "damaged"),
        (f"meshcall:{TEXT}?x=1800000000#{SECRET[:-1]}9", "damaged"),
        (f"meshcall:{TEXT}?x=1800000000&b=example.org:1#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=192.0.2.1#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=192.0.2.1:0#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=192.0.2.1:65536#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=224.0.0.1:5#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=255.255.255.255:5#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=[ff02::1]:5#{SECRET}", "can't be used"),
        (f"meshcall:{TEXT}?x=1800000000&b=[fe80::1%25eth0]:5#{SECRET}", "can't be used"),
        (
            f"meshcall:{TEXT}?x=1800000000"
            + "".join(f"&b=192.0.2.{n}:5" for n in range(1, 5))
            + f"#{SECRET}",
            "3 different",
        ),
        (f"meshcall:{TEXT[:-1]}?x=1800000000#{SECRET}", "55"),
    ],
)
def test_what_is_no_invite_says_why(text: str, says: str) -> None:
    """One exception, with a reason and a hint."""
    with pytest.raises(InvalidInvite, match=says) as caught:
        Invite.parse(text)
    assert caught.value.hint
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("vector", VECTORS["weak_keys"], ids=lambda vector: vector["why"])
def test_weak_keys_do_not_enter_through_invites(vector: dict[str, str]) -> None:
    """All 14 weak keys, in an invite that is right otherwise."""
    with pytest.raises(InvalidInvite):
        Invite.parse(f"meshcall:{vector['text']}?x=1800000000#{SECRET}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": bytes(15)},
        {"expires_ms": EXPIRES + 1},
        {"expires_ms": 0},
        {"name": "two\nlines"},
        {"nodes": (("192.0.2.1", 1),) * 2},
        {"nodes": tuple(("192.0.2.1", n) for n in range(1, 5))},
        {"nodes": (("2001:DB8::1", 1),)},
    ],
    ids=str,
)
def test_an_invite_is_valid_from_birth(wrong: dict[str, Any]) -> None:
    """A value that could not be read back can't be made."""
    right: dict[str, Any] = {"peer_id": PEER, "secret": bytes(16), "expires_ms": EXPIRES}
    with pytest.raises(InvalidInvite):
        Invite(**{**right, **wrong})


def test_the_secret_is_shown_only_in_the_link() -> None:
    """repr and str hold neither spelling of it."""
    invite = Invite(PEER, bytes(range(16)), EXPIRES)
    for shown in (repr(invite), str(invite)):
        assert invite.secret_text not in shown
        assert repr(invite.secret) not in shown
    assert invite.secret_text in invite.format()


def test_usable_nodes() -> None:
    """One spelling for each address; what names no single host is none."""
    assert usable_node(("2001:DB8:0:0::1", 9)) == ("2001:db8::1", 9)
    assert usable_node(("::ffff:10.0.0.1", 9)) == ("10.0.0.1", 9)
    assert usable_node(("::1", 9)) == ("::1", 9)
    for bad in (("::", 9), ("fe80::1", 9), ("10.0.0.1", 0), ("10.0.0.1", 65536), ("", 9), ("010.0.0.1", 9)):
        assert usable_node(bad) is None
