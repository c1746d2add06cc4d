"""PCP at one gateway (RFC 6887)."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from meshcall.errors import Rejected
from meshcall.portmap import pcp
from meshcall.portmap.datagram_attempt import DatagramAttempt
from meshcall.portmap.mapping import Gateway, Mapping, Protocol, Service
from meshcall.portmap.requests import Random

_WORDS = {
    pcp.Result.UNSUPP_VERSION: "another version",
    pcp.Result.NOT_AUTHORIZED: "not allowed",
    pcp.Result.UNSUPP_OPCODE: "no mappings",
    pcp.Result.UNSUPP_PROTOCOL: "no mappings of this protocol",
    pcp.Result.NETWORK_FAILURE: "no external address",
    pcp.Result.NO_RESOURCES: "no room",
    pcp.Result.USER_EX_QUOTA: "too many mappings of ours",
    pcp.Result.CANNOT_PROVIDE_EXTERNAL: "no such external port",
    pcp.Result.ADDRESS_MISMATCH: "a NAT before it",
}


class PcpAttempt(DatagramAttempt):
    """MAP at once: one round trip."""

    protocol: ClassVar[Protocol] = "pcp"

    def __init__(
        self,
        gateway: Gateway,
        services: tuple[Service, ...],
        lifetime: int,
        random: Random,
        *,
        secret: bytes,
    ) -> None:
        """``secret``: what our nonces are made of; the same after a restart, so that mappings stay ours."""
        super().__init__(gateway, services, lifetime, random)
        self._secret = secret

    def start(self, now: float) -> None:
        """Ask for the mappings: a gateway that does not speak PCP says so, or nothing."""
        self.failure = ""
        self.map(now)

    def ask(self, service: Service, now: float) -> None:
        """Ask for a mapping, for the same external address and port as before if there was one."""
        mapping = self.mappings.get(service)
        octets = pcp.encode_map_request(
            self.gateway.local,
            self._nonce(service),
            service.transport,
            service.port,
            lifetime=self.lifetime,
            external=mapping.external if mapping else None,
        )
        self._requests.send(("map", service), octets, now)

    def give_back(self, service: Service, mapping: Mapping, now: float) -> None:
        """Ask that a mapping is removed."""
        self._requests.answered(("map", service))
        octets = pcp.encode_map_request(
            self.gateway.local, self._nonce(service), service.transport, service.port, lifetime=0
        )
        self._requests.send(("remove", service), octets, now)

    def receive(self, answer: pcp.Answer, now: float) -> None:
        """What the gateway answers; raises :class:`Rejected` for what nobody asked."""
        match answer:
            case pcp.Unsupported():
                self.unsupported()
            case pcp.Announcement(epoch):
                if not self._requests.answered("look"):
                    raise Rejected("unasked")
                if self._epoch.is_lost(epoch, now):
                    self.lost(now)
            case pcp.Failure():
                self._refused(answer)
            case pcp.Mapped():
                self._mapped(answer, now)

    def _look(self, now: float) -> None:
        self._requests.send("look", pcp.encode_announce_request(self.gateway.local), now)

    def _mapped(self, answer: pcp.Mapped, now: float) -> None:
        service = Service(answer.transport, answer.internal_port)
        if answer.nonce != self._nonce(service):
            raise Rejected("nonce")
        self.heard = True
        lost = self._epoch.is_lost(answer.epoch, now)
        if self._requests.answered(("remove", service)):
            return
        if self._released or service not in self.services:
            raise Rejected("unasked")
        self._requests.answered(("map", service))
        if answer.result != pcp.Result.SUCCESS:
            self._failed(service, _words(answer.result), answer.lifetime)
        elif answer.lifetime == 0:
            self._failed(service, "removed")  # an operator did that; or it is the answer to an old request
        else:
            self._granted(service, (answer.address, answer.external_port), answer.lifetime, now)
            self._plan_look(now)
            if lost:
                others = [one for one in self.mappings if one != service]
                for one in others:
                    self.ask(one, now)

    def _refused(self, answer: pcp.Failure) -> None:
        """It has no nonce, so it takes no mapping away."""
        self._requests.answered("look")
        if self.mapped or answer.opcode != pcp.Opcode.MAP or not self._requests:
            return
        self.heard = True
        self._requests.clear()
        self._failed(None, _words(answer.result), answer.lifetime)

    def _nonce(self, service: Service) -> bytes:
        about = f"{service.transport} {service.port} {self.gateway.local}".encode()
        return hashlib.blake2b(about, key=self._secret, digest_size=pcp.NONCE_SIZE).digest()


def _words(result: int) -> str:
    return _WORDS.get(result, f"error {result}")  # type: ignore[call-overload, no-any-return]
