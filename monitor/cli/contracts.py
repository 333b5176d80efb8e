"""The contracts that a command works by: those of the contracts folder, as the daemon takes them."""

from __future__ import annotations

import sys

from monitor.errors import UsageError
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, Shelf
from monitor.store import contracts
from monitor.store.database import Connection


def in_force(conn: Connection, settings: Settings) -> dict[str, LoadedContract]:
    """The contracts in force, by model; what is wrong with the folder's files goes to standard error.

    Where a file is faulty, the contract that the daemon last took up from it stays in force, here too.

    Raises:
        UsageError: there is none.
    """
    shelf = Shelf(settings.contracts_dir)
    shelf.refresh(contracts.in_force(conn))
    for complaint in shelf.complaints.values():
        print(complaint, file=sys.stderr)
    if not shelf.contracts:
        raise UsageError(
            f"{settings.contracts_dir} holds no contract that can be used; put one there or set MONITOR_CONTRACTS_DIR"
        )
    return dict(sorted(shelf.contracts.items()))


def contract_of(model: str, settings: Settings) -> LoadedContract:
    """The contract of one model as the folder's file has it now; an older one does not stand in for a faulty one.

    Raises:
        UsageError: no file of the folder holds it; with what is wrong with the files.
    """
    shelf = Shelf(settings.contracts_dir)
    shelf.refresh()
    if model not in shelf.contracts:
        faults = "".join(f"\n{complaint}" for complaint in shelf.complaints.values())
        raise UsageError(
            f"{settings.contracts_dir} holds no contract of {model}; name one with --contract, put one there, "
            f"or set MONITOR_CONTRACTS_DIR{faults}"
        )
    return shelf.contracts[model]
