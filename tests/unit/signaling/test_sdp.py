"""SDP text: read from our own stacks, rebuilt from a description, with no way to add a line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.signaling.codecs import H264, OPUS, VP8, Codec
from meshcall.signaling.description import Description, Section, decode_description_untrusted
from meshcall.signaling.sdp import from_sdp, sources_of, to_sdp

VECTORS: dict[str, dict[str, Any]] = {
    vector["name"]: vector
    for vector in json.loads((Path(__file__).parents[2] / "vectors" / "description.json").read_text())[
        "vectors"
    ]
}
LINE = re.compile(r"[vostcma]=[A-Za-z0-9 :/=;.,*+_-]+")
AUDIO = Section("audio", "0", codecs=(Codec(OPUS, 111, None, 1),), ssrcs=(1,))
VIDEO = Section("video", "1", codecs=(Codec(VP8, 96, 97),), ssrcs=(2, 3))
DESCRIPTION = Description("ufra", "p" * 22, bytes(range(32)), "actpass", (AUDIO, VIDEO))


def text_of(name: str) -> str:
    return "\r\n".join(VECTORS[name]["sdp"]) + "\r\n"


@pytest.mark.parametrize("name", list(VECTORS))
def test_text_of_real_stacks_gives_the_golden_octets(name: str) -> None:
    """aiortc's and Chromium's own text packs to the octets of the vector."""
    assert from_sdp(text_of(name)).encode().hex() == VECTORS[name]["hex"]


@pytest.mark.parametrize("name", list(VECTORS))
def test_rebuilt_text_says_the_same(name: str) -> None:
    """Text rebuilt from the octets, read again, is the same description."""
    description = decode_description_untrusted(bytes.fromhex(VECTORS[name]["hex"]))
    text = to_sdp(description, VECTORS[name]["type"])
    assert from_sdp(text) == description
    assert text.endswith("\r\n")
    assert all(LINE.fullmatch(line) for line in text[:-2].split("\r\n"))


@pytest.mark.parametrize("name", list(VECTORS))
def test_rebuilt_text_keeps_what_the_peer_will_send(name: str) -> None:
    """Credentials, fingerprint, mids, payload types in use, extension ids and SSRCs are the original ones."""
    original = set(VECTORS[name]["sdp"])
    rebuilt = to_sdp(from_sdp(text_of(name))).splitlines()
    for prefix in ("a=ice-ufrag", "a=ice-pwd", "a=mid", "a=extmap", "a=rtpmap", "a=ssrc-group", "a=setup"):
        lines = [line for line in rebuilt if line.startswith(prefix)]
        assert set(lines) <= original, prefix
    assert next(line for line in rebuilt if line.startswith("a=fingerprint:sha-256")) in original


def test_a_browser_can_tell_the_camera_from_the_screen() -> None:
    """Microphone and camera share a stream, the screen has its own."""
    microphone, camera, screen, _ = from_sdp(text_of("chromium-offer-screen")).sections
    assert (microphone.stream, camera.stream, screen.stream) == (0, 0, 1)
    assert "a=msid:meshcall-1 track-2" in to_sdp(from_sdp(text_of("chromium-offer-screen")))


def test_codecs_outside_the_profile_are_left_out() -> None:
    """Of Chromium's offer, VP8 and H.264 constrained baseline in mode 1 stay, with their payload types."""
    video = from_sdp(text_of("chromium-offer")).sections[1]
    assert [codec.type for codec in video.codecs] == [VP8, H264]
    assert all(codec.rtx == codec.payload_type + 1 for codec in video.codecs)


def test_active_tcp_candidates_are_left_out() -> None:
    """Nobody can connect to them (RFC 6544)."""
    assert "tcptype active" in text_of("chromium-offer")
    assert {candidate.transport for candidate in from_sdp(text_of("chromium-offer")).candidates} == {"udp"}


def test_the_caller_may_end_the_candidates() -> None:
    """Chromium writes no end-of-candidates line, so whoever saw gathering end says so."""
    assert not from_sdp(text_of("chromium-offer")).end_of_candidates
    assert from_sdp(text_of("chromium-offer"), end_of_candidates=True).end_of_candidates
    assert from_sdp(text_of("aiortc-offer")).end_of_candidates
    assert "a=end-of-candidates" in to_sdp(from_sdp(text_of("chromium-offer"), end_of_candidates=True))


def test_every_section_carries_the_candidates() -> None:
    """aiortc applies the candidates of the last bundled section."""
    text = to_sdp(from_sdp(text_of("aiortc-offer")))
    sections = text.split("m=")[1:]
    assert len(sections) == 3
    assert all(section.count("a=candidate:") == 2 for section in sections)


