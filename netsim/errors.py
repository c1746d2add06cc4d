"""What can go wrong in the lab."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """Something went wrong in the lab."""


class LabUnavailable(LabError):
    """This machine can't run the lab; the message says why and what would help."""


class CommandFailed(LabError):
    """A program in the lab ended with an error."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(f"{' '.join(argv)} ended with {returncode}\n{stdout}{stderr}".rstrip())


class NeverHappened(LabError):
    """What was waited for did not happen in time."""

    def __init__(self, message: str, logs: str = "") -> None:
        super().__init__(f"{message}\n{logs}".rstrip())
