"""Answers to clients of RFC 3489."""

from __future__ import annotations

import pytest

from meshcall.errors import Rejected
from meshcall.limits import STUN_REPLY_RATIO
from meshcall.stun.classic import answer_classic_untrusted

TID = bytes.fromhex("010de73a16e489737e2170193d36c13d")
# What Debian's stun-client 0.97 sends first
REQUEST = bytes.fromhex("00010008") + TID + bytes.fromhex("0003000400000000")
BARE = bytes.fromhex("00010000") + TID


@pytest.mark.parametrize("request_", [REQUEST, BARE])
def test_a_client_of_rfc_3489_learns_its_address(request_: bytes) -> None:
    """MAPPED-ADDRESS in clear and the id of 16 octets, in less than three octets for one."""
    answer = answer_classic_untrusted(request_, ("127.0.0.1", 19936))
    assert answer == bytes.fromhex("0101000c") + TID + bytes.fromhex("0001000800014de07f000001")
    answer6 = answer_classic_untrusted(request_, ("2001:db8::7", 4321))
    assert answer6[:4] == bytes.fromhex("01010018")
    assert answer6[20:28] == bytes.fromhex("00010014000210e1")
    assert max(len(answer), len(answer6)) <= STUN_REPLY_RATIO * len(request_)


@pytest.mark.parametrize(
    "data",
    [
        REQUEST[:-1] + b"\x02",  # answer from another port
        REQUEST[:-1] + b"\x04",  # answer from another address
        bytes.fromhex("0001000c") + TID + bytes.fromhex("000200080001000ac6336407"),  # answer to another host
        bytes.fromhex("0101000c") + TID + bytes.fromhex("0001000800014de07f000001"),  # an answer
        bytes.fromhex("00020000") + TID,  # a shared secret request
        bytes.fromhex("00010008") + TID,
        bytes.fromhex("00010000") + TID[:-1],
        REQUEST + b"\0\0\0\0",
        b"",
    ],
)
def test_nothing_else_is_answered(data: bytes) -> None:
    """Neither answers to or from elsewhere, nor what would make two responders talk to each other."""
    with pytest.raises(Rejected, match="stun"):
        answer_classic_untrusted(data, ("192.0.2.1", 1))
