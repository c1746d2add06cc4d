"""The code that one says aloud in the room: ``7-apple-river``.

Law 1: who hears the code gets in, once it has told by a key exchange (:mod:`meshcall.identity.pake`) that it
knows it; nobody learns a code by watching or by trying one on somebody.
Law 2: the number finds the member that made the code on a LAN; only the words are a secret, 16 bits.
Law 3: people say codes and type them: case, spaces and dashes make no difference, and a typing error gives
no other code (any two words differ in two letters at least).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from meshcall.discovery.rooms import NAMEPLATE_MAX
from meshcall.errors import InvalidRoom, LocalProtocolError
from meshcall.identity.keys import Random

_TEXT: Final = (
    "acorn agent alarm album amber anchor angel apple apron arrow autumn bacon badge bagel bamboo "
    "banjo barrel basket beaver berry bicycle bishop blanket blossom bottle branch bread bridge "
    "bronze bucket buffalo bulldog bundle butter cabin cactus camel candle canvas carbon carpet "
    "castle cedar celery cement chalk cherry chicken chimney cinema circus citrus clover cobalt "
    "coconut coffee comet compass copper coral cotton cousin cradle crayon cricket crystal cucumber "
    "cupboard curtain daisy dancer denim desert diamond dinner doctor dolphin donkey dragon drummer "
    "eagle easter eclipse elbow elephant engine envelope falcon farmer feather fiddle finger flamingo "
    "forest fossil fountain fox garlic gazelle giraffe glacier goblet gorilla granite guitar hammer "
    "hamster harbor harvest hazel hedgehog helmet hermit hockey honey hornet hunter iceberg igloo "
    "indigo insect island ivory jacket jaguar jasmine jelly jigsaw journal jungle kettle kidney "
    "kitchen kitten koala ladder lagoon lantern lemon leopard lettuce lobster lumber magenta magnet "
    "mammoth mango maple marble meadow melon mirror mosaic muffin museum mustard napkin needle nickel "
    "noodle nugget nutmeg oasis oatmeal ocean octopus olive onion opera orange orbit orchid otter "
    "oxygen oyster paddle palace panda paper parrot peanut pebble pelican pencil penguin pepper piano "
    "pickle pigeon pirate planet plum poem pony potato pumpkin puzzle quartz quilt rabbit radio "
    "rainbow raisin raven ribbon river robin rocket saffron sailor salmon sandal satin scooter shadow "
    "shovel silver skeleton sparrow spider spinach spoon squirrel statue sugar sunset tadpole teapot "
    "temple thunder tiger tomato tractor trolley trumpet tulip tunnel turtle umbrella unicorn vacuum "
    "valley velvet violin volcano waffle wagon walrus whistle willow window wizard yogurt zebra "
    "zipper zombie "
)

WORDS: Final = tuple(_TEXT.split())
"""256 short English words for things that can be seen."""

_WORDS: Final = frozenset(WORDS)
_SHAPE: Final = re.compile(r"\s*([0-9]{1,2})[\s-]+([A-Za-z]+)[\s-]+([A-Za-z]+)\s*")


def new_code(random: Random, taken: Collection[int] = ()) -> str:
    """A new code whose number is not ``taken`` on this LAN.

    Raises :class:`LocalProtocolError` when all 99 are.
    """
    free = [number for number in range(1, NAMEPLATE_MAX + 1) if number not in taken]
    if not free:
        raise LocalProtocolError("all numbers for codes are taken on this network: try again in ten minutes")
    place, first, second = int.from_bytes(random(4), "big"), random(1)[0], random(1)[0]
    return f"{free[place % len(free)]}-{WORDS[first]}-{WORDS[second]}"


def is_code(text: str) -> bool:
    """Whether ``text`` is meant as a code: a number and two of our words."""
    shape = _SHAPE.fullmatch(text)
    return shape is not None and {shape[2].lower(), shape[3].lower()} <= _WORDS


def parse_code(text: str) -> str:
    """The code that somebody typed, in its one spelling; raises :class:`InvalidRoom`."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or not int(shape[1]):
        raise InvalidRoom("a code is a number and two words, as in 7-apple-river")
    words = shape[2].lower(), shape[3].lower()
    for word in words:
        if word not in _WORDS:
            raise InvalidRoom(f"that code has a typing error: {word!r} is in no code")
    return f"{int(shape[1])}-{words[0]}-{words[1]}"


def nameplate_of(code: str) -> int:
    """The number in a code of :func:`parse_code` or :func:`new_code`."""
    return int(code.partition("-")[0])
