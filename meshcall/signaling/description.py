"""The compact description: everything an offer or answer needs, in one datagram; SDP is rebuilt from it.

Law 1: a stranger's description comes in through :func:`decode_description_untrusted` only, which raises
       :class:`~meshcall.errors.Rejected` or returns a value with no flaw.
Law 2: every string that SDP text will contain is charset-checked here, so no description can add a line.
Law 3: what the receiver can make up by itself does not travel: SSRC lines' cname, msid names, rtcp-fb,
       foundations, related addresses, SHA-384 and SHA-512 fingerprints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from meshcall.errors import Rejected
from meshcall.ice.candidate import Candidate, encode_candidates, read_items_untrusted
from meshcall.ice.candidate import flaw as candidate_flaw
from meshcall.ice.notes import Note
from meshcall.ice.octets import Octets
from meshcall.limits import (
    CANDIDATES_MAX,
    DESCRIPTION_MAX,
    PWD_MAX,
    PWD_MIN,
    SECTIONS_MAX,
    UFRAG_MAX,
    UFRAG_MIN,
)
from meshcall.signaling.section import (
    Section,
    bundle_flaw,
    encode_section,
    read_section_untrusted,
    section_flaw,
    text_untrusted,
)

__all__ = ["Description", "Section", "check_answer_untrusted", "decode_description_untrusted", "flaw"]

VERSION = 1
SETUPS = ("actpass", "active", "passive")

_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")  # RFC 8839 section 5.4


@dataclass(frozen=True, slots=True)
class Description:
    """An offer or an answer."""

    ufrag: str
    pwd: str
    fingerprint: bytes
    """SHA-256 of the DTLS certificate, 32 octets."""
    setup: str
    """DTLS role (RFC 8842): ``actpass`` in offers, ``active`` or ``passive`` in answers."""
    sections: tuple[Section, ...]
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    version: int = VERSION
    notes: tuple[Note, ...] = ()
    """Of the sender's NAT; no part of the SDP."""

    def encode(self) -> bytes:
        """The octets; raises :class:`ValueError` if the description has a flaw or is too large."""
        if reason := flaw(self):
            raise ValueError(f"description has no valid {reason}")
        data = _encode(self)
        if len(data) > DESCRIPTION_MAX:
            raise ValueError(f"description has {len(data)} octets, more than {DESCRIPTION_MAX}")
        return data

    def with_candidates(self, candidates: Iterable[Candidate], *, end: bool | None = None) -> Description:
        """The same with other candidates; ``end`` sets end-of-candidates, None leaves it."""
        ended = self.end_of_candidates if end is None else end
        return replace(self, candidates=tuple(candidates), end_of_candidates=ended)


# --- what must hold -------------------------------------------------------------------------------


def flaw(description: Description) -> str | None:
    """What is wrong with a description, as a short word; None when nothing is."""
    if description.version != VERSION:
        return "version"
    if description.setup not in SETUPS:
        return "setup"
    if len(description.fingerprint) != 32 or not any(description.fingerprint):
        return "fingerprint"
    if not _is_ice_text(description.ufrag, UFRAG_MIN, UFRAG_MAX):
        return "ufrag"
    if not _is_ice_text(description.pwd, PWD_MIN, PWD_MAX):
        return "pwd"
    if not 0 < len(description.sections) <= SECTIONS_MAX:
        return "sections"
    for section in description.sections:
        if reason := section_flaw(section):
            return reason
    if reason := bundle_flaw(description.sections):
        return reason
    if len(description.candidates) > CANDIDATES_MAX or any(map(candidate_flaw, description.candidates)):
        return "candidate"
    return None


def _is_ice_text(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and _ICE_CHARS.fullmatch(text) is not None


# --- octets, big-endian ---------------------------------------------------------------------------
#
# DESCRIPTION
#  0  u8   version = 1
#  1  u8   setup << 6 | end-of-candidates << 5 | number of sections (1 to 16)
#            setup 0 actpass, 1 active, 2 passive
#  2  32   SHA-256 fingerprint
# 34  u8   n, 4 to 32
# 35  n    ufrag
#  .  u8   m, 22 to 64
#  .  m    pwd
#  .       sections (section.py)
#  .       candidates and notes, up to the end (ice/candidate.py, ice/notes.py)


def _encode(description: Description) -> bytes:
    ufrag, pwd = description.ufrag.encode("ascii"), description.pwd.encode("ascii")
    head = SETUPS.index(description.setup) << 6 | description.end_of_candidates << 5
    parts = [
        bytes([VERSION, head | len(description.sections)]),
        description.fingerprint,
        bytes([len(ufrag)]),
        ufrag,
        bytes([len(pwd)]),
        pwd,
    ]
    parts += [encode_section(index, section) for index, section in enumerate(description.sections)]
    parts.append(encode_candidates(description.candidates, description.notes))
    return b"".join(parts)


def decode_description_untrusted(data: bytes) -> Description:
    """What :meth:`Description.encode` made; raises :class:`Rejected` and nothing else, whatever the bytes.

    Lax on codec and extension codes it does not know (they are skipped) and on more candidates than
    ``CANDIDATES_MAX`` (the first are kept); strict on everything else.
    """
    if len(data) > DESCRIPTION_MAX:
        raise Rejected("size")
    octets = Octets(data)
    if octets.u8() != VERSION:
        raise Rejected("version")
    head = octets.u8()
    if head >> 6 >= len(SETUPS):
        raise Rejected("setup")
    fingerprint = octets.take(32)
    ufrag = text_untrusted(octets.take(octets.u8()), "ufrag")
    pwd = text_untrusted(octets.take(octets.u8()), "pwd")
    sections = tuple(read_section_untrusted(octets, index) for index in range(head & 31))
    candidates, notes = read_items_untrusted(octets)
    description = Description(
        ufrag=ufrag,
        pwd=pwd,
        fingerprint=fingerprint,
        setup=SETUPS[head >> 6],
        sections=sections,
        candidates=candidates,
        end_of_candidates=bool(head & 32),
        notes=notes,
    )
    if reason := flaw(description):
        raise Rejected(reason)
    return description


# --- offer and answer -----------------------------------------------------------------------------


def check_answer_untrusted(offer: Description, answer: Description) -> None:
    """Raise :class:`Rejected` unless ``answer`` answers ``offer`` (RFC 3264 section 6, RFC 8842 section 5.3).

    Same sections in the same order, one DTLS client, and nothing picked that was not offered.
    """
    if answer.setup == "actpass" or answer.setup == offer.setup:
        raise Rejected("setup")
    if [(section.kind, section.mid) for section in offer.sections] != [
        (section.kind, section.mid) for section in answer.sections
    ]:
        raise Rejected("sections")
    for asked, given in zip(offer.sections, answer.sections, strict=True):
        if given.rejected or given.kind == "application":
            continue
        if asked.rejected or (given.sends and not asked.receives) or (given.receives and not asked.sends):
            raise Rejected("direction")
        known = {(codec.payload_type, codec.type.code) for codec in asked.codecs}
        if not known >= {(codec.payload_type, codec.type.code) for codec in given.codecs}:
            raise Rejected("codec")
        if not set(asked.extensions) >= set(given.extensions):
            raise Rejected("extension")
