"""The addresses of rooms: requests into calls of the node's rooms, and their answers."""

from __future__ import annotations

import msgspec
from aiohttp import web

from meshcall.control import models
from meshcall.control.messages import absolute_path, document, read_request
from meshcall.control.node_api import NodeApi, RoomsApi
from meshcall.control.serving import Handler


class RoomRoutes:
    """Serves the rooms of one node."""

    def __init__(self, node: NodeApi) -> None:
        self._node = node

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, address behind the prefix, handler."""
        return [
            ("GET", "/rooms", self._list),
            ("POST", "/rooms", self._create),
            ("POST", "/rooms/join", self._join),
            ("GET", "/rooms/{room}", self._view),
            ("DELETE", "/rooms/{room}", self._forget),
            ("POST", "/rooms/{room}/leave", self._leave),
            ("POST", "/rooms/{room}/invite", self._invite),
            ("GET", "/rooms/{room}/qr", self._qr),
            ("POST", "/rooms/{room}/code", self._code),
            ("POST", "/rooms/{room}/state", self._state),
            ("POST", "/rooms/{room}/share", self._share),
            ("POST", "/rooms/{room}/unshare", self._unshare),
            ("POST", "/rooms/{room}/chat", self._chat),
            ("POST", "/rooms/{room}/lock", self._lock),
            ("POST", "/rooms/{room}/admit", self._admit),
            ("POST", "/rooms/{room}/remove", self._remove),
            ("POST", "/rooms/{room}/block", self._block),
            ("POST", "/rooms/{room}/layer", self._layer),
        ]

    @property
    def _rooms(self) -> RoomsApi:
        return self._node.rooms

    async def _list(self, request: web.Request) -> web.Response:
        return document(self._rooms.show())

    async def _view(self, request: web.Request) -> web.Response:
        return document(self._rooms.view(_room(request)))

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.CreateRoom)
        view = await self._rooms.create(
            wanted.name,
            secret=wanted.secret,
            lan_only=wanted.lan_only,
            source=wanted.source,
            record=absolute_path(wanted.record),
            record_mixed=absolute_path(wanted.record_mixed),
            page=wanted.page,
            video=wanted.video,
        )
        return document(view, status=201)

    async def _join(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.JoinRoom)
        view = await self._rooms.join(
            wanted.room,
            at=wanted.at,
            source=wanted.source,
            record=absolute_path(wanted.record),
            record_mixed=absolute_path(wanted.record_mixed),
            page=wanted.page,
            video=wanted.video,
        )
        return document(view)

    async def _forget(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        await self._rooms.forget(_room(request))
        return document({})

    async def _leave(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(await self._rooms.leave(_room(request)))

    async def _invite(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(self._rooms.invite(_room(request)))

    async def _qr(self, request: web.Request) -> web.Response:
        from meshcall.control.qr import draw  # late: only who shows a code needs it

        body = draw(self._rooms.invite(_room(request)).uri, as_it_is=True)
        return web.Response(body=body, content_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    async def _code(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(self._rooms.code(_room(request)))

    async def _state(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.SetRoomState)
        return document(self._rooms.set_state(_room(request), **msgspec.structs.asdict(wanted)))

    async def _share(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.ShareInRoom)
        return document(await self._rooms.share(_room(request), wanted.source))

    async def _unshare(self, request: web.Request) -> web.Response:
        await read_request(request, models.Empty)
        return document(self._rooms.unshare(_room(request)))

    async def _chat(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.SayInRoom)
        room = self._rooms.view(_room(request)).id
        self._rooms.say(room, wanted.text)
        return document({"room": room})

    async def _lock(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.LockRoom)
        return document(await self._rooms.lock(_room(request), locked=wanted.locked))

    async def _admit(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.AdmitToRoom)
        return document(self._rooms.admit(_room(request), wanted.peer, admit=wanted.admit))

    async def _remove(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.NameMember)
        return document(await self._rooms.remove(_room(request), wanted.peer))

    async def _block(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.BlockMember)
        return document(await self._rooms.block(_room(request), wanted.peer, blocked=wanted.blocked))

    async def _layer(self, request: web.Request) -> web.Response:
        wanted = await read_request(request, models.AskLayer)
        room = self._rooms.view(_room(request)).id
        self._rooms.ask_layer(room, wanted.peer, wanted.kind, wanted.height, wanted.fps)
        return document({"room": room})


def _room(request: web.Request) -> str:
    return request.match_info["room"]
