"""One m-section of a description: the value, what must hold, and its octets.

Law: sections share one transport (BUNDLE), so a payload type, an extension id and
an SSRC mean the same in all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshcall.errors import Rejected
from meshcall.ice.octets import Octets
from meshcall.limits import CODECS_MAX, EXTENSIONS_MAX, MESSAGE_SIZE_MIN, MID_MAX
from meshcall.signaling.codecs import CODEC_TYPES, EXTENSION_URIS, Codec, HeaderExtension, codec_flaw

KINDS = ("audio", "video", "application")
DIRECTIONS = ("inactive", "sendonly", "recvonly", "sendrecv")  # bit 0: sends, bit 1: receives
SCTP_PORT = 5000
MAX_MESSAGE_SIZE = 262_144

_MID_CHARS = re.compile(r"[A-Za-z0-9._-]+")  # a subset of the token of RFC 8866


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section."""

    kind: str
    """``audio``, ``video`` or ``application``."""
    mid: str
    """1 to 16 letters, digits, dots, underscores and dashes; differs from all others."""
    direction: str = "sendrecv"
    """From the sender's side; always ``sendrecv`` for ``application``."""
    codecs: tuple[Codec, ...] = ()
    """In order of preference; at least one unless ``application``."""
    extensions: tuple[HeaderExtension, ...] = ()
    ssrcs: tuple[int, ...] = ()
    """The media's, then its retransmissions': aiortc routes packets and repairs loss by them."""
    stream: int = 0
    """Which MediaStream the track belongs to, 0 to 7: a screen is not lip-synced with the microphone."""
    rejected: bool = False
    """Port zero in SDP: refused or stopped (RFC 9429 section 5.3.1)."""
    sctp_port: int = SCTP_PORT
    max_message_size: int = MAX_MESSAGE_SIZE
    """Octets (RFC 8841 section 6)."""

    @property
    def sends(self) -> bool:
        return bool(DIRECTIONS.index(self.direction) & 1)

    @property
    def receives(self) -> bool:
        return bool(DIRECTIONS.index(self.direction) & 2)


# --- what must hold -------------------------------------------------------------------------------


def section_flaw(section: Section) -> str | None:
    """What is wrong with one section, as a short word; None when nothing is."""
    if section.kind not in KINDS or section.direction not in DIRECTIONS:
        return "section"
    if not (1 <= len(section.mid) <= MID_MAX and _MID_CHARS.fullmatch(section.mid)):
        return "mid"
    if not (0 < section.sctp_port < 65536 and MESSAGE_SIZE_MIN <= section.max_message_size < 2**31):
        return "sctp"
    if section.kind == "application":
        empty = section.direction == "sendrecv" and section.stream == 0
        return "section" if section.codecs or section.extensions or section.ssrcs or not empty else None
    if (section.sctp_port, section.max_message_size) != (SCTP_PORT, MAX_MESSAGE_SIZE):
        return "sctp"
    if not 0 < len(section.codecs) <= CODECS_MAX:
        return "codec"
    if any(codec_flaw(codec) or codec.type.kind != section.kind for codec in section.codecs):
        return "codec"
    payload_types = [codec.payload_type for codec in section.codecs]
    payload_types += [codec.rtx for codec in section.codecs if codec.rtx is not None]
    if len(set(payload_types)) != len(payload_types):
        return "codec"
    if not 0 <= section.stream < 8:
        return "stream"
    if len(section.ssrcs) > 2 or not all(0 < ssrc < 2**32 for ssrc in section.ssrcs):
        return "ssrc"
    return _extension_flaw(section.extensions)


def _extension_flaw(extensions: tuple[HeaderExtension, ...]) -> str | None:
    if len(extensions) > EXTENSIONS_MAX:
        return "extension"
    if any(item.code not in EXTENSION_URIS or not 0 < item.id < 15 for item in extensions):
        return "extension"
    codes, ids = {item.code for item in extensions}, {item.id for item in extensions}
    return None if len(codes) == len(ids) == len(extensions) else "extension"


def bundle_flaw(sections: tuple[Section, ...]) -> str | None:
    """All sections share one transport, so one number must not mean two things (RFC 8843 section 10.1)."""
    if all(section.rejected for section in sections):
        return "sections"
    if sum(section.kind == "application" for section in sections) > 1:
        return "sections"
    if len({section.mid for section in sections}) != len(sections):
        return "mid"
    ssrcs = [ssrc for section in sections for ssrc in section.ssrcs]
    if len(set(ssrcs)) != len(ssrcs):
        return "ssrc"
    payload_types: dict[int, tuple[int, int]] = {}
    ids: dict[int, int] = {}
    for section in sections:
        for codec in section.codecs:
            meaning = (codec.type.code, codec.parameter)
            if payload_types.setdefault(codec.payload_type, meaning) != meaning:
                return "codec"
            repair = (-1, codec.payload_type)
            if codec.rtx is not None and payload_types.setdefault(codec.rtx, repair) != repair:
                return "codec"
        for extension in section.extensions:
            if ids.setdefault(extension.id, extension.code) != extension.code:
                return "extension"
    return None


