"""What a peer connection costs to open: in a room that one comes into, all are opened at once.

Law: what comes out is what aiortc makes; it is made once, or when it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiortc.rtcrtpreceiver
from aiortc import RTCCertificate, RTCRtpCodecParameters
from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcdtlstransport import RTCDtlsFingerprint

original_get_fingerprints = RTCCertificate.getFingerprints


def open_cheaply() -> None:
    """Replace what takes long for every user of aiortc in this process; may be called again."""
    RTCRtpCodecParameters.__deepcopy__ = copy_codec  # type: ignore[attr-defined]
    RTCCertificate.getFingerprints = get_fingerprints  # type: ignore[assignment, method-assign]
    aiortc.rtcrtpreceiver.RemoteBitrateEstimator = LateEstimator  # type: ignore[attr-defined]


def copy_codec(codec: RTCRtpCodecParameters, memo: dict[int, Any]) -> RTCRtpCodecParameters:
    """For ``copy.deepcopy``, which takes 0.7 ms to find out what there is; a description has eight."""
    return replace(
        codec,
        rtcpFeedback=[replace(one) for one in codec.rtcpFeedback],
        parameters=dict(codec.parameters),
    )


def get_fingerprints(certificate: RTCCertificate) -> list[RTCDtlsFingerprint]:
    """The digests of a certificate, which aiortc asks for once in each section of each description."""
    kept: list[RTCDtlsFingerprint] | None = getattr(certificate, "_meshcall_fingerprints", None)
    if kept is None:
        kept = original_get_fingerprints(certificate)
        certificate._meshcall_fingerprints = kept  # type: ignore[attr-defined]
    return [replace(one) for one in kept]


class LateEstimator(RemoteBitrateEstimator):
    """Makes its thousand counters with the first packet: our receivers put another one in its place."""

    def __init__(self) -> None:
        self._begun = False

    def add(
        self, arrival_time_ms: int, abs_send_time: int, payload_size: int, ssrc: int
    ) -> tuple[int, list[int]] | None:
        """As the one of aiortc."""
        if not self._begun:
            self._begun = True
            super().__init__()
        return super().add(arrival_time_ms, abs_send_time, payload_size, ssrc)
