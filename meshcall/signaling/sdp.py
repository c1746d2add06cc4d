"""SDP text (RFC 8866, RFC 9429): built from a description, and read from our own WebRTC stack.

Law 1: text from a peer never gets here; :func:`from_sdp` reads what aiortc or our own page's browser wrote.
Law 2: text is built only from constants, numbers and strings that the description checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from meshcall.errors import Rejected
from meshcall.ice.candidate import Candidate, candidate_line, parse_candidate_line, select_candidates
from meshcall.signaling.codecs import (
    OPUS,
    OPUS_FEC,
    TRANSPORT_CC,
    VP8,
    Codec,
    HeaderExtension,
    find_codec,
    find_extension,
    is_dynamic,
)
from meshcall.signaling.description import Description, flaw
from meshcall.signaling.section import DIRECTIONS, MAX_MESSAGE_SIZE, SCTP_PORT, Section

_VIDEO_FEEDBACK = ("goog-remb", "ccm fir", "nack", "nack pli")

# --- building -------------------------------------------------------------------------------------


def to_sdp(
    description: Description,
    type: str | None = None,  # noqa: A002 - the W3C's word
    *,
    silent: Mapping[str, tuple[int, ...]] | None = None,
) -> str:
    """SDP text for ``setRemoteDescription``. ``type``: ``offer``, ``answer``, or None to tell by ``setup``.

    ``silent``: SSRCs that are named of sections that do not send, by mid (:func:`sources_of`).
    Raises :class:`Rejected` if the description has a flaw, or is an answer that leaves the DTLS role open.
    Every section carries all candidates: aiortc applies those of the last bundled one.
    """
    if reason := flaw(description):
        raise Rejected(reason)
    if type == "answer" and description.setup == "actpass":
        raise Rejected("setup")
    digest = hashlib.sha256(b"meshcall/sdp\0" + description.fingerprint).digest()
    session = int.from_bytes(digest[:8], "big") >> 1
    bundle = " ".join(section.mid for section in description.sections if not section.rejected)
    lines = [
        "v=0",
        f"o=- {session} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {bundle}",
        "a=msid-semantic: WMS *",
    ]
    transport = _transport_lines(description)
    for section in description.sections:
        ssrcs = section.ssrcs if section.sends else (silent or {}).get(section.mid, ())
        lines += _section_lines(section, ssrcs, transport, cname=digest[8:16].hex())
    return "\r\n".join(lines) + "\r\n"


def _transport_lines(description: Description) -> list[str]:
    lines = [f"a={candidate_line(candidate)}" for candidate in description.candidates]
    if description.end_of_candidates:
        lines.append("a=end-of-candidates")
    return [
        *lines,
        f"a=ice-ufrag:{description.ufrag}",
        f"a=ice-pwd:{description.pwd}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {description.fingerprint.hex(':').upper()}",
        f"a=setup:{description.setup}",
    ]


def _section_lines(section: Section, ssrcs: tuple[int, ...], transport: list[str], cname: str) -> list[str]:
    port = 0 if section.rejected else 9
    if section.kind == "application":
        return [
            f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            *transport,
            f"a=mid:{section.mid}",
            f"a=sctp-port:{section.sctp_port}",
            f"a=max-message-size:{section.max_message_size}",
        ]
    payload_types: list[str] = []
    formats: list[str] = []
    transport_cc = any(extension.code == TRANSPORT_CC for extension in section.extensions)
    for codec in section.codecs:
        payload_types += [str(number) for number in (codec.payload_type, codec.rtx) if number is not None]
        formats += _codec_lines(codec, transport_cc)
    return [
        f"m={section.kind} {port} UDP/TLS/RTP/SAVPF {' '.join(payload_types)}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *transport,
        f"a=mid:{section.mid}",
        *(f"a=extmap:{extension.id} {extension.uri}" for extension in section.extensions),
        f"a={section.direction}",
        *([f"a=msid:meshcall-{section.stream} track-{section.mid}"] if section.sends else []),
        "a=rtcp-mux",
        *formats,
        *_ssrc_lines(ssrcs, cname),
    ]


def _codec_lines(codec: Codec, transport_cc: bool) -> list[str]:
    number = codec.payload_type
    lines = [f"a=rtpmap:{number} {codec.type.rtpmap}"]
    feedback = _VIDEO_FEEDBACK if codec.type.kind == "video" else ()
    lines += [f"a=rtcp-fb:{number} {kind}" for kind in feedback]
    if transport_cc:
        lines.append(f"a=rtcp-fb:{number} transport-cc")
    if codec.fmtp:
        lines.append(f"a=fmtp:{number} {codec.fmtp}")
    if codec.rtx is not None:
        lines += [f"a=rtpmap:{codec.rtx} rtx/{codec.type.clock}", f"a=fmtp:{codec.rtx} apt={number}"]
    return lines


def _ssrc_lines(ssrcs: tuple[int, ...], cname: str) -> list[str]:
    lines = [f"a=ssrc:{ssrc} cname:{cname}" for ssrc in ssrcs]
    if len(ssrcs) == 2:
        lines.insert(0, f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}")
    return lines


def sources_of(description: Description, before: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The SSRCs of each section, by mid; of one that does not send, those that it had ``before``.

    Chromium ends a stream whose SSRC is named no more. When the same SSRC is named again, it decodes the
    new stream and shows nothing of it: its receiver takes it for the one that it has. So it has to be
    named all the time, as browsers do among themselves.
    """
    now = {section.mid: section.ssrcs for section in description.sections if section.sends}
    used = {ssrc for ssrcs in now.values() for ssrc in ssrcs}
    kept = {mid: ssrcs for mid, ssrcs in before.items() if used.isdisjoint(ssrcs)}
    return {one.mid: now.get(one.mid, kept.get(one.mid, ())) for one in description.sections}


