"""One exception tree. A message says what is wrong and what to do about it; the command line prints it as it is."""

from __future__ import annotations


class MonitorError(Exception):
    """Anything the product itself raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class GateRefused(MonitorError):
    """A gate said no: the work was done and its answer is negative."""

    exit_code = 1


class UsageError(MonitorError):
    """The command, a file given to it or the configuration cannot be used as it is."""

    exit_code = 2


class ContractInvalid(UsageError):
    """A contract has faults. `faults` holds every one of them, a sentence each."""

    def __init__(self, source: str, faults: list[str]) -> None:
        self.source = source
        self.faults = faults
        count = f"{len(faults)} fault" + ("" if len(faults) == 1 else "s")
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  - {fault}" for fault in faults))


class OtherContent(UsageError):
    """A batch bears the name of an earlier one and holds something else; nothing of it was kept."""


class DependencyAway(MonitorError):
    """Something the product leans on (Postgres, its binaries, a disk) is not there now."""

    exit_code = 3


class NoRoom(DependencyAway):
    """The disk that the database lies on is full, or would be; nothing was kept, and it passes once there is room."""


class FileBroken(MonitorError):
    """The rest of a file cannot be read, or is more than may be; what was read before stands. The message: why."""


class FilesLeft(MonitorError):
    """Some files were left where they lie and every other one was taken in; `stored` counts the latter's frames."""

    def __init__(self, message: str, stored: int, exit_code: int) -> None:
        self.stored = stored
        self.exit_code = exit_code
        super().__init__(message)


class TryAgain(MonitorError):
    """What was asked for took too long or collided with other work; nothing of it was kept, and later it may pass."""

    exit_code = 3


class NotLeading(MonitorError):
    """Another process leads now; nothing of the transaction was kept, and that process does what is to be done."""

    exit_code = 3


class RecordRejected(MonitorError):
    """One record cannot be taken in. `reason` is a stable word, the message a sentence for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
