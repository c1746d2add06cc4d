"""Everything that reaches into aiortc or aioice where they have no public door.

Law 1: no module outside this package touches a private attribute or a global of theirs.
Law 2: each function says why it is needed; tests/aio/test_rtc_hooks.py fails when a library changes under it.
Law 3: a peer's octets end in a counter: nothing here lets an exception out for them.
"""

from meshcall.aio.rtc.hooks.arriving import take_rtp
from meshcall.aio.rtc.hooks.decoding import decode, get_decoder
from meshcall.aio.rtc.hooks.estimation import Estimation
from meshcall.aio.rtc.hooks.library import (
    AIOICE,
    AIORTC,
    decode_params,
    ice_by,
    install,
    original_decoder_worker,
    original_parse_message,
    parse_message,
)
from meshcall.aio.rtc.hooks.receiving import (
    packet_counts,
    packets_lost,
    prepare_pictures,
    prepare_sound,
    renew_receiver,
    stop_decoder,
    tap_receiver,
)
from meshcall.aio.rtc.hooks.reports import report_together
from meshcall.aio.rtc.hooks.rtp import send_by
from meshcall.aio.rtc.hooks.sending import begin_stream, codec_name, limit_repairs, place, tap_sender
from meshcall.aio.rtc.hooks.transport import (
    Counters,
    control_idle,
    dtls_transport,
    fingerprints,
    guard_dtls,
    guard_ice,
    guard_sctp,
    ice_connection,
    reported_gaps,
)

__all__ = [
    "AIOICE",
    "AIORTC",
    "Counters",
    "Estimation",
    "begin_stream",
    "codec_name",
    "control_idle",
    "decode",
    "decode_params",
    "dtls_transport",
    "fingerprints",
    "get_decoder",
    "guard_dtls",
    "guard_ice",
    "guard_sctp",
    "ice_by",
    "ice_connection",
    "install",
    "limit_repairs",
    "original_decoder_worker",
    "original_parse_message",
    "packet_counts",
    "packets_lost",
    "parse_message",
    "place",
    "prepare_pictures",
    "prepare_sound",
    "renew_receiver",
    "report_together",
    "reported_gaps",
    "send_by",
    "stop_decoder",
    "take_rtp",
    "tap_receiver",
    "tap_sender",
]
