"""Does production make the inputs that scoring makes? What it logged of golden images, held against tonight's run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitor.client.proof import FILE, IMAGE, TENSOR, WORDS, input_proof
from monitor.imaging.preprocess import Preprocess


@dataclass(frozen=True, slots=True)
class Parity:
    """How many proofs were compared, how many of them differ, and each difference once, by its field."""

    compared: int
    differing: int
    differences: tuple[str, ...]


def parity(
    block: Preprocess, inputs: Mapping[str, Mapping[str, str]], proofs: Iterable[Mapping[str, object]]
) -> Parity:
    """Compare what production logged with what scoring did.

    `inputs` are scoring's hashes of image and tensor by file. A proof of a file that the set has not says nothing of
    its image and tensor; its block is compared all the same.
    """
    compared = differing = 0
    told: dict[str, None] = {}
    wanted = input_proof("", block=block)
    for proof in proofs:
        found = [*_fields(wanted, proof), *_hashes(inputs, proof)]
        compared += 1
        differing += bool(found)
        told.update(dict.fromkeys(found))
    return Parity(compared, differing, tuple(told))


def _fields(wanted: Mapping[str, object], proof: Mapping[str, object]) -> Iterable[str]:
    for key in WORDS:
        if key not in proof:
            continue
        ours, theirs = (dict(part.partition("=")[::2] for part in str(of[key]).split(" ")) for of in (wanted, proof))
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                there, here = (of.get(name) or "nothing" for of in (theirs, ours))
                yield f"{name}: {there} in production, {here} in scoring"


def _hashes(inputs: Mapping[str, Mapping[str, str]], proof: Mapping[str, object]) -> Iterable[str]:
    file = str(proof.get(FILE, ""))
    ours = inputs.get(file)
    if ours is None:
        return
    if IMAGE in proof and proof[IMAGE] != ours["image"]:
        yield f"image: production read other bytes of {file} than the golden set has"
    if TENSOR in proof and proof[TENSOR] != ours["tensor"]:
        yield f"tensor: production made another input of {file} than scoring"
