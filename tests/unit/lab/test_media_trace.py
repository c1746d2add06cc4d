"""Sound is read from captures: what counts as a packet, a gap and a loss."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from netsim.capture import LINK_ETHERNET, LINK_RAW, Frame
from netsim.media_trace import PACKET_S, STEP, Sound, lost, rtp_packets, sounds, unwrap

HERE, THERE, RELAY = "192.168.1.2", "5.2.1.2", "5.1.9.2"
SSRC = 0x01020304


def rtp(number: int, *, ssrc: int = SSRC, step: int = STEP, kind: int = 96) -> bytes:
    """One packet of a stream."""
    head = struct.pack("!BBHII", 0x80, kind, number % 0x10000, number * step % (1 << 32), ssrc)
    return head + bytes(40)


def channel_data(data: bytes) -> bytes:
    """RFC 8656 section 12.4."""
    return struct.pack("!HH", 0x4000, len(data)) + data


def data_indication(data: bytes) -> bytes:
    """RFC 8656 section 11.4, with an address before the data."""
    body = struct.pack("!HHHH", 0x0012, 8, 1, 99) + bytes(4)
    body += struct.pack("!HH", 0x0013, len(data)) + data + bytes(-len(data) % 4)
    return struct.pack("!HHI", 0x0017, len(body), 0x2112A442) + bytes(12) + body


def frame(at: float, source: str, destination: str, payload: bytes, *, raw: bool = False) -> Frame:
    """A UDP datagram as it is captured."""
    udp = struct.pack("!HHHH", 4000, 5000, 8 + len(payload), 0) + payload
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(ends) == 8:
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + ends + udp
        ethertype = 0x0800
    else:
        packet = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ends + udp
        ethertype = 0x86DD
    if raw:
        return Frame("tun0", at, LINK_RAW, packet)
    return Frame("eth0", at, LINK_ETHERNET, bytes(12) + ethertype.to_bytes(2) + packet + bytes(6))


def heard(*times_and_numbers: tuple[float, int]) -> Sound:
    """A received stream of sound."""
    frames = [frame(at, THERE, HERE, rtp(number)) for at, number in times_and_numbers]
    return sounds(rtp_packets(frames, {HERE}), sent=False)[SSRC]


def test_packets_are_found_in_every_wrapping() -> None:
    """Plain, in ChannelData, in an indication, over IPv6, from a TUN device; nothing else counts."""
    frames = [
        frame(1.0, THERE, HERE, rtp(1)),
        frame(1.1, RELAY, HERE, channel_data(rtp(2))),
        frame(1.2, RELAY, HERE, data_indication(rtp(3))),
        frame(1.3, HERE, RELAY, channel_data(rtp(4)), raw=True),
        frame(1.4, "2a05:d003:1::2", "2a05:d003:2::2", rtp(5)),
        frame(1.5, THERE, HERE, rtp(6, kind=72)),  # RTCP
        frame(1.6, THERE, HERE, b"\x16\xfe\xfd" + bytes(40)),  # DTLS
        frame(1.7, THERE, HERE, b""),
        Frame("eth0", 1.8, LINK_ETHERNET, bytes(10)),
    ]
    found = rtp_packets(frames, {HERE, "2a05:d003:1::2"})
    assert [(p.sequence, p.sent, p.framed, p.remote) for p in found] == [
        (1, False, False, THERE),
        (2, False, True, RELAY),
        (3, False, True, RELAY),
        (4, True, True, RELAY),
        (5, True, False, "2a05:d003:2::2"),
    ]


def test_a_damaged_indication_carries_nothing() -> None:
    """Lengths that lie end the search."""
    whole = data_indication(rtp(1))
    for cut in range(len(whole)):
        unwrap(whole[:cut])
    assert unwrap(whole) == (rtp(1), True)


def test_only_sound_is_sound() -> None:
    """A stream whose timestamps advance as those of pictures do is left out."""
    frames = [frame(n / 50, THERE, HERE, rtp(n)) for n in range(5)]
    frames += [frame(n / 50, THERE, HERE, rtp(n, ssrc=9, step=3000)) for n in range(5)]
    assert list(sounds(rtp_packets(frames, {HERE}), sent=False)) == [SSRC]


def test_duplicates_fill_no_gap() -> None:
    """A packet that came before is nothing new; one that was overtaken is."""
    sound = heard((0.0, 1), (0.02, 2), (0.3, 2), (0.5, 4), (0.51, 3), (0.53, 5))
    assert sound.numbers == (1, 2, 4, 3, 5)
    assert sound.gap(0.0, 0.53) == pytest.approx(0.48)
    assert sound.first_after(0.1) == pytest.approx(0.4)


def test_silence_counts_until_the_end() -> None:
    """And the packet before a stretch begins its first gap."""
    sound = heard((0.0, 1), (0.02, 2), (0.04, 3))
    assert sound.gap(0.03, 5.0) == pytest.approx(4.96)
    assert sound.gap(0.0, 0.04) == pytest.approx(PACKET_S)
    assert sound.first_after(0.05) is None


def test_numbers_go_on_beyond_16_bits() -> None:
    """A loss across the wrap is one packet, not 65,535."""
    numbers = range(0xFFFE, 0x10004)
    sent = heard(*((n / 50, n) for n in numbers))
    received = heard(*((n / 50 + 0.01, n) for n in numbers if n != 0x10001))
    assert sent.numbers == tuple(numbers)
    assert lost(sent, received, 0.0, 1e9) == 1
    assert lost(sent, received, 0x10002 / 50, 1e9) == 0
