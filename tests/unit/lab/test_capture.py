"""Capture files: what is written is read back, also while it is still being written."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from netsim.capture import (
    LINK_ETHERNET,
    LINK_RAW,
    Frame,
    interface_block,
    packet_block,
    read_capture,
    section_block,
)

FRAMES = [
    Frame("eth0", 1_700_000_000.25, LINK_ETHERNET, b"abcde"),
    Frame("tun0", 1_700_000_001.5, LINK_RAW, b""),
    Frame("eth0", 1_700_000_002.75, LINK_ETHERNET, bytes(1514)),
]


def written() -> bytes:
    """A file with two interfaces."""
    data = section_block() + interface_block("eth0", LINK_ETHERNET) + interface_block("tun0", LINK_RAW)
    for frame in FRAMES:
        data += packet_block(
            ("eth0", "tun0").index(frame.device), int(frame.time * 4) * 250_000_000, frame.octets
        )
    return data


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Devices, link types, times and octets; every block says its length twice and ends on four octets."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(written())
    assert list(read_capture(path)) == FRAMES
    data = written()
    while data:
        length = struct.unpack_from("=I", data, 4)[0]
        assert length % 4 == 0
        assert struct.unpack_from("=I", data, length - 4)[0] == length
        data = data[length:]


def test_a_file_may_end_anywhere(tmp_path: Path) -> None:
    """The whole blocks are read; the last one is not there yet."""
    path = tmp_path / "x.pcapng"
    data = written()
    for cut in (*range(0, 120, 7), len(data) - 1):
        path.write_bytes(data[:cut])
        frames = list(read_capture(path))
        assert frames == FRAMES[: len(frames)]
        assert len(frames) < len(FRAMES)


def test_another_machine_s_octet_order_is_refused(tmp_path: Path) -> None:
    """Files are read where they were written."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(section_block()[:8] + section_block()[8:12][::-1] + section_block()[12:])
    with pytest.raises(ValueError, match="another kind of machine"):
        list(read_capture(path))
