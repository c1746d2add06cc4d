"""The file of a recording, as FFmpeg's muxer sees it.

Law 1: a file that exists is never opened, nor a link followed.
Law 2: the first error is kept and told once; later writes pretend to succeed, so that the muxer can be taken
down in good order and everything before the error stays on disk.
"""

from __future__ import annotations

import os
from pathlib import Path

from meshcall.errors import RecordFailed, RecordTargetExists


class RecordFile:
    """A new file, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Create it; raises :class:`RecordTargetExists` or :class:`RecordFailed`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except FileExistsError as error:
            raise RecordTargetExists(f"{str(path)!r} exists already.") from error
        except OSError as error:
            raise RecordFailed(f"can't record to {str(path)!r}: {error.strerror}") from error
        self.name = str(path)
        self.error: OSError | None = None
        self._position = 0
        self._end = 0

    def write(self, data: bytes) -> int:
        """All of ``data``."""
        view = memoryview(data)
        while view and self.error is None:
            try:
                written = os.pwrite(self._descriptor, view, self._position)
            except OSError as error:
                self.error = error
                break
            self._position += written
            view = view[written:]
        # After an error: where the muxer believes it is.
        self._position += len(view)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; returns the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def close(self) -> None:
        """Put everything on disk."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fsync(descriptor)
        except OSError as error:
            self.error = self.error or error
        finally:
            os.close(descriptor)