# --- reading our own stack's text -----------------------------------------------------------------


class _Part:
    """The session part or one m-section: its m-line's words and its attributes in order."""

    def __init__(self, media: str = "") -> None:
        self.media = media.split()
        self.attributes: list[tuple[str, str]] = []

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]

    def first(self, name: str, *others: _Part) -> str | None:
        """The first value of an attribute, here or in ``others``."""
        return next((value for part in (self, *others) for value in part.all(name)), None)

    def by_format(self, name: str) -> dict[str, str]:
        """The values of ``a=name:FORMAT value`` by format."""
        pairs = (value.partition(" ") for value in self.all(name))
        return {number: rest.strip() for number, _, rest in pairs}


def from_sdp(text: str, *, end_of_candidates: bool | None = None) -> Description:
    """The description in the local SDP of OUR OWN stack; raises :class:`ValueError` if it holds none.

    Codecs and extensions outside the profile are left out; an answer can pick only from the rest, so the
    stack's own view stays consistent. Candidates: those of the bundled transport, UDP or TCP passive, at
    most ``CANDIDATES_MAX``. ``end_of_candidates`` overrides the text: browsers do not write that line.
    """
    session, sections = _split(text)
    alive = [part for part in sections if not _is_rejected(part)]
    if not alive:
        raise ValueError("SDP has no m-section in use")
    bundle = (session.first("group") or "").removeprefix("BUNDLE").split()
    tagged = next((part for part in alive if bundle and part.first("mid") == bundle[0]), alive[0])
    hashes = dict(
        value.lower().split(" ", 1) for part in (session, tagged) for value in part.all("fingerprint")
    )
    ended = any(key == "end-of-candidates" for key, _ in tagged.attributes)
    streams: list[str] = []
    description = Description(
        ufrag=tagged.first("ice-ufrag", session) or "",
        pwd=tagged.first("ice-pwd", session) or "",
        fingerprint=bytes.fromhex(hashes.get("sha-256", "").replace(":", "")),
        setup=tagged.first("setup", session) or "",
        sections=tuple(_read_section(index, part, streams) for index, part in enumerate(sections)),
        candidates=_read_candidates(tagged),
        end_of_candidates=ended if end_of_candidates is None else end_of_candidates,
    )
    if reason := flaw(description):
        raise ValueError(f"SDP has no valid {reason}")
    return description


