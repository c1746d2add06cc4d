"""Whatever of rooms strangers' octets or text reach: read or rejected, and what is written is read."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from meshcall import limits
from meshcall.discovery.rooms import (
    KEYS,
    RoomAnnouncement,
    decode_announcement_untrusted,
    name_key,
    read_pairs_untrusted,
    txt_pairs,
)
from meshcall.errors import InvalidRoom, Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.uri import clean_name
from meshcall.room import messages as m
from meshcall.room.codes import parse_code
from meshcall.room.descriptor import Room
from meshcall.room.entry import MediaFlags, peek_entry_untrusted, read_entry_untrusted, sign_entry
from meshcall.room.memory import Memory, decode_memory_untrusted
from meshcall.room.names import shown_names
from meshcall.room.statements import read_removal_untrusted, read_said_untrusted, read_setting_untrusted
from meshcall.room.uri import RoomInvite
from tests.unit.room.test_vectors import GOLDEN

SIGNERS = [SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 9)]
ROOM = Room.create(SIGNERS[0].peer_id, SIGNERS[0].sign, "deck 7", now_ms=0, random=lambda size: bytes(size))

signers = st.sampled_from(SIGNERS)
peers = signers.map(lambda key: key.peer_id)
names = st.text(max_size=80)
tags = st.binary(min_size=8, max_size=8)
ages = st.integers(0, 2**32 - 1)
entries = st.builds(
    lambda key, incarnation, seq, left, bits, name: sign_entry(
        key.peer_id, key.sign, ROOM.roster_key,
        incarnation=incarnation, seq=seq, left=left, flags=MediaFlags(*bits), name=name,
    ),
    signers, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.booleans(),
    st.tuples(*[st.booleans()] * 5), names,
)  # fmt: skip
letters = st.one_of(
    st.builds(m.Join, tags, names.map(clean_name), st.sampled_from([b"", bytes(16)])),
    st.builds(
        m.Welcome, tags, st.binary(max_size=187), st.binary(min_size=32, max_size=32),
        st.lists(peers, max_size=limits.ROOM_WELCOME_MEMBERS).map(tuple), st.sampled_from([b"", bytes(32)]),
    ),
    st.builds(m.Refused, tags, st.sampled_from(m.RefusedReason)),
    st.builds(m.Waiting, tags),
    st.builds(m.Pake, tags, st.integers(1, 99), st.sampled_from([1, 2]), st.binary(min_size=33, max_size=33)),
    st.builds(m.Pake, tags, st.integers(1, 99), st.just(3), st.binary(min_size=32, max_size=32)),
    st.builds(m.Here, tags, entries.map(lambda entry: entry.octets), st.booleans()),
    st.builds(m.Out, tags, st.binary(min_size=96, max_size=96)),
)  # fmt: skip
line_ids = st.lists(
    st.tuples(st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
    min_size=1, max_size=9,
).map(tuple)  # fmt: skip
messages = st.one_of(
    st.builds(
        m.Beat, entries.map(lambda entry: entry.octets),
        st.frozensets(st.binary(min_size=8, max_size=8), max_size=limits.ROOM_ENTRIES_MAX),
        st.binary(min_size=8, max_size=8),
    ),
    st.builds(
        m.Sync,
        st.lists(st.tuples(ages, entries.map(lambda e: e.octets)), max_size=4).map(tuple),
        st.lists(st.binary(min_size=105, max_size=105), max_size=3).map(tuple),
        st.lists(st.binary(min_size=96, max_size=96), max_size=3).map(tuple),
    ),
    st.builds(m.SaidLine, st.binary(min_size=109, max_size=400)),
    st.builds(m.KnockNote, peers, st.sampled_from(m.KnockState), names.map(clean_name)),
    st.builds(m.Has, line_ids), st.builds(m.Wants, line_ids),
    st.builds(
        m.Missed,
        st.lists(st.tuples(ages, st.binary(min_size=109, max_size=400)), min_size=1, max_size=4).map(tuple),
    ),
)  # fmt: skip
announcements = st.builds(
    lambda peer, name, now_ms, members, secret, locked, plate: RoomAnnouncement.of(
        ROOM.id, name, peer, now_ms, members=members, secret=secret, locked=locked, nameplate=plate
    ),
    peers, names.filter(clean_name), st.integers(0, 2**45), st.integers(1, 300), st.booleans(), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
SEEDS = [
    bytes.fromhex(text)
    for text in (
        *GOLDEN["letters"].values(), *GOLDEN["messages"].values(), *GOLDEN["announcements"].values(),
        GOLDEN["entry"], GOLDEN["setting"], GOLDEN["removal"], GOLDEN["said"], GOLDEN["memory"],
        GOLDEN["room"]["descriptor"],
    )
]  # fmt: skip


def _flipped(data: bytes, place: int, octet: int, cut: int) -> bytes:
    octets = bytearray(data)
    octets[place % len(octets)] = octet
    return bytes(octets[: len(octets) - cut % len(octets)])


octets_of_strangers = st.one_of(
    st.binary(max_size=700),
    st.builds(
        _flipped, st.sampled_from(SEEDS), st.integers(0, 600), st.integers(0, 255), st.sampled_from([0, 1])
    ),
    st.tuples(st.integers(1, 7).map(lambda kind: bytes([kind])), st.binary(max_size=300)).map(b"".join),
)  # fmt: skip


@given(letters)
def test_every_letter_reads_back_and_fits_a_sealed_message(letter: m.Letter) -> None:
    """With its tag in its place."""
    data = m.encode_letter(letter)
    assert len(data) <= limits.ROOM_LETTER_MAX
    assert m.decode_letter_untrusted(data) == letter
    assert m.letter_tag_untrusted(data) == letter.tag


@given(messages, st.integers(0, 2**40))
def test_every_message_reads_back(message: m.Sayable, said: int) -> None:
    """With when it was said, modulo 2^32."""
    data = m.encode_message(message, said)
    assert len(data) <= limits.ROOM_MESSAGE_MAX
    assert m.decode_message_untrusted(data) == (said % 2**32, message)


@given(st.integers(0, 64), st.integers(0, 256))
def test_a_whole_roster_goes_in_messages_that_fit(lines: int, removals: int) -> None:
    """However long it is, and nothing is left out."""
    parts = m.syncs([(0, bytes(179))] * lines, [bytes(105)], [bytes(96)] * removals)
    assert sum(len(part.entries) for part in parts) == lines
    assert sum(len(part.removals) for part in parts) == removals
    assert all(len(m.encode_message(part, 0)) <= limits.ROOM_BUNDLE + 200 for part in parts)


@given(st.lists(st.integers(109, 8300), max_size=40))
def test_lines_that_were_missed_go_in_messages_that_fit(sizes: list[int]) -> None:
    """However many they are, none is left out, and they keep their order."""
    lines = [(number, bytes(size)) for number, size in enumerate(sizes)]
    parts = m.missed(lines)
    assert [line for part in parts for line in part.lines] == lines
    assert all(m.decode_message_untrusted(m.encode_message(part, 7)) == (7, part) for part in parts)


@given(octets_of_strangers)
def test_any_octets_are_read_or_rejected(data: bytes) -> None:
    """By every reader; and what is read can be written."""
    with contextlib.suppress(Rejected):
        letter = m.decode_letter_untrusted(data)
        assert m.decode_letter_untrusted(m.encode_letter(letter)) == letter
    with contextlib.suppress(Rejected):
        said, message = m.decode_message_untrusted(data)
        if not isinstance(message, m.UnknownMessage):
            assert m.decode_message_untrusted(m.encode_message(message, said)) == (said, message)
    with contextlib.suppress(Rejected):
        announcement = decode_announcement_untrusted(data)
        assert announcement.encode() == data
        announcement.announcer_untrusted(name_key("deck 7"))
    for read in (read_setting_untrusted, read_removal_untrusted, read_said_untrusted):
        with contextlib.suppress(Rejected):
            read(data, ROOM)
    with contextlib.suppress(Rejected):
        peek_entry_untrusted(data)
        read_entry_untrusted(data, ROOM.roster_key)
    with contextlib.suppress(Rejected):
        Room.decode_untrusted(data, bytes.fromhex(GOLDEN["secret"]))
    decode_memory_untrusted(data)
    read_pairs_untrusted(dict.fromkeys(KEYS, data))


@given(entries)
def test_every_line_reads_back_and_no_changed_one_does(entry: object) -> None:
    """For any numbers, flags and names; one octet less is no line."""
    data = entry.octets  # type: ignore[attr-defined]
    assert read_entry_untrusted(data, ROOM.roster_key) == entry
    with contextlib.suppress(Rejected):
        read_entry_untrusted(data[:-1], ROOM.roster_key)
        raise AssertionError("that line is cut")


@given(announcements, announcements)
def test_every_announcement_reads_back(one: RoomAnnouncement, two: RoomAnnouncement) -> None:
    """And says who announces it to who knows the name, or sees the code's number."""
    assert decode_announcement_untrusted(one.encode()) == one
    pairs = txt_pairs([one, two])
    assert all(len(key) + 1 + len(text) < 256 for key, text in pairs)
    read = read_pairs_untrusted({key: text.encode() for key, text in pairs})
    assert read == ((one,) if one.tag == two.tag else (one, two))


