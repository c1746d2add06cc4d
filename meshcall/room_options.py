"""What we send and record in a room, and how its members are looked for. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """Chosen by who goes in; kept over a restart but for the page."""

    source: str = "none"
    record: Path | None = None
    """A folder: each link is recorded into a file of its own."""
    record_mixed: Path | None = None
    """A folder: all of the room is recorded into one file."""
    page: str = ""
    """The page whose browser carries the media."""
    video: bool = True
    lan_only: bool = False
    """Members are looked for on the LAN alone."""

    def encode(self) -> bytes:
        """For the disk."""
        fields = {
            "source": self.source,
            "record": _text(self.record),
            "record_mixed": _text(self.record_mixed),
            "video": self.video,
            "lan_only": self.lan_only,
        }
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, data: bytes) -> RoomOptions:
        """From the disk; what makes no sense there is as if it had not been given."""
        try:
            fields = json.loads(data)
            return cls(
                source=str(fields["source"]),
                record=_path(fields["record"]),
                record_mixed=_path(fields.get("record_mixed")),
                video=bool(fields["video"]),
                lan_only=bool(fields["lan_only"]),
            )
        except (KeyError, TypeError, ValueError):
            return cls()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
