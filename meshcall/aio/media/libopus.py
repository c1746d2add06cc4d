"""Opus with what FFmpeg leaves out: copies of lost packets, concealment, and an encoder that is told of loss
while it runs.

This is libopus's own interface, nine functions that have not changed since 2012. The library is the one that
comes with PyAV; without that, the system's. Where neither is found there is nothing here, and the caller does
it by FFmpeg.

Law: octets from the peer end in samples or in :class:`OpusError`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from meshcall.media import opus

CHANNELS: Final = 2
_LONGEST: Final = opus.RATE * 120 // 1000
_PACKET_MAX: Final = 4000
"""Octets that opus.h recommends for any packet."""
_VOIP: Final = 2048
_SET_BITRATE: Final = 4002
_SET_PACKET_LOSS: Final = 4014
_SETTINGS: Final = ((4006, 1), (4020, 1), (4010, 10), (4012, 1))
"""Variable rate, constrained; all the care that it can take; in-band FEC. Numbers of opus_defines.h."""
_PLACES: Final = ("../av.libs/libopus*", "../av.libs/opus*.dll", ".dylibs/libopus*")
"""Where the wheels of PyAV keep it on Linux, Windows and macOS, from the package's directory."""

_NAMES: Final = ("libopus.so.0", "libopus.0.dylib")
"""What the system's loader finds it by."""


class OpusError(ValueError):
    """What was given is no Opus packet."""


@cache
def available() -> bool:
    """Whether there is a libopus; looked for once."""
    return _library() is not None


class OpusDecoder:
    """One stream's decoder; not for two threads at once. Samples are 16 bits, stereo, interleaved."""

    def __init__(self) -> None:
        """Raises OSError where :func:`available` is False."""
        library = _library()
        if library is None:
            raise OSError("there is no libopus")
        self._decode = library.opus_decode
        self._destroy = library.opus_decoder_destroy
        error = ctypes.c_int()
        self._state = library.opus_decoder_create(opus.RATE, CHANNELS, ctypes.byref(error))
        if not self._state:
            raise OSError(f"libopus made no decoder: {error.value}")
        self._samples = ctypes.create_string_buffer(_LONGEST * CHANNELS * 2)
        self._size = library.opus_decoder_get_size(CHANNELS)
        self._kept: ctypes.Array[ctypes.c_char] | None = None

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._destroy(self._state)
            self._state = None

    def decode(self, data: bytes) -> bytes:
        """The sound of a packet; raises :class:`OpusError`."""
        if not data:
            raise OpusError("an empty packet")
        return self._run(data, _LONGEST, 0)

    def decode_previous(self, data: bytes, samples: int) -> bytes:
        """The sound of the packet before, from the copy in ``data``; without a copy it is concealed.

        ``samples``: its length, a multiple of 2.5 ms. Raises :class:`OpusError`.
        """
        return self._run(data, _whole(samples), 1)

    def conceal(self, samples: int) -> bytes:
        """``samples`` of sound (about; a multiple of 2.5 ms) in the place of what is missing."""
        return self._run(None, _whole(samples), 0)

    def keep(self) -> None:
        """Keep what it knows of the sound now. A decoder's state is whole in one piece of memory (opus.h)."""
        if self._kept is None:
            self._kept = ctypes.create_string_buffer(self._size)
        ctypes.memmove(self._kept, self._state, self._size)

    def go_back(self) -> None:
        """Forget what was decoded and concealed since :meth:`keep`."""
        assert self._kept is not None, "it was kept"
        ctypes.memmove(self._state, self._kept, self._size)

    def _run(self, data: bytes | None, room: int, previous: int) -> bytes:
        got = self._decode(self._state, data, len(data or b""), self._samples, room, previous)
        if got < 0:
            raise OpusError(f"libopus: error {got}")
        return ctypes.string_at(self._samples, got * CHANNELS * 2)


class OpusEncoder:
    """Of one stream; not for two threads at once. Samples are 16 bits, interleaved."""

    def __init__(self, channels: int, rate: int) -> None:
        """``rate``: bits a second. Raises OSError where :func:`available` is False."""
        library = _library()
        if library is None:
            raise OSError("there is no libopus")
        self._encode = library.opus_encode
        self._control = library.opus_encoder_ctl
        self._destroy = library.opus_encoder_destroy
        self._width = 2 * channels
        error = ctypes.c_int()
        self._state = library.opus_encoder_create(opus.RATE, channels, _VOIP, ctypes.byref(error))
        if not self._state:
            raise OSError(f"libopus made no encoder: {error.value}")
        self._packet = ctypes.create_string_buffer(_PACKET_MAX)
        for request, value in (*_SETTINGS, (_SET_BITRATE, rate)):
            self._set(request, value)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._destroy(self._state)
            self._state = None

    def expect_loss(self, percent: int) -> None:
        """So many packets of a hundred are lost."""
        self._set(_SET_PACKET_LOSS, percent)

    def encode(self, octets: bytes) -> bytes:
        """A packet of all these samples: 2.5 to 60 ms; raises :class:`OpusError`."""
        got = self._encode(self._state, octets, len(octets) // self._width, self._packet, _PACKET_MAX)
        if got < 0:
            raise OpusError(f"libopus: error {got}")
        return ctypes.string_at(self._packet, got)

    def _set(self, request: int, value: int) -> None:
        if self._control(self._state, request, ctypes.c_int(value)) < 0:
            raise OSError(f"libopus refuses {value} for {request}")


def _whole(samples: int) -> int:
    """The nearest length that libopus makes."""
    step = opus.RATE // 400
    return min(_LONGEST, max(step, round(samples / step) * step))


@cache
def _library() -> ctypes.CDLL | None:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            _declare(library)
        except (OSError, AttributeError):
            continue
        return library
    return None


def _candidates() -> Iterator[str]:
    package = importlib.util.find_spec("av")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
        for place in _PLACES:
            yield from (str(path.resolve()) for path in sorted(_glob(folder, place)))
    yield from _NAMES
    system = ctypes.util.find_library("opus")  # it runs ldconfig and gcc: where nothing else is left
    if system:
        yield system


def _glob(folder: Path, place: str) -> list[Path]:
    base = folder.parent if place.startswith("../") else folder
    return list(base.glob(place.removeprefix("../")))


def _declare(library: ctypes.CDLL) -> None:
    """Types of the functions of opus.h that are used; a library without them raises AttributeError."""
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_decoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    library.opus_decoder_get_size.restype = ctypes.c_int
    library.opus_decoder_get_size.argtypes = [ctypes.c_int]
    library.opus_decoder_destroy.restype = None
    library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
    library.opus_decode.restype = ctypes.c_int
    library.opus_decode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.opus_encoder_create.restype = ctypes.c_void_p
    library.opus_encoder_create.argtypes = [
        ctypes.c_int32,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_int),
    ]
    library.opus_encoder_destroy.restype = None
    library.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
    library.opus_encoder_ctl.restype = ctypes.c_int
    library.opus_encoder_ctl.argtypes = [ctypes.c_void_p, ctypes.c_int]  # and what depends on the request
    library.opus_encode.restype = ctypes.c_int32
    library.opus_encode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int32,
    ]
