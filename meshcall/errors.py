"""The whole exception tree.

Law 1: the first line of a class's docstring is the sentence a user reads; ``str(error)`` may say more.
Law 2: ``code`` is stable and machine-readable, the text may change.
Law 3: ``exit_code`` is what the command line returns (docs/operations.md lists them all).
Law 4: bytes from a stranger raise :class:`Rejected` and nothing else.
"""

from __future__ import annotations

from typing import ClassVar


class MeshcallError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        """``message`` replaces the class's sentence; ``hint`` tells the user what to do."""
        super().__init__(message or self.sentence())
        self.hint: str | None = hint or self.default_hint or None

    @classmethod
    def sentence(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class Rejected(Exception):
    """Bytes from a stranger that are not what they should be.

    ``reason`` is a short stable word that counters are kept by; it is never sent to the peer.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- usage: exit code 2 ---------------------------------------------------------------------------


class UsageError(MeshcallError):
    """The command can't be carried out as it was given."""

    code = "usage"
    exit_code = 2


class InvalidPeerId(UsageError):
    """That is not a meshcall ID."""

    code = "invalid-peer-id"
    default_hint = "an ID has 56 letters and digits; copy it whole from `meshcall id` on the other machine"


class InvalidUri(UsageError):
    """That is not a meshcall link."""

    code = "invalid-uri"
    default_hint = "a link looks like meshcall:ID?n=Name#secret"


class InvalidInvite(UsageError):
    """That invite can't be used."""

    code = "invalid-invite"
    default_hint = "ask for a new one: `meshcall invite`"


class InvalidRoom(UsageError):
    """That room can't be used."""

    code = "invalid-room"


class InvalidConfig(UsageError):
    """The configuration has a value that can't be used."""

    code = "invalid-config"


class OwnId(UsageError):
    """That is your own ID."""

    code = "own-id"
    default_hint = "give the other machine's ID; `meshcall id` there prints it"


class UnknownContact(UsageError):
    """No contact has that name."""

    code = "unknown-contact"
    exit_code = 4
    default_hint = "`meshcall peers` lists the names; a full 56-character ID always works"


class DuplicateContact(UsageError):
    """A contact with that name exists already."""

    code = "duplicate-contact"


class NoSuchCall(UsageError):
    """There is no such call."""

    code = "no-such-call"
    default_hint = "`meshcall calls` lists the calls"


# --- daemon: exit code 3, and 1 for the daemon's own start ---------------------------------------


class DaemonNotRunning(MeshcallError):
    """The meshcall daemon is not running."""

    code = "daemon-not-running"
    exit_code = 3
    default_hint = "start it with `meshcall daemon`"


class AlreadyRunning(MeshcallError):
    """Another meshcall daemon uses this home."""

    code = "already-running"
    default_hint = "give this one its own: `--home DIR`"


class PortTaken(MeshcallError):
    """The UDP port is taken by another program."""

    code = "port-taken"
    default_hint = "choose another with `--port N`, or `--port 0` for any free one"


class HomeNotUsable(MeshcallError):
    """The home directory can't be used."""

    code = "home-not-usable"


class LoosePermissions(HomeNotUsable):
    """Other users of this machine can read meshcall's secrets."""

    code = "loose-permissions"


# --- the peer: exit codes 4 and 5 -----------------------------------------------------------------


class PeerOffline(MeshcallError):
    """The peer is offline."""

    code = "offline"
    exit_code = 4
    default_hint = "`--wait TIME` keeps trying until it comes online"


class NoAnswer(MeshcallError):
    """Nobody answered."""

    code = "no-answer"
    exit_code = 5


class Declined(MeshcallError):
    """The peer declined the call."""

    code = "declined"
    exit_code = 5


class Busy(MeshcallError):
    """The peer is in another call."""

    code = "busy"
    exit_code = 5


class NoPath(MeshcallError):
    """No network path to the peer could be made."""

    code = "no-path"
    exit_code = 6


class NotDirect(NoPath):
    """No direct path to the peer was found; a relay carries what is sent."""

    code = "not-direct"
    default_hint = "`meshcall netcheck` on both machines shows what their NATs allow"


class PeerGone(MeshcallError):
    """The peer disappeared during the call."""

    code = "peer-gone"
    exit_code = 6


class NodeSilent(NoPath):
    """No DHT node answers there."""

    code = "node-silent"
    default_hint = "is the port right, does it run, and does a firewall let UDP through?"


class HostUnknown(MeshcallError):
    """That host name can't be resolved."""

    code = "host-unknown"
    exit_code = 4
    default_hint = "check the name, or give the IP address"


class DhtOff(MeshcallError):
    """This node uses neither mDNS nor the internet, so it is in no DHT."""

    code = "dht-off"
    default_hint = "start it with mDNS, or without `lan_only`"


class RelayOff(MeshcallError):
    """This daemon lends no relay."""

    code = "relay-off"
    default_hint = "start it with `--relay`"


class ServiceError(MeshcallError):
    """systemd does not do what the service needs."""

    code = "service"


# --- identity: exit code 7 ------------------------------------------------------------------------


class IdentityError(MeshcallError):
    """The identity can't be used."""

    code = "identity"
    exit_code = 7


class KeyFileError(IdentityError):
    """The key file can't be used."""

    code = "key-file"


class NoIdentity(IdentityError):
    """There is no identity here yet."""

    code = "no-identity"
    default_hint = "make one with `meshcall init`"


class WrongPassphrase(IdentityError):
    """The passphrase is wrong."""

    code = "wrong-passphrase"


class PassphraseNeeded(IdentityError):
    """The key is locked with a passphrase."""

    code = "passphrase-needed"
    default_hint = "set MESHCALL_PASSPHRASE_FILE to a file that holds it, or run on a terminal"


class ConfirmFailed(IdentityError):
    """The other end could not prove that it is who you called."""

    code = "confirm-failed"


class ClockWrong(IdentityError):
    """The clocks of the two machines differ too much."""

    code = "clock"
    default_hint = "set the clock of this machine (or of the other one): they may differ by 2 minutes at most"


# --- files and media: exit code 8 -----------------------------------------------------------------


class FileError(MeshcallError):
    """A file can't be used."""

    code = "file"
    exit_code = 8


class SourceUnusable(FileError):
    """The media source can't be read."""

    code = "source-unusable"
    default_hint = (
        "a source is a media file, `testsrc`, `camera[:N]`, `screen`, `mic`, `camera+mic` or `none`"
    )


class RecordTargetExists(FileError):
    """The file to record to exists already."""

    code = "record-exists"
    default_hint = "choose another name; meshcall never overwrites a recording"


class RecordFailed(FileError):
    """The recording can't be written."""

    code = "record-failed"


class StateCorrupt(FileError):
    """A state file is damaged."""

    code = "state-corrupt"


# --- rooms ----------------------------------------------------------------------------------------


class NoSuchRoom(UsageError):
    """There is no such room here."""

    code = "no-such-room"
    default_hint = "`meshcall room list` lists the rooms"


class NoSuchMember(UsageError):
    """Nobody in the room is called that."""

    code = "no-such-member"
    default_hint = "`meshcall room status` lists the members"


class RoomNotFound(MeshcallError):
    """No room of that name is announced on this LAN."""

    code = "room-not-found"
    exit_code = 4
    default_hint = (
        "`meshcall room list` shows what is announced; where the network carries no multicast, ask for a link"
        " (`meshcall room invite`) or name a machine of the room: `--at HOST`"
    )


class RoomSilent(MeshcallError):
    """Nobody in that room answers."""

    code = "room-silent"
    exit_code = 4
    default_hint = (
        "is anybody in it now, and is the clock of this machine right? `meshcall netcheck` tells what this"
        " network lets through"
    )


class RoomRefused(MeshcallError):
    """The room did not let us in."""

    code = "room-refused"
    exit_code = 5


class RoomCodeWrong(RoomRefused):
    """The code is wrong, or works no more."""

    code = "room-code"
    default_hint = (
        "a code lives ten minutes and bears five wrong tries; ask for a new one: `meshcall room code`"
    )


class NotInRoom(MeshcallError):
    """We are not in that room now."""

    code = "not-in-room"
    default_hint = "`meshcall room join NAME` goes in"


class NotCreator(MeshcallError):
    """Only who made the room may do that."""

    code = "not-creator"
    default_hint = "`meshcall room block NAME` hides a member from yourself"


# --- calls ----------------------------------------------------------------------------------------


class LocalProtocolError(MeshcallError):
    """That can't be done in the call's present state."""

    code = "wrong-state"


class MediaFailed(MeshcallError):
    """The call's media process failed."""

    code = "media-failed"
    default_hint = "call again: the next call gets a new one; the daemon's log says more"


class UnsupportedPeer(MeshcallError):
    """The peer's meshcall speaks a version that this one does not."""

    code = "unsupported"
    default_hint = "bring both machines to the same release"


# --- the local API --------------------------------------------------------------------------------


class BadRequest(UsageError):
    """The daemon does not understand that request."""

    code = "bad-request"


class Forbidden(MeshcallError):
    """This daemon belongs to another user."""

    code = "forbidden"


class NotLoggedIn(MeshcallError):
    """This browser is not logged in."""

    code = "not-logged-in"
    default_hint = "`meshcall open` opens the page"


class TooManyLogins(MeshcallError):
    """Too many tries to log in; wait a minute."""

    code = "too-many-logins"


class NotVerifiable(MeshcallError):
    """There are no words to compare in this call, or not yet."""

    code = "not-verifiable"
    default_hint = "they come a moment after the call is connected; a peer of an older version has none"


class SettingFixed(MeshcallError):
    """That was given to the daemon at its start, so it can't be set now."""

    code = "setting-fixed"
    default_hint = "start the daemon without that option, then set it"


class PageOff(MeshcallError):
    """This daemon serves no page."""

    code = "page-off"
    default_hint = "its log says why; `--page-port` chooses another port"


class PageGone(MeshcallError):
    """The page that had the call's media is gone."""

    code = "page-gone"
    default_hint = "open it again with `meshcall open`, and call again"


class RequestTimedOut(MeshcallError):
    """The daemon took too long to answer."""

    code = "request-timeout"


class TooManyListeners(MeshcallError):
    """Too many programs listen to the daemon's events."""

    code = "too-many-listeners"


class InternalError(MeshcallError):
    """The daemon met a bug."""

    code = "internal"
    default_hint = "its log has the details"


class DaemonLost(MeshcallError):
    """The daemon stopped before the command was done."""

    code = "daemon-lost"
    exit_code = 3
    default_hint = "start it again with `meshcall daemon`, and look at its log"


class StateUnwritable(FileError):
    """meshcall's state can't be read or written."""

    code = "state-unwritable"
    default_hint = (
        "free some disk space, and check the home's permissions: `meshcall config path` prints where it is"
    )
