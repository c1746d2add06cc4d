"""What a TURN server's requests mean (RFC 8656 sections 7 to 12), once their sender is proven.

Law: a request is refused whole or granted whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from meshcall.address import Address
from meshcall.errors import Rejected
from meshcall.limits import (
    TURN_AGE_MAX,
    TURN_LIFETIME,
    TURN_LIFETIME_MAX,
    TURN_PEER_PORT_MIN,
)
from meshcall.stun.attributes import (
    encode_xor_address,
    failure,
    number_untrusted,
    success,
    unknown_attributes,
    xor_address_untrusted,
    xor_addresses_untrusted,
)
from meshcall.stun.message import AttributeType, Method, StunMessage
from meshcall.turn.allocation import CHANNELS_TAKEN, Allocation
from meshcall.turn.bandwidth import Bandwidth
from meshcall.turn.commands import Client
from meshcall.turn.policy import RelayPolicy

_UDP = 17
_FAMILIES = {1: 4, 2: 6}

IsOurs = Callable[[str], bool]
"""Whether a host is the relay's own machine, and nothing that is relayed."""


class Refusal(Exception):
    """Answer an authenticated request with this error."""

    def __init__(self, code: int, *attributes: tuple[int, bytes]) -> None:
        super().__init__(code)
        self.code = code
        self.attributes = attributes

    def answer(self, request: StunMessage) -> StunMessage:
        """The error response."""
        if self.code == 420 and not self.attributes:
            return unknown_attributes(request)
        return failure(request, self.code, *self.attributes)


def sender_of(client: Client) -> bytes:
    """Who is counted for it: an IPv4 address or an IPv6 /64."""
    return ip_address(client[0][0].partition("%")[0]).packed[:8]


