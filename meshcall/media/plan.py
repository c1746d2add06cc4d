"""What to send and where to record: the plan that a media endpoint is made from.

Law 1: whatever a user writes for a source either parses here or raises :class:`SourceUnusable`.
Law 2: parsing opens nothing; whether a file is media is found out by who opens it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from meshcall import limits
from meshcall.errors import InvalidConfig, SourceUnusable

SourceKind = Literal["testsrc", "none", "camera", "screen", "mic", "file"]
MediaKind = Literal["audio", "video"]

TONE_DEFAULT: Final = 440
"""Hz of the test source's tone."""
TONE_MIN: Final = 20
TONE_MAX: Final = 20_000
CAMERA_MAX: Final = 255
MICROPHONE_DEFAULT: Final = "default"
_MICROPHONE: Final = re.compile(r"[A-Za-z0-9_.,:=-]{1,64}")
_DISPLAY: Final = re.compile(r"[A-Za-z0-9_.-]{0,64}:\d{1,4}(\.\d{1,3})?")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A parsed source."""

    kind: SourceKind
    path: Path | None = None
    """The media file, for ``file``."""
    tone: int = TONE_DEFAULT
    """Frequency in Hz of the sine, for ``testsrc``: two ends with different tones can be told apart."""
    camera: int = 0
    """Number of the camera, for ``camera``."""
    display: str = ""
    """The display of X, for ``screen``; empty: the one that this machine uses."""
    microphone: str = ""
    """ALSA's name of the microphone, for ``mic``, or beside a camera or a screen; empty: no sound."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, always named explicitly."""

    uri: str
    """``stun:HOST[:PORT]``, ``turn:HOST[:PORT][?transport=udp|tcp]`` or ``turns:``."""
    username: str = ""
    credential: str = field(default="", repr=False)


_ICE_SERVER: Final = re.compile(
    r"(stun|turns?):([^\s,?@:\[\]]+|\[[0-9a-fA-F:.]+\])(:(?P<port>\d{1,5}))?(\?transport=(udp|tcp))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """What one media endpoint does. It holds no secret but TURN credentials."""

    source: str = "none"
    """What is sent: a media file, ``testsrc[:HZ]``, ``camera[:N]`` or ``screen[:DISPLAY]``, both also with
    ``+mic[:NAME]``, ``mic[:NAME]`` alone, or ``none``.
    """
    record: Path | None = None
    """Matroska file that what arrives is recorded to; it must not exist yet."""
    mixed: Path | None = None
    """Matroska file that the whole room is recorded to; the first link that begins makes it for all."""
    page: str = ""
    """The page whose browser carries the media, by the name that it was given; empty: this process does."""
    camera: bool = True
    """The page begins with its camera on; it is turned on and off there, so it does not need to be."""
    peer: str = ""
    """Whose call it is: an ID, for the page to show."""
    room: str = ""
    """The room that it is a link of, by its id; empty: a call. Links of a room send what is encoded once."""
    shown: tuple[int, int] | None = None
    """Height and pictures a second that the peer is taken to show until it says; None: all there are."""
    audio: bool = True
    """Send and receive sound."""
    video: bool = True
    """Send and receive pictures."""
    interfaces: tuple[str, ...] = ()
    """Names of the network interfaces to offer addresses of; empty: all that are useful."""
    allow_loopback: bool = False
    """Offer loopback addresses too, and accept them from the peer (two nodes on one machine)."""
    allow_lan: bool = True
    """Send packets to private addresses that the peer names: not for strangers on the internet."""
    ice_servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers; empty: none at all, never a default one."""
    gather_timeout: float = limits.MEDIA_GATHER_TIMEOUT
    """Seconds for making a local description."""
    connect_timeout: float = limits.MEDIA_CONNECT_TIMEOUT
    """Seconds from both descriptions known to the control channel open."""
    offer_timeout: float = limits.MEDIA_OFFER_LIFE
    """Seconds that an offer may stay without an answer before it is closed."""


def parse_ice_server(text: str) -> IceServer:
    """The server in ``URI`` or ``URI,USERNAME,CREDENTIAL`` (RFC 7064, RFC 7065); raises InvalidConfig.

    A TURN server needs both, a STUN server takes neither.
    """
    uri, *secrets = text.split(",", 2)
    found = _ICE_SERVER.fullmatch(uri)
    if not found or (uri.startswith("stun:") and "?" in uri) or not 0 < int(found["port"] or 3478) < 65536:
        raise InvalidConfig(
            f"{uri!r} is no address of a STUN or TURN server",
            hint="write stun:HOST:PORT, turn:HOST:PORT?transport=udp,USERNAME,CREDENTIAL or turns:...",
        )
    if len(secrets) != (0 if uri.startswith("stun:") else 2) or not all(secrets):
        raise InvalidConfig(
            f"{uri}: a TURN server needs a username and a credential, a STUN server takes none",
            hint="write turn:HOST:PORT,USERNAME,CREDENTIAL",
        )
    return IceServer(uri, *secrets)


def parse_source(text: str) -> SourceSpec:
    """The source that ``text`` names; raises :class:`SourceUnusable`."""
    seen, plus, heard = text.partition("+")
    if plus and seen.partition(":")[0] in ("camera", "screen") and heard.partition(":")[0] == "mic":
        return replace(parse_source(seen), microphone=parse_source(heard).microphone)
    name, colon, argument = text.partition(":")
    if name == "none" and not colon:
        return SourceSpec("none")
    if name == "testsrc":
        return SourceSpec(
            "testsrc", tone=_number(text, argument, TONE_MIN, TONE_MAX) if colon else TONE_DEFAULT
        )
    if name == "camera":
        return SourceSpec("camera", camera=_number(text, argument, 0, CAMERA_MAX) if colon else 0)
    if name == "screen":
        return SourceSpec("screen", display=_named(text, argument, _DISPLAY) if colon else "")
    if name == "mic":
        return SourceSpec(
            "mic", microphone=_named(text, argument, _MICROPHONE) if colon else MICROPHONE_DEFAULT
        )
    if not text or "\0" in text:
        raise SourceUnusable("the name of the media source is empty or holds a null character")
    return SourceSpec("file", path=Path(text))


def _named(text: str, name: str, form: re.Pattern[str]) -> str:
    if not form.fullmatch(name):
        raise SourceUnusable(f"{name!r} in the source {text!r} is no name of a device.")
    return name


def _number(text: str, digits: str, low: int, high: int) -> int:
    if not digits.isascii() or not digits.isdecimal() or not low <= int(digits[:6]) <= high:
        raise SourceUnusable(f"{digits!r} in the source {text!r} is not a number from {low} to {high}.")
    return int(digits)