# --- octets, big-endian ---------------------------------------------------------------------------
#
# SECTION
#  0  u8   kind << 6 | rejected << 5 | named << 4 | rest
#            kind 0 audio, 1 video, 2 application
#            rest: audio, video: direction << 2, bit 2 sends, bit 3 receives; application: custom << 3
#  if named: u8 length (1 to 16), mid; else the mid is the section's index in decimal
#  application, if custom: u16 sctp-port, u32 max-message-size; else 5000 and 262144
#  audio, video:
#  .  u8   number of SSRCs (0 to 2) << 6 | stream << 3 | 0
#  .  4    each SSRC
#  .  u8   number of codecs << 4 | number of extensions
#  .       codecs
#  .  u8   each extension: code << 4 | id
#
# CODEC
#  0  u8   rtx << 7 | octets << 5 | code
#            octets that follow, without rtx: 0 static payload type; 1 payload type; 2 payload type, parameter
#  .  u8   payload type, u8 parameter, as counted
#  .  u8   payload type of retransmissions, if rtx


def encode_section(index: int, section: Section) -> bytes:
    """The octets of a section without flaw at ``index``."""
    named = section.mid != str(index)
    custom = (section.sctp_port, section.max_message_size) != (SCTP_PORT, MAX_MESSAGE_SIZE)
    application = section.kind == "application"
    rest = custom << 3 if application else DIRECTIONS.index(section.direction) << 2
    out = bytearray([KINDS.index(section.kind) << 6 | section.rejected << 5 | named << 4 | rest])
    if named:
        out += bytes([len(section.mid)]) + section.mid.encode("ascii")
    if application:
        if custom:
            out += section.sctp_port.to_bytes(2, "big") + section.max_message_size.to_bytes(4, "big")
        return bytes(out)
    out.append(len(section.ssrcs) << 6 | section.stream << 3)
    for ssrc in section.ssrcs:
        out += ssrc.to_bytes(4, "big")
    out.append(len(section.codecs) << 4 | len(section.extensions))
    for codec in section.codecs:
        out += _encode_codec(codec)
    out += bytes(extension.code << 4 | extension.id for extension in section.extensions)
    return bytes(out)


def _encode_codec(codec: Codec) -> bytes:
    fields = [] if codec.type.static is not None else [codec.payload_type]
    if codec.type.has_parameter:
        fields.append(codec.parameter)
    head = (codec.rtx is not None) << 7 | len(fields) << 5 | codec.type.code
    return bytes([head, *fields] if codec.rtx is None else [head, *fields, codec.rtx])


def text_untrusted(data: bytes, reason: str) -> str:
    """ASCII text; raises ``Rejected(reason)``."""
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise Rejected(reason) from None


def read_section_untrusted(octets: Octets, index: int) -> Section:
    """The next section, whose fields the caller checks with :func:`section_flaw`; raises Rejected."""
    head = octets.u8()
    if head >> 6 >= len(KINDS):
        raise Rejected("section")
    kind, rejected = KINDS[head >> 6], bool(head & 32)
    mid = text_untrusted(octets.take(octets.u8()), "mid") if head & 16 else str(index)
    if kind == "application":
        if head & 7:
            raise Rejected("section")
        if not head & 8:
            return Section(kind, mid, rejected=rejected)
        port, size = octets.u16(), octets.u32()
        return Section(kind, mid, rejected=rejected, sctp_port=port, max_message_size=size)
    source = octets.u8()
    if head & 3 or source & 7:
        raise Rejected("section")
    ssrcs = tuple(octets.u32() for _ in range(source >> 6))
    counts = octets.u8()
    codecs = [_read_codec(octets) for _ in range(counts >> 4)]
    extensions = [HeaderExtension(octet >> 4, octet & 15) for octet in octets.take(counts & 15)]
    return Section(
        kind=kind,
        mid=mid,
        direction=DIRECTIONS[head >> 2 & 3],
        codecs=tuple(codec for codec in codecs if codec is not None),
        extensions=tuple(extension for extension in extensions if extension.code in EXTENSION_URIS),
        ssrcs=ssrcs,
        stream=source >> 3 & 7,
        rejected=rejected,
    )


def _read_codec(octets: Octets) -> Codec | None:
    """A codec, or None if its code is not in the profile."""
    head = octets.u8()
    fields = octets.take(head >> 5 & 3)
    rtx = octets.u8() if head & 128 else None
    item = CODEC_TYPES.get(head & 31)
    if item is None:
        return None
    if len(fields) != (item.static is None) + item.has_parameter:
        raise Rejected("codec")
    payload_type = fields[0] if item.static is None else item.static
    return Codec(item, payload_type, rtx, fields[-1] if item.has_parameter else 0)
