"""What is cheaper than aiortc's own when a connection is opened is the same."""

from __future__ import annotations

import copy

import pytest
from aiortc import RTCCertificate, RTCPeerConnection
from aiortc.codecs import CODECS
from aiortc.rate import RemoteBitrateEstimator

from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.hooks import opening
from meshcall.aio.rtc.hooks.private import get_private


@pytest.fixture(autouse=True)
def installed() -> None:
    """As in every process that makes endpoints."""
    hooks.install()


def test_copies_of_codecs_are_equal_and_share_nothing_that_is_written() -> None:
    """aiortc overwrites the payload type and the feedback of the copy."""
    for codec in [*CODECS["audio"], *CODECS["video"]]:
        made = copy.deepcopy(codec)
        assert made == codec
        made.payloadType = 127
        made.rtcpFeedback.clear()
        made.parameters["apt"] = 1
        assert made != codec
    assert any(codec.rtcpFeedback for codec in CODECS["video"]), "else nothing was tried"


def test_fingerprints_are_those_of_the_certificate_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that somebody changes is not the next one's."""
    certificate = RTCCertificate.generateCertificate()
    wanted = opening.original_get_fingerprints(certificate)
    first = certificate.getFingerprints()
    assert first == wanted
    first.pop().value = "00"
    monkeypatch.setattr(opening, "original_get_fingerprints", None)
    assert certificate.getFingerprints() == wanted


async def test_the_estimator_is_made_with_the_first_packet() -> None:
    """And says what aiortc's says; a receiver of pictures gets this one."""
    pc = RTCPeerConnection()
    receiver = pc.addTransceiver("video").receiver
    late = get_private(receiver, "_RTCRtpReceiver__remote_bitrate_estimator")
    assert isinstance(late, opening.LateEstimator)
    assert not hasattr(late, "incoming_bitrate")
    await pc.close()
    stock = RemoteBitrateEstimator()
    for number in range(2000):
        packet = 3 * number, (number * 3 * 262) & 0xFFFFFF, 1100, 7
        assert late.add(*packet) == stock.add(*packet)
    assert late.incoming_bitrate.rate(6000) == stock.incoming_bitrate.rate(6000)