def _split(text: str) -> tuple[_Part, list[_Part]]:
    parts = [_Part()]
    for line in text.splitlines():
        if line.startswith("m="):
            parts.append(_Part(line[2:]))
        elif line.startswith("a="):
            key, _, value = line[2:].partition(":")
            parts[-1].attributes.append((key, value.strip()))
    return parts[0], parts[1:]


def _is_rejected(part: _Part) -> bool:
    return part.media[1] == "0" and not any(key == "bundle-only" for key, _ in part.attributes)


def _read_candidates(part: _Part) -> tuple[Candidate, ...]:
    found = []
    for value in part.all("candidate"):
        if value.split()[1:2] != ["1"]:
            continue  # component 2 is of no use with rtcp-mux
        candidate = parse_candidate_line(value)
        if candidate.tcptype != "active":  # RFC 6544: nobody can connect to it
            found.append(candidate)
    return select_candidates(found)


def _read_section(index: int, part: _Part, streams: list[str]) -> Section:
    kind, mid, rejected = part.media[0], part.first("mid") or str(index), _is_rejected(part)
    if kind == "application":
        return Section(
            kind,
            mid,
            rejected=rejected,
            sctp_port=int(part.first("sctp-port") or SCTP_PORT),
            max_message_size=int(part.first("max-message-size") or MAX_MESSAGE_SIZE),
        )
    codecs = _read_codecs(kind, part)
    if rejected and not codecs:  # an m-line must name a format, and nobody will use this one
        codecs = (Codec(OPUS, 111, None, OPUS_FEC) if kind == "audio" else Codec(VP8, 96),)
    direction = next((key for key, _ in part.attributes if key in DIRECTIONS), "sendrecv")
    sends = "send" in direction
    return Section(
        kind=kind,
        mid=mid,
        direction=direction,
        codecs=codecs,
        extensions=_read_extensions(part),
        ssrcs=_read_ssrcs(part) if sends else (),
        stream=_stream_index(part, streams) if sends else 0,
        rejected=rejected,
    )


def _read_codecs(kind: str, part: _Part) -> tuple[Codec, ...]:
    rtpmap, fmtp = part.by_format("rtpmap"), part.by_format("fmtp")
    repairs = {
        fmtp.get(number, "").removeprefix("apt="): int(number)
        for number, value in rtpmap.items()
        if value.lower().startswith("rtx/") and is_dynamic(int(number))
    }
    codecs = []
    for number in part.media[3:]:
        found = find_codec(kind, rtpmap.get(number, ""), fmtp.get(number, ""))
        if found is None:
            continue
        item, parameter = found
        if int(number) == item.static if item.static is not None else is_dynamic(int(number)):
            codecs.append(Codec(item, int(number), repairs.get(number), parameter))
    return tuple(codecs)


def _read_extensions(part: _Part) -> tuple[HeaderExtension, ...]:
    extensions = []
    for value in part.all("extmap"):
        words = value.split()
        code, number = find_extension(words[1]), int(words[0].partition("/")[0])
        if code is not None and number < 15:
            extensions.append(HeaderExtension(code, number))
    return tuple(extensions)


def _read_ssrcs(part: _Part) -> tuple[int, ...]:
    """The media's SSRC and that of its retransmissions; of several encodings, the first."""
    for group in part.all("ssrc-group"):
        words = group.split()
        if words[0] == "FID" and len(words) == 3:
            return int(words[1]), int(words[2])
    ssrcs = [int(number) for number in part.by_format("ssrc")]
    return tuple(ssrcs[:1])


def _stream_index(part: _Part, streams: list[str]) -> int:
    """Streams are numbered in the order in which they appear; the eighth and later share a number."""
    name = (part.first("msid") or "-").split()[0]
    if name not in streams:
        streams.append(name)
    return min(streams.index(name), 7)
