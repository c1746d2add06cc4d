"""Structure-aware mutation: bits, cuts, splices, length fields, insertions; one to four of them at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
MSGPACK_HEADS = bytes.fromhex("808f909fa0c0c1c4c5c6c9cbcfd3dbdddf")
"""First octets of values: maps, arrays, text, nil, octets, extensions, floats, 64-bit integers."""

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _flip(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 40)]


def _insert(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 40))


def _repeat(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 64)]
    data[start:start] = piece * rng.randrange(1, 5)


def _overwrite(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    data[start : start + 8] = rng.randbytes(8)


def _octet(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """An octet, likely a length or a kind, becomes an extreme one or its neighbour."""
    at = rng.randrange(min(len(data), rng.choice((4, 16, 64, 2000))))
    data[at] = rng.choice((*INTERESTING, (data[at] + 1) & 255, (data[at] - 1) & 255))


def _length(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Two or four octets become a length that does not fit."""
    size = rng.choice((2, 4))
    value = rng.choice(
        (0, 1, len(data) - 1, len(data), len(data) + 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1))
    )
    at = rng.randrange(len(data))
    data[at : at + size] = value.to_bytes(size, "big")


def _head(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A MessagePack value changes its type."""
    data[rng.randrange(min(len(data), 40))] = rng.choice(MSGPACK_HEADS)


def _nest(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Arrays in arrays, as deep as fits."""
    at = rng.randrange(len(data))
    data[at:at] = bytes([rng.choice((0x91, 0x81))]) * rng.randrange(1, 1200)


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def _transplant(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A piece of another input, at the place where it stood there."""
    other = rng.choice(others)
    start = rng.randrange(min(len(data), len(other)))
    end = start + rng.randrange(1, 64)
    data[start:end] = other[start:end]


MUTATIONS: tuple[Mutation, ...] = (
    _flip, _cut, _remove, _insert, _repeat, _overwrite, _octet, _octet, _length, _length, _head, _nest,
    _splice, _transplant,
)  # fmt: skip


def mutate(rng: random.Random, seed: bytes, others: Sequence[bytes]) -> bytes:
    """``seed`` changed once to four times; ``others`` of its target lend pieces. Now and then it is noise."""
    if rng.random() < 0.02:
        return seed[: rng.randrange(3)] + rng.randbytes(rng.randrange(1400))
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if not data:
            break
        rng.choice(MUTATIONS)(rng, data, others)
    return bytes(data)
