"""Contract files: read one, or keep a folder of them in force while they are edited."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from monitor.demand import Demand
from monitor.errors import ContractInvalid, UsageError
from monitor.spec.check import find_faults
from monitor.spec.contract import Camera, Contract
from monitor.spec.demands import demands
from monitor.spec.faults import Fault, Place, from_validation, in_order

LARGEST = 1024 * 1024
"""Bytes of the largest file that is read as a contract."""
_STAND_INS: dict[str, Any] = {"model": {"name": "unread"}, "classes": [{"name": "unread"}]}


@dataclass(frozen=True, slots=True)
class LoadedContract:
    """A contract without faults, with the very text that was judged."""

    contract: Contract
    text: str
    hash: str
    """First 16 hex digits of the SHA-256 of the file: what every number names as its contract."""
    path: Path

    @property
    def model(self) -> str:
        return self.contract.model.name

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return self.contract.cameras.list

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of its pipeline in order; none where it is no pipeline."""
        return self.contract.model.stages

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The bounds that it sets."""
        return demands(self.contract)


def load_contract(path: Path) -> LoadedContract:
    """Read, parse and check one file.

    Raises:
        ContractInvalid: with every fault at once.
        UsageError: there is no such file, or it cannot be read.
    """
    return _loaded(path, _read(path))


def parse_contract(text: str, source: str = "contract") -> Contract:
    """A contract from its TOML text, with or without a byte order mark; `source` names it in the error.

    Raises:
        ContractInvalid: with every fault at once.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise ContractInvalid(
            source, ["the file is empty; write at least [model] and one [[classes]], each with a name"]
        )
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        said = said.replace("(at end of document)", f"(at the end, line {text.count(chr(10)) + 1})")
        raise ContractInvalid(source, [f"not valid TOML: {said}"]) from error
    try:
        contract = Contract.model_validate(data)
    except ValidationError as error:
        # A default that depends on a faulty value is not one more fault.
        errors = [e for e in error.errors(include_url=False) if e["type"] != "default_factory_not_called"]
        faults = [*map(from_validation, errors), *_faults_beside(data, errors)]
        raise ContractInvalid(source, in_order(faults, data)) from error
    if faults := find_faults(contract):
        raise ContractInvalid(source, in_order(faults, data))
    return contract


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a contract file in it")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not an ordinary file; name a contract in TOML")
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file; name a contract in TOML") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); see to its permissions and its disk") from error


def _loaded(path: Path, raw: bytes) -> LoadedContract:
    if len(raw) > LARGEST:
        raise ContractInvalid(str(path), [f"larger than {LARGEST} bytes; this is hardly a contract"])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        fault = f"line {line} is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        raise ContractInvalid(str(path), [fault]) from error
    contract = parse_contract(text, str(path))
    return LoadedContract(contract, text, hashlib.sha256(raw).hexdigest()[:16], path)


def _faults_beside(data: dict[str, Any], errors: Sequence[ErrorDetails]) -> list[Fault]:
    """Faults between values in what can be read of a contract that has other faults.

    Unknown keys are left out; so is the list entry, or else the section, in which a value is faulty.
    """
    left_out: set[Place] = set()
    unread: set[str] = set()
    for error in errors:
        place: Place = error["loc"]
        if error["type"] == "extra_forbidden":
            left_out.add(place)
        else:
            unread.add(str(place[0]))
            left_out.add(place[:2] if isinstance(data.get(str(place[0])), list) and len(place) > 1 else place[:1])
    rest = _without(data, left_out) | {k: v for k, v in _STAND_INS.items() if (k,) in left_out or k not in data}
    if not rest.get("classes"):
        rest["classes"] = _STAND_INS["classes"]
    try:
        contract = Contract.model_validate(rest)
    except ValidationError:
        return []
    return [Fault(_original(fault.place, left_out), fault.text) for fault in find_faults(contract, unread)]


def _without(node: Any, places: Iterable[Place]) -> Any:
    """A copy of nested tables and lists that lacks what stands at the places."""
    inside: dict[str | int, set[Place]] = {}
    for place in places:
        inside.setdefault(place[0], set()).add(place[1:])
    entries = list(node.items() if isinstance(node, dict) else enumerate(node))
    kept = [(k, _without(v, inside[k]) if k in inside else v) for k, v in entries if () not in inside.get(k, ())]
    return dict(kept) if isinstance(node, dict) else [value for _, value in kept]


def _original(place: Place, left_out: set[Place]) -> Place:
    """The place in the file of what stands at `place` where list entries were left out."""
    if len(place) < 2 or not isinstance(place[1], int):
        return place
    position = place[1]
    for gone in sorted(p[1] for p in left_out if len(p) == 2 and p[0] == place[0] and isinstance(p[1], int)):
        position += gone <= position
    return (place[0], position, *place[2:])


