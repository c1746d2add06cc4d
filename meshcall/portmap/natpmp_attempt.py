"""NAT-PMP at one gateway (RFC 6886)."""

from __future__ import annotations

from typing import ClassVar

from meshcall.errors import Rejected
from meshcall.portmap import natpmp
from meshcall.portmap.datagram_attempt import DatagramAttempt
from meshcall.portmap.mapping import Gateway, Mapping, Protocol, Service
from meshcall.portmap.requests import Random

_WORDS: dict[int, str] = {
    natpmp.Result.UNSUPPORTED_VERSION: "another version",
    natpmp.Result.NOT_AUTHORIZED: "not allowed",
    natpmp.Result.NETWORK_FAILURE: "no external address",
    natpmp.Result.OUT_OF_RESOURCES: "no room",
    natpmp.Result.UNSUPPORTED_OPCODE: "no mappings",
}


class NatPmpAttempt(DatagramAttempt):
    """First the external address, which changes nothing there; then the mappings."""

    protocol: ClassVar[Protocol] = "nat-pmp"

    def __init__(
        self, gateway: Gateway, services: tuple[Service, ...], lifetime: int, random: Random
    ) -> None:
        super().__init__(gateway, services, lifetime, random)
        self._address = ""

    def start(self, now: float) -> None:
        """Ask for the external address."""
        self.failure, self.asked = "", False
        self._look(now)

    def ask(self, service: Service, now: float) -> None:
        """Ask for a mapping, with the same external port as before if there was one."""
        mapping = self.mappings.get(service)
        port = mapping.external[1] if mapping else service.port
        octets = natpmp.encode_map_request(service.transport, service.port, port, self.lifetime)
        self._requests.send(("map", service), octets, now)

    def give_back(self, service: Service, mapping: Mapping, now: float) -> None:
        """Ask that a mapping is removed (section 3.4)."""
        self._requests.answered(("map", service))
        octets = natpmp.encode_map_request(service.transport, service.port, 0, 0)
        self._requests.send(("remove", service), octets, now)

    def receive(self, answer: natpmp.Answer, now: float) -> None:
        """What the gateway answers; raises :class:`Rejected` for what nobody asked."""
        match answer:
            case natpmp.ExternalAddress():
                if not self._requests.answered("look"):
                    raise Rejected("unasked")
                self._told(answer, now)
            case natpmp.Mapped():
                self._mapped(answer, now)
            case natpmp.Failure():
                self._refused(answer)

    def announced(self, answer: natpmp.ExternalAddress, now: float) -> None:
        """What the gateway has told everybody."""
        if self.heard:
            self._told(answer, now)

    def _look(self, now: float) -> None:
        self._requests.send("look", natpmp.encode_address_request(), now)

    def _told(self, answer: natpmp.ExternalAddress, now: float) -> None:
        self.heard = True
        changed = self._address != answer.address
        self._address = answer.address
        lost = self._epoch.is_lost(answer.epoch, now)
        if changed:
            for service, mapping in tuple(self.mappings.items()):
                external = answer.address, mapping.external[1]
                self.mappings[service] = Mapping(
                    service, self.protocol, external, mapping.lifetime, mapping.expires
                )
        if self.mapped and (lost or changed):
            self.lost(now)

    def _mapped(self, answer: natpmp.Mapped, now: float) -> None:
        service = Service(answer.transport, answer.internal_port)
        if answer.lifetime == 0:
            if not self._requests.answered(("remove", service)):
                raise Rejected("unasked")
            return
        if service not in self.services or not self._requests.answered(("map", service)):
            raise Rejected("unasked")
        lost = self._epoch.is_lost(answer.epoch, now)
        self._granted(service, (self._address, answer.external_port), answer.lifetime, now)
        self._plan_look(now)
        if lost:  # also other mappings, and perhaps another address
            self._look(now)
            for one in [one for one in self.mappings if one != service]:
                self.ask(one, now)

    def _refused(self, answer: natpmp.Failure) -> None:
        transport = {1: "udp", 2: "tcp"}.get(answer.opcode)
        asked = [key for key in (("map", one) for one in self.services) if key in self._requests]
        if answer.opcode == 0 and self._requests.answered("look"):
            if not self.mapped:
                self.heard = True
                self._failed(None, _words(answer.result))
            return
        for key in asked:
            if key[1].transport == transport:
                self._requests.answered(("map", key[1]))
                self._failed(key[1], _words(answer.result))
                return
        raise Rejected("unasked")


def _words(result: int) -> str:
    return _WORDS.get(result, f"error {result}")
