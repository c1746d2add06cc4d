"""The codec profile: which codecs and RTP header extensions a description can name, in an octet each.

Law 1: a code never changes its meaning; a new codec or a new parameter set gets a new code.
Law 2: a reader skips codes it does not know, so a newer peer may offer more than we can do.
Law 3: rtpmap and fmtp text is made here from the code and checked numbers, never from a peer's text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodecType:
    """One entry of the profile."""

    code: int
    """Its number on the wire, 0 to 31."""
    name: str
    """Encoding name as in rtpmap."""
    kind: str
    """``audio`` or ``video``."""
    clock: int
    """Clock rate, Hz."""
    channels: int = 1
    static: int | None = None
    """Payload type that RFC 3551 fixed, if it did: then none travels."""
    has_parameter: bool = False
    """Whether one octet of parameters travels."""

    @property
    def rtpmap(self) -> str:
        suffix = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock}{suffix}"


OPUS = CodecType(1, "opus", "audio", 48000, 2, has_parameter=True)
G722 = CodecType(2, "G722", "audio", 8000, static=9)
PCMU = CodecType(3, "PCMU", "audio", 8000, static=0)
PCMA = CodecType(4, "PCMA", "audio", 8000, static=8)
VP8 = CodecType(16, "VP8", "video", 90000)
H264 = CodecType(17, "H264", "video", 90000, has_parameter=True)

CODEC_TYPES = {item.code: item for item in (OPUS, G722, PCMU, PCMA, VP8, H264)}

OPUS_FEC, OPUS_STEREO, OPUS_DTX, OPUS_CBR = 1, 2, 4, 8
"""Bits of the Opus parameter octet: useinbandfec, stereo with sprop-stereo, usedtx, cbr (RFC 7587)."""
_OPUS_FLAGS = {
    OPUS_FEC: "useinbandfec=1",
    OPUS_STEREO: "stereo=1;sprop-stereo=1",
    OPUS_DTX: "usedtx=1",
    OPUS_CBR: "cbr=1",
}
_OPUS_NAMES = {"useinbandfec": OPUS_FEC, "stereo": OPUS_STEREO, "usedtx": OPUS_DTX, "cbr": OPUS_CBR}

H264_LEVELS = frozenset({10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52})
"""level_idc values of H.264 table A-1; the parameter octet of H264."""
_H264_PROFILE = "42e0"  # Constrained Baseline, the one profile every WebRTC stack has (RFC 7742 section 6.2)


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec of an m-section with its payload types."""

    type: CodecType
    payload_type: int
    rtx: int | None = None
    """Payload type of its retransmissions (RFC 4588), whose ``apt`` is ``payload_type``."""
    parameter: int = 0
    """Opus: ``OPUS_*`` bits. H264: level_idc. Else 0."""

    @property
    def fmtp(self) -> str:
        """Format parameters, without payload type; empty where there are none."""
        if self.type is OPUS:
            flags = [text for bit, text in _OPUS_FLAGS.items() if self.parameter & bit]
            return ";".join(["minptime=10", *flags]) if flags else ""
        if self.type is H264:
            level = f"{_H264_PROFILE}{self.parameter:02x}"
            return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={level}"
        return ""


def codec_flaw(codec: Codec) -> str | None:
    """What is wrong with a codec's numbers, as a short word; None when nothing is."""
    if CODEC_TYPES.get(codec.type.code) is not codec.type:
        return "type"
    fixed = codec.type.static
    if codec.payload_type != fixed if fixed is not None else not is_dynamic(codec.payload_type):
        return "payload type"
    if codec.rtx is not None and not is_dynamic(codec.rtx):
        return "rtx"
    if codec.type is H264:
        return None if codec.parameter in H264_LEVELS else "level"
    limit = 16 if codec.type is OPUS else 1
    return None if 0 <= codec.parameter < limit else "parameter"


def is_dynamic(payload_type: int) -> bool:
    """Payload types that RFC 8843 section 9.1 and browsers assign freely; never those that look like RTCP."""
    return 96 <= payload_type < 128 or 35 <= payload_type < 64


def find_codec(kind: str, rtpmap: str, fmtp: str) -> tuple[CodecType, int] | None:
    """Profile entry and parameter octet for a codec in our own stack's SDP; None if the profile lacks it."""
    name, _, rest = rtpmap.lower().partition("/")
    for item in CODEC_TYPES.values():
        if item.kind == kind and name == item.name.lower() and rest in _rates(item):
            pairs = (pair.strip().partition("=") for pair in fmtp.split(";"))
            return _with_parameter(item, {key.lower(): value for key, _, value in pairs})
    return None


def _rates(item: CodecType) -> tuple[str, ...]:
    return (f"{item.clock}", f"{item.clock}/1") if item.channels == 1 else (f"{item.clock}/{item.channels}",)


def _with_parameter(item: CodecType, fmtp: dict[str, str]) -> tuple[CodecType, int] | None:
    if item is OPUS:
        return item, sum(bit for name, bit in _OPUS_NAMES.items() if fmtp.get(name) == "1")
    if item is H264:
        level_id = fmtp.get("profile-level-id", "").lower()
        if fmtp.get("packetization-mode") != "1" or level_id[:4] != _H264_PROFILE or len(level_id) != 6:
            return None
        level = int(level_id[4:], 16)
        return (item, level) if level in H264_LEVELS else None
    return item, 0


# --- RTP header extensions (RFC 8285) ---------------------------------------------------------------

EXTENSION_URIS = {
    1: "urn:ietf:params:rtp-hdrext:sdes:mid",
    2: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    3: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    4: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    5: "urn:ietf:params:rtp-hdrext:toffset",
    6: "urn:3gpp:video-orientation",
    7: "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    8: "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    9: "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
}
"""Code on the wire (1 to 15) to URI. Left out: simulcast ids, video timing, colour space."""

TRANSPORT_CC = 4
"""Code of the transport-wide sequence number; feedback is negotiated only together with it."""


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """A header extension of an m-section."""

    code: int
    """Key of ``EXTENSION_URIS``."""
    id: int
    """1 to 14 (one-byte headers)."""

    @property
    def uri(self) -> str:
        return EXTENSION_URIS[self.code]


def find_extension(uri: str) -> int | None:
    """The code of a URI, or None."""
    return next((code for code, known in EXTENSION_URIS.items() if known == uri), None)