def _model_named_in(path: Path) -> str | None:
    """The model that a contract names, whatever else is wrong with the file; None where that cannot be read."""
    try:
        model = tomllib.loads(_read(path).decode("utf-8-sig")).get("model")
    except (UsageError, ValueError, RecursionError):
        return None
    name = model.get("name") if isinstance(model, dict) else None
    return name if isinstance(name, str) else None


class Remembered(Protocol):
    """A contract that was in force before: its model, the name of its file, its text."""

    @property
    def model(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def text(self) -> str: ...


class Shelf:
    """The contracts of a folder, one a model, that are in force.

    `refresh` looks at the folder again. Once in force, a contract stays so until another one for its model is read
    without faults: a faulty file, a half-written one and a removed one (a slip, a mount that has gone) must not end
    the watch. Nor must a restart meanwhile: what was in force before stays so while its file is faulty, a faulty file
    of another name names its model, or the folder cannot be read. To give a model up, remove its file and restart. Of
    two files for one model the one in force stays; at the start it is the first by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contracts: dict[str, LoadedContract] = {}
        """By model; replaced and never changed in place, so another thread may read it at any time."""
        self.complaints: dict[Path, str] = {}
        """What is wrong with the folder's files now."""

    def refresh(self, remembered: Iterable[Remembered] = ()) -> list[str]:
        """Look again; returns a sentence for each thing that has changed since the last look.

        `remembered` are the contracts that were in force before the restart, one a model at most.
        """
        complaints: dict[Path, str] = {}
        faults: dict[Path, str] = {}
        found: dict[str, list[LoadedContract]] = {}
        for path in self._files(complaints):
            try:
                loaded = load_contract(path)
            except UsageError as error:
                faults[path] = str(error)
            else:
                found.setdefault(loaded.model, []).append(loaded)
        lost = [one for one in remembered if one.model not in self.contracts and one.model not in found]
        self.contracts = {**self.contracts, **self._recalled(lost, faults, self.folder in complaints)}
        complaints |= {path: f"{said}\n{self._kept(path)}" for path, said in faults.items()}
        contracts = dict(self.contracts)
        for model, rivals in found.items():
            contracts[model] = self._choose(model, rivals, complaints)
        for model in self.contracts.keys() - found.keys():
            old = self.contracts[model]
            complaints.setdefault(
                old.path,
                f"{old.path} no longer holds the contract of {model}; {old.hash} stays in force until it is back, "
                "or the daemon is restarted without it",
            )
        news = [
            f"{loaded.path}: contract {loaded.hash} of {model} is in force"
            for model, loaded in contracts.items()
            if model not in self.contracts or self.contracts[model].hash != loaded.hash
        ]
        news += [
            f"{loaded.path} is well again; contract {loaded.hash} of {model} is in force as before"
            for model, loaded in contracts.items()
            if loaded.path in self.complaints
            and loaded.path not in complaints
            and loaded == self.contracts.get(model)
        ]
        news += [said for path, said in complaints.items() if self.complaints.get(path) != said]
        self.contracts, self.complaints = contracts, complaints
        return news

    def _files(self, complaints: dict[Path, str]) -> list[Path]:
        try:
            return sorted(p for p in self.folder.iterdir() if p.suffix == ".toml" and not p.name.startswith("."))
        except OSError as error:
            complaints[self.folder] = (
                f"{self.folder} cannot be read ({error.strerror}); make it a folder with one contract (TOML) a model"
            )
            return []

    def _recalled(
        self, lost: Iterable[Remembered], faulty: Collection[Path], unreadable: bool
    ) -> dict[str, LoadedContract]:
        """Those of the remembered contracts that a faulty file, or a folder that cannot be read, would end."""
        recalled: dict[str, LoadedContract] = {}
        for one in lost:
            places = [path for path in faulty if path.name == one.file or _model_named_in(path) == one.model]
            if not places and not unreadable:
                continue
            place = self.folder / one.file if unreadable or self.folder / one.file in places else places[0]
            # A text that this version of the product no longer takes is no contract any more.
            with suppress(ContractInvalid):
                recalled[one.model] = _loaded(place, one.text.encode())
        return recalled

    def _kept(self, path: Path) -> str:
        kept = [f"contract {c.hash} of {c.model} stays in force" for c in self.contracts.values() if c.path == path]
        return "; ".join(kept) or "no contract of this file is in force"

    def _choose(self, model: str, rivals: list[LoadedContract], complaints: dict[Path, str]) -> LoadedContract:
        """The one of the files for a model that counts; the others are complained of."""
        chosen = rivals[0]
        if (old := self.contracts.get(model)) is not None:
            same_path = [rival for rival in rivals if rival.path == old.path]
            # A file that holds faults just now is about to be mended: no other file takes its place.
            chosen = same_path[0] if same_path else old if old.path in complaints else rivals[0]
        for rival in rivals:
            if rival.path != chosen.path:
                complaints[rival.path] = (
                    f"{rival.path}: the contract of {model} is {chosen.path}, and stays so; keep one file a model"
                )
        return chosen
