"""Messages on the control channel: what they are on the wire, and what is refused."""

from __future__ import annotations

import pytest

from meshcall.call import control
from meshcall.errors import Rejected
from meshcall.signaling.rendezvous import RendezvousSecret

SECRET = RendezvousSecret(bytes(range(32)), 0x01020304)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (control.Confirm(b"s" * 64), "01" + "73" * 64),
        (control.Confirmed(), "02"),
        (control.Bye(), "0300"),
        (control.Bye(failure=True), "0301"),
        (control.Chat("salut ✓"), "0473616c757420e29c93"),
        (control.Rendezvous(SECRET), "0501020304" + bytes(range(32)).hex()),
        (control.Held(7), "0600000007"),
        (control.Candidates(b"\x01\x02"), "070102"),
        (control.Room(b"\x01\x02"), "0b0102"),
        (control.Layer("camera", 360, 15), "0c0101680f"),
        (control.Layer("screen", 0, 0), "0c02000000"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_messages_are_these_octets_and_come_back(message: control.Sendable, wire: str) -> None:
    """The golden octets of docs/protocol/control.md."""
    assert control.encode_control(message).hex() == wire
    assert control.decode_control_untrusted(bytes.fromhex(wire)) == message


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "01",
        "03",
        "04",
        "04ff",
        "05",
        "05" + "00" * 36,
        "05" + "01" * 37,
        "06",
        "0600000000ff",
        "07",
        "07" + "00" * 1025,
        "0b",
        "0b" + "00" * 16_384,
        "0c010168",
        "0c010168" + "0f00",
    ],
)
def test_malformed_messages_are_refused(wire: str) -> None:
    """A known type of another length, a generation of zero, text that is none."""
    with pytest.raises(Rejected) as caught:
        control.decode_control_untrusted(bytes.fromhex(wire))
    assert caught.value.reason == "control"


def test_a_type_of_a_later_version_is_no_error() -> None:
    """So that newer peers can say more."""
    assert control.decode_control_untrusted(b"\x7fanything") == control.Unknown(0x7F)
    assert control.decode_control_untrusted(b"\x0c\x03\x01\x68\x0f") == control.Unknown(0x0C)


def test_what_can_not_be_said_is_a_bug_here() -> None:
    """A room's message that is empty or too long, a layer out of bounds."""
    for wrong in (
        control.Room(b""),
        control.Room(bytes(16_384)),
        control.Layer("camera", 65_536, 15),
        control.Layer("camera", 360, 256),
    ):
        with pytest.raises(ValueError, match="a "):
            control.encode_control(wrong)


def test_the_secret_is_not_shown() -> None:
    """A message in a log gives nothing away."""
    assert SECRET.secret.hex() not in repr(control.Rendezvous(SECRET))
    assert str(SECRET.secret) not in repr(control.Rendezvous(SECRET))
