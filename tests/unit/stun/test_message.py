"""STUN messages: the test vectors of RFC 5769, and what is refused."""

from __future__ import annotations

import pytest

from meshcall.errors import Rejected
from meshcall.limits import STUN_ATTRIBUTES_MAX, STUN_SIZE_MAX
from meshcall.stun.attributes import (
    decode_address_untrusted,
    encode_address,
    encode_xor_address,
    error_untrusted,
    failure,
    number_untrusted,
    success,
    text_untrusted,
    unknown_attributes,
    xor_address_untrusted,
)
from meshcall.stun.message import (
    AttributeType,
    MessageClass,
    Method,
    StunMessage,
    decode_stun_untrusted,
    is_stun,
)
from meshcall.stun.responder import answer_binding
from meshcall.turn.credentials import Credentials

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TID = bytes(range(12))

# RFC 5769 section 2.1: a request of an ICE check
REQUEST = bytes.fromhex(
    "00010058 2112a442 b7e7a701bc34d686fa87dfae"
    "80220010 5354554e207465737420636c69656e74"
    "00240004 6e0001ff"
    "80290008 932ff9b151263b36"
    "00060009 6576746a3a68367659202020"
    "00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004 e57a3bcf"
)
# RFC 5769 section 2.2: its answer, IPv4
RESPONSE4 = bytes.fromhex(
    "0101003c 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004 c07d4c96"
)
# RFC 5769 section 2.3: its answer, IPv6
RESPONSE6 = bytes.fromhex(
    "01010048 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004 c8fb0b4c"
)
# RFC 5769 section 2.4: a request with long-term credentials
LONG_TERM = bytes.fromhex(
    "00010060 2112a442 78ad3433c6ad72c029da412e"
    "00060012 e3839ee38388e383aae38383e382afe382b90000"
    "0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b 6578616d706c652e6f726700"
    "00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def test_the_long_term_request_of_rfc_5769_is_understood() -> None:
    """Username, realm and nonce; the key is that of TURN's credentials (password after SASLprep)."""
    message = decode_stun_untrusted(LONG_TERM)
    username = text_untrusted(message, AttributeType.USERNAME, 512)
    assert username == "マトリックス"
    assert text_untrusted(message, AttributeType.REALM, 128) == "example.org"
    assert message.get(AttributeType.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.has_integrity(Credentials(username, "TheMatrIX").key("example.org"))
    assert not message.has_integrity(Credentials(username, "TheMatrix").key("example.org"))


def test_the_request_of_rfc_5769_is_understood() -> None:
    """Its attributes, its integrity and its fingerprint are what the RFC says."""
    message = decode_stun_untrusted(REQUEST)
    assert (message.method, message.kind) == (Method.BINDING, MessageClass.REQUEST)
    assert text_untrusted(message, AttributeType.USERNAME, 512) == "evtj:h6vY"
    assert number_untrusted(message, AttributeType.PRIORITY, 4) == 0x6E0001FF
    assert number_untrusted(message, AttributeType.ICE_CONTROLLED, 8) == 0x932FF9B151263B36
    assert message.has_integrity(PASSWORD)
    assert not message.has_integrity(PASSWORD + b"x")


@pytest.mark.parametrize(
    ("data", "address"),
    [(RESPONSE4, ("192.0.2.1", 32853)), (RESPONSE6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_answers_of_rfc_5769_are_understood(data: bytes, address: tuple[str, int]) -> None:
    """The mapped address is unmasked with cookie and transaction id."""
    message = decode_stun_untrusted(data)
    assert message.kind is MessageClass.SUCCESS
    assert xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS) == address
    assert message.has_integrity(PASSWORD)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("kind", list(MessageClass))
@pytest.mark.parametrize("key", [None, b"key"])
def test_what_is_encoded_is_decoded(method: Method, kind: MessageClass, key: bytes | None) -> None:
    """Every method and class, with and without integrity, with values of every padding."""
    values = tuple((0x8100 + size, bytes(range(size))) for size in range(6))
    message = StunMessage(method, kind, TID, values)
    for fingerprint in (True, False):
        decoded = decode_stun_untrusted(message.encode(key, fingerprint=fingerprint))
        assert decoded == message
        assert decoded.has_integrity(b"key") is (key is not None)
        assert is_stun(message.encode(key))


def test_every_flipped_bit_is_noticed() -> None:
    """No bit of a message with integrity can change so that it says something else.

    A flip in the fingerprint's own type leaves a message without one, which says the same.
    """
    original = decode_stun_untrusted(REQUEST)
    unseen = 0
    for position in range(len(REQUEST) * 8):
        data = bytearray(REQUEST)
        data[position // 8] ^= 1 << position % 8
        try:
            message = decode_stun_untrusted(bytes(data))
        except Rejected:
            continue
        if message.has_integrity(PASSWORD):
            assert message == original
            assert len(REQUEST) - 8 <= position // 8 < len(REQUEST) - 6
            unseen += 1
    assert unseen <= 16


def test_what_follows_the_integrity_is_not_seen() -> None:
    """Somebody on the path can't add attributes; the integrity before them still holds."""
    message = StunMessage(Method.BINDING, MessageClass.REQUEST, TID, ((AttributeType.PRIORITY, bytes(4)),))
    data = message.encode(b"key", fingerprint=False)
    forged = data[:2] + (len(data) - 20 + 4).to_bytes(2, "big") + data[4:] + bytes.fromhex("00250000")
    decoded = decode_stun_untrusted(forged)
    assert decoded.get(AttributeType.USE_CANDIDATE) is None
    assert decoded.has_integrity(b"key")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "size"),
        (REQUEST[:19], "size"),
        (bytes(STUN_SIZE_MAX + 4), "size"),
        (b"\x40" + REQUEST[1:], "stun"),
        (REQUEST[:4] + b"\0" + REQUEST[5:], "stun"),
        (REQUEST[:-4], "stun"),
        (REQUEST + bytes(4), "stun"),
        (b"\x00\x02" + REQUEST[2:], "method"),
        (REQUEST[:-1] + b"\0", "fingerprint"),
        (bytes.fromhex("00010004 2112a442") + TID + bytes.fromhex("80220001"), "stun"),
        (bytes.fromhex("00010008 2112a442") + TID + bytes.fromhex("8028000400000000"), "fingerprint"),
        (bytes.fromhex("00010008 2112a442") + TID + bytes.fromhex("0008000400000000"), "stun"),
    ],
)
def test_malformed_messages_are_refused(data: bytes, reason: str) -> None:
    """Each flaw has its word, and none gets past."""
    with pytest.raises(Rejected, match=f"^{reason}$"):
        decode_stun_untrusted(data)


def test_a_message_of_many_attributes_is_refused() -> None:
    """Empty attributes can't make a datagram expensive."""
    most = StunMessage(Method.BINDING, MessageClass.REQUEST, TID, ((0x8100, b""),) * STUN_ATTRIBUTES_MAX)
    assert len(decode_stun_untrusted(most.encode(fingerprint=False)).attributes) == STUN_ATTRIBUTES_MAX
    more = StunMessage(
        Method.BINDING, MessageClass.REQUEST, TID, ((0x8100, b""),) * (STUN_ATTRIBUTES_MAX + 1)
    )
    with pytest.raises(Rejected, match="stun"):
        decode_stun_untrusted(more.encode(fingerprint=False))


@pytest.mark.parametrize("value", [b"", bytes(4), bytes(7), b"\0\1\0\0" + bytes(16), b"\0\3\0\0" + bytes(4)])
def test_values_of_a_wrong_layout_are_refused(value: bytes) -> None:
    """An address has its family's size; nothing else is guessed."""
    message = StunMessage(
        Method.BINDING, MessageClass.SUCCESS, TID, ((AttributeType.XOR_MAPPED_ADDRESS, value),)
    )
    with pytest.raises(Rejected, match="attribute"):
        xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS)
    with pytest.raises(Rejected, match="attribute"):
        decode_address_untrusted(value)


def test_numbers_texts_and_errors_of_a_wrong_layout_are_refused() -> None:
    """Each raises the one exception of parsers."""
    message = StunMessage(
        Method.BINDING,
        MessageClass.ERROR,
        TID,
        (
            (AttributeType.PRIORITY, bytes(3)),
            (AttributeType.USERNAME, b"\xff"),
            (AttributeType.REALM, b"abc"),
        ),
    )
    with pytest.raises(Rejected):
        number_untrusted(message, AttributeType.PRIORITY, 4)
    with pytest.raises(Rejected):
        text_untrusted(message, AttributeType.USERNAME, 512)
    with pytest.raises(Rejected):
        text_untrusted(message, AttributeType.REALM, 2)
    with pytest.raises(Rejected):
        error_untrusted(message)
    assert number_untrusted(message, AttributeType.LIFETIME, 4) is None
    assert text_untrusted(message, AttributeType.NONCE, 100) is None
    assert xor_address_untrusted(message, AttributeType.XOR_PEER_ADDRESS) is None


def test_addresses_survive() -> None:
    """In clear and masked, both families; the scope of a link-local address does not travel."""
    for address in (("192.0.2.1", 1), ("2001:db8::1", 65535)):
        assert decode_address_untrusted(encode_address(address)) == address
        value = encode_xor_address(address, TID)
        message = StunMessage(
            Method.BINDING, MessageClass.SUCCESS, TID, ((AttributeType.XOR_MAPPED_ADDRESS, value),)
        )
        assert xor_address_untrusted(message, AttributeType.XOR_MAPPED_ADDRESS) == address
    assert decode_address_untrusted(encode_address(("fe80::1%eth0", 5))) == ("fe80::1", 5)


def test_answers_repeat_the_transaction() -> None:
    """Method and id are the request's; the error code is told."""
    request = StunMessage(Method.ALLOCATE, MessageClass.REQUEST, TID)
    good = success(request, (AttributeType.LIFETIME, bytes(4)))
    assert (good.method, good.kind, good.transaction_id) == (Method.ALLOCATE, MessageClass.SUCCESS, TID)
    assert error_untrusted(decode_stun_untrusted(failure(request, 486).encode())) == 486


def test_a_node_tells_a_peer_its_address() -> None:
    """A plain Binding request is answered with its source, and with nothing that is much longer."""
    request = StunMessage(Method.BINDING, MessageClass.REQUEST, TID)
    for source in (("198.51.100.7", 4321), ("2001:db8::7", 4321)):
        reply = answer_binding(request, source, size=20)
        assert reply is not None
        assert len(reply) <= 3 * 20
        answer = decode_stun_untrusted(reply)
        assert answer.transaction_id == TID
        assert xor_address_untrusted(answer, AttributeType.XOR_MAPPED_ADDRESS) == source


def test_only_binding_requests_are_answered() -> None:
    """Responses and indications are not, and what is not understood gets error 420."""
    for kind in (MessageClass.INDICATION, MessageClass.SUCCESS, MessageClass.ERROR):
        assert answer_binding(StunMessage(Method.BINDING, kind, TID), ("192.0.2.1", 1), size=20) is None
    allocate = StunMessage(Method.ALLOCATE, MessageClass.REQUEST, TID)
    assert answer_binding(allocate, ("192.0.2.1", 1), size=20) is None
    strange = StunMessage(Method.BINDING, MessageClass.REQUEST, TID, ((0x7001, b""), (0x7002, b"")))
    reply = answer_binding(strange, ("192.0.2.1", 1), size=28)
    assert reply is not None
    answer = decode_stun_untrusted(reply)
    assert error_untrusted(answer) == 420
    assert answer.get(AttributeType.UNKNOWN_ATTRIBUTES) == bytes.fromhex("70017002")
    assert unknown_attributes(strange).kind is MessageClass.ERROR


@pytest.mark.parametrize(
    "wanted",
    [(0x0003, bytes.fromhex("00000006")), (0x0027, bytes.fromhex("115c0000")), (0x0002, bytes(8))],
)
def test_an_answer_comes_from_where_it_was_asked_for_and_goes_to_who_asked(wanted: tuple[int, bytes]) -> None:
    """CHANGE-REQUEST, RESPONSE-PORT and RESPONSE-ADDRESS are not understood: 420, to the source."""
    request = StunMessage(Method.BINDING, MessageClass.REQUEST, TID, (wanted,))
    reply = answer_binding(request, ("192.0.2.1", 1), size=28)
    assert reply is not None
    answer = decode_stun_untrusted(reply)
    assert error_untrusted(answer) == 420
    assert answer.get(AttributeType.UNKNOWN_ATTRIBUTES) == wanted[0].to_bytes(2, "big")