@given(st.dictionaries(peers, names.map(clean_name), max_size=8))
def test_shown_names_differ_and_do_not_depend_on_order(called: dict[object, str]) -> None:
    """Whatever members call themselves."""
    shown = shown_names(called)  # type: ignore[arg-type]
    assert len({name.casefold() for name in shown.values()}) == len(called)
    backwards = dict(reversed(called.items()))
    assert shown_names(backwards) == shown  # type: ignore[arg-type]


@given(
    st.one_of(
        st.text(max_size=300),
        st.tuples(
            st.sampled_from([GOLDEN["uri"], GOLDEN["uri"].replace("?", "?x=1&"), "7-acorn-zebra"]),
            st.integers(0, 200), st.text(max_size=3),
        ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]),
    )
)  # fmt: skip
def test_any_text_is_a_link_or_a_code_or_refused(text: str) -> None:
    """And a link that is read is written so that it reads the same."""
    with contextlib.suppress(InvalidRoom):
        invite = RoomInvite.parse(text)
        assert RoomInvite.parse(invite.format()) == invite
    with contextlib.suppress(InvalidRoom):
        code = parse_code(text)
        assert parse_code(code) == code


@given(
    st.lists(peers, max_size=8, unique=True).map(tuple), st.lists(peers, max_size=8, unique=True).map(tuple)
)
def test_memory_reads_back(blocked: tuple[object, ...], members: tuple[object, ...]) -> None:
    """Whatever was in it."""
    memory = Memory((bytes(105),), (bytes(96),), blocked, members)  # type: ignore[arg-type]
    assert decode_memory_untrusted(memory.encode()) == memory