def test_a_section_that_does_not_send_names_no_source() -> None:
    """SSRCs and msid belong to what is sent."""
    quiet = replace(DESCRIPTION, sections=(replace(VIDEO, mid="0", direction="recvonly"),))
    text = to_sdp(quiet)
    assert "a=recvonly" in text
    assert "ssrc" not in text
    assert "a=msid:" not in text


def test_a_browser_goes_on_hearing_of_a_source_that_sends_no_more() -> None:
    """Until another one takes its place, or its number; a section that never sent names none."""
    first = replace(DESCRIPTION, sections=(AUDIO, VIDEO))
    stopped = replace(DESCRIPTION, sections=(AUDIO, replace(VIDEO, direction="inactive", ssrcs=())))
    told = sources_of(first, {})
    for _ in range(2):
        told = sources_of(stopped, told)
        video = to_sdp(stopped, silent=told).split("m=video")[1]
        assert "a=ssrc-group:FID 2 3\r\na=ssrc:2 " in video
        assert "a=msid:" not in video, "it has no track"
    assert from_sdp(to_sdp(stopped, silent=told)).sections[1].ssrcs == ()
    anew = replace(DESCRIPTION, sections=(AUDIO, replace(VIDEO, ssrcs=(7, 8))))
    assert sources_of(anew, told) == {"0": (1,), "1": (7, 8)}
    taken = replace(stopped, sections=(replace(AUDIO, ssrcs=(3,)), stopped.sections[1]))
    assert sources_of(taken, told) == {"0": (3,), "1": ()}
    assert "m=video" in to_sdp(taken, silent=sources_of(taken, told))
    assert sources_of(stopped, {}) == {"0": (1,), "1": ()}


def test_transport_cc_feedback_only_with_its_extension() -> None:
    """A stack that does not number packets must not be asked for their arrival times."""
    assert "transport-cc" not in to_sdp(from_sdp(text_of("aiortc-offer")))
    assert "a=rtcp-fb:96 transport-cc" in to_sdp(from_sdp(text_of("chromium-offer")))


def test_a_rejected_section_is_read_and_written() -> None:
    """Port zero, outside the bundle; a section that was rejected for lack of codecs still has a format."""
    both = to_sdp(replace(DESCRIPTION, sections=(AUDIO, replace(VIDEO, rejected=True))))
    assert "a=group:BUNDLE 0\r\n" in both
    assert "m=video 0 " in both
    assert from_sdp(both).sections[1].rejected
    stripped = re.sub(r"a=(rtpmap|fmtp|rtcp-fb):9[67][^\r]*\r\n", "", both)
    assert from_sdp(stripped).sections[1].codecs == (Codec(VP8, 96),)


def test_bundle_only_is_not_rejection() -> None:
    """RFC 9429 writes port zero with bundle-only in max-bundle offers."""
    text = (
        to_sdp(DESCRIPTION).replace("m=video 9", "m=video 0").replace("a=mid:1", "a=mid:1\r\na=bundle-only")
    )
    assert not from_sdp(text).sections[1].rejected


def test_an_answer_must_choose_a_dtls_role() -> None:
    """aiortc and browsers refuse such an answer with errors of many kinds; we with one."""
    with pytest.raises(Rejected, match="setup"):
        to_sdp(DESCRIPTION, "answer")
    assert "a=setup:actpass" in to_sdp(DESCRIPTION, "offer")
    assert "a=setup:passive" in to_sdp(replace(DESCRIPTION, setup="passive"), "answer")


@pytest.mark.parametrize(
    "change",
    [{"ufrag": "abcd\r\na=x:y"}, {"pwd": "p" * 22 + "\n"}, {"sections": (replace(AUDIO, mid="0\na=x"),)}],
)
def test_a_value_made_by_hand_cannot_add_a_line_either(change: dict[str, Any]) -> None:
    """The charset is checked again where the text is made."""
    with pytest.raises(Rejected):
        to_sdp(replace(DESCRIPTION, **change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\r\n",
        text_of("aiortc-offer").replace("a=ice-pwd", "a=x"),
        text_of("aiortc-offer").replace("a=ice-ufrag", "a=x"),
        text_of("aiortc-offer").replace("fingerprint:sha-256", "fingerprint:sha-1"),
        text_of("aiortc-offer").replace("a=setup", "a=x"),
        text_of("data-only").replace("m=application", "m=message"),
        re.sub("m=(audio|video|application) [0-9]+", r"m=\1 0", text_of("aiortc-offer")),
    ],
    ids=[
        "empty",
        "no-media",
        "no-pwd",
        "no-ufrag",
        "weak-fingerprint",
        "no-setup",
        "other-media",
        "all-rejected",
    ],
)
def test_text_that_lacks_something_is_a_value_error(text: str) -> None:
    """Our own stack failing us is an error of ours, found before anything is sent."""
    with pytest.raises(ValueError):
        from_sdp(text)