class Requests:
    """Grants or refuses; raises :class:`Refusal`."""

    def __init__(self, policy: RelayPolicy) -> None:
        self._policy = policy

    def make_allocation(
        self,
        request: StunMessage,
        client: Client,
        user: str,
        relay: int,
        existing: Sequence[Allocation],
        now: float,
    ) -> Allocation:
        """The allocation that a request asks for."""
        transport = request.get(AttributeType.REQUESTED_TRANSPORT)
        if transport is None or len(transport) != 4:
            raise Refusal(400)
        if transport[0] != _UDP:
            raise Refusal(442)
        if request.get(AttributeType.DONT_FRAGMENT) is not None:
            listed = struct.pack("!H", AttributeType.DONT_FRAGMENT)
            raise Refusal(420, (AttributeType.UNKNOWN_ATTRIBUTES, listed))
        even = request.get(AttributeType.EVEN_PORT)
        if request.get(AttributeType.RESERVATION_TOKEN) is not None or (even and even[0] & 0x80):
            raise Refusal(508)  # no pairs of ports: RTP and RTCP share one (RFC 8834 section 4.5)
        family = _requested_family(request)
        lifetime = _lifetime(request)
        if len(existing) >= self._policy.allocations:
            raise Refusal(508)
        sender = sender_of(client)
        if sum(allocation.user == user for allocation in existing) >= self._policy.per_user:
            raise Refusal(486)
        if sum(sender_of(allocation.client) == sender for allocation in existing) >= self._policy.per_address:
            raise Refusal(486)
        return Allocation(
            client,
            user,
            relay,
            family,
            request.transaction_id,
            born=now,
            expires=now + lifetime,
            bandwidth=Bandwidth(self._policy.rate, now),
        )

    def allocated(
        self, allocation: Allocation, request: StunMessage, now: float, node_port: int
    ) -> StunMessage:
        """The success response to an Allocate request; ``node_port``: of this machine's node, 0 for none."""
        assert allocation.relayed is not None, "it was opened"
        tid = request.transaction_id
        node = ((AttributeType.MESHCALL_NODE, node_port.to_bytes(2, "big") + bytes(2)),) if node_port else ()
        return success(
            request,
            (AttributeType.XOR_RELAYED_ADDRESS, encode_xor_address(allocation.relayed, tid)),
            (AttributeType.LIFETIME, int(allocation.expires - now).to_bytes(4, "big")),
            (AttributeType.XOR_MAPPED_ADDRESS, encode_xor_address(allocation.client[0], tid)),
            *node,
        )

    def answer(
        self, request: StunMessage, allocation: Allocation | None, user: str, is_ours: IsOurs, now: float
    ) -> StunMessage:
        """The success response to any other request."""
        if allocation is None or allocation.relayed is None:
            raise Refusal(437)
        if allocation.user != user:
            raise Refusal(441)
        try:
            match request.method:
                case Method.REFRESH:
                    return self._refresh(request, allocation, now)
                case Method.CREATE_PERMISSION:
                    return self._create_permission(request, allocation, is_ours, now)
                case Method.CHANNEL_BIND:
                    return self._bind_channel(request, allocation, is_ours, now)
                case _:
                    raise Refusal(400)
        except Rejected:
            raise Refusal(400) from None

    def _refresh(self, request: StunMessage, allocation: Allocation, now: float) -> StunMessage:
        named = request.get(AttributeType.REQUESTED_ADDRESS_FAMILY) is not None
        if named and _requested_family(request) != allocation.family:
            raise Refusal(443)
        lifetime = _lifetime(request)
        if lifetime:
            lifetime = min(lifetime, int(allocation.born + TURN_AGE_MAX - now))
            if lifetime <= 0:
                raise Refusal(486)
        allocation.expires = now + lifetime
        return success(request, (AttributeType.LIFETIME, lifetime.to_bytes(4, "big")))

    def _create_permission(
        self, request: StunMessage, allocation: Allocation, is_ours: IsOurs, now: float
    ) -> StunMessage:
        peers = xor_addresses_untrusted(request, AttributeType.XOR_PEER_ADDRESS)
        if not peers:
            raise Refusal(400)
        for peer in peers:
            self._check_peer(peer, allocation, is_ours)
        if not allocation.permit([host for host, _ in peers], now):
            raise Refusal(508)
        return success(request)

    def _bind_channel(
        self, request: StunMessage, allocation: Allocation, is_ours: IsOurs, now: float
    ) -> StunMessage:
        number = number_untrusted(request, AttributeType.CHANNEL_NUMBER, 4)
        peer = xor_address_untrusted(request, AttributeType.XOR_PEER_ADDRESS)
        if number is None or number >> 16 not in CHANNELS_TAKEN or peer is None:
            raise Refusal(400)
        self._check_peer(peer, allocation, is_ours)
        if self.refuses_port(peer):
            raise Refusal(403)
        if not allocation.fits(number >> 16, peer, now):
            raise Refusal(400)
        if not allocation.bind(number >> 16, peer, now):
            raise Refusal(508)
        return success(request)

    def _check_peer(self, peer: Address, allocation: Allocation, is_ours: IsOurs) -> None:
        host = peer[0]
        if self._policy.refuses(host) or is_ours(host):
            raise Refusal(403)
        if (6 if ":" in host else 4) != allocation.family:
            raise Refusal(443)

    def refuses_port(self, peer: Address) -> bool:
        """Whether nothing is sent to that port."""
        return peer[1] < TURN_PEER_PORT_MIN


def _requested_family(request: StunMessage) -> int:
    wanted = request.get(AttributeType.REQUESTED_ADDRESS_FAMILY)
    if wanted is None:
        return 4
    family = _FAMILIES.get(wanted[0]) if len(wanted) == 4 else None
    if family is None:
        raise Refusal(440)
    return family


def _lifetime(request: StunMessage) -> int:
    """Seconds that a request asks for; 0 only where it says so."""
    try:
        asked = number_untrusted(request, AttributeType.LIFETIME, 4)
    except Rejected:
        raise Refusal(400) from None
    if asked is None:
        return TURN_LIFETIME
    return asked and min(max(asked, TURN_LIFETIME), TURN_LIFETIME_MAX)
