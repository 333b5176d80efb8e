"""What a model file leans on, what a session is asked, and where its heavy work went."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import golden_line
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.golden import onnxfile, session
from monitor.golden.session import ModelRefused, Wanted, heavy_elsewhere, open_model

DETECTOR = (golden_line.LINE / "detector.onnx").read_bytes()
WANTED = Wanted("cpu", False, "yolov8", {"image": "images"}, {"output": "output0"}, 3, "float32", 1)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(number: int, value: int | str | bytes) -> bytes:
    """One field of a protobuf message, as the format's own documentation writes it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def model(*parts: bytes) -> bytes:
    return part(1, 8) + part(7, b"".join(parts))


def node(op: str, domain: str = "", *attributes: bytes) -> bytes:
    return part(1, part(4, op) + part(7, domain) + b"".join(part(5, one) for one in attributes))


def tensor(name: str, outside: bool) -> bytes:
    return part(8, name) + (part(14, 1) if outside else part(9, b"\0" * 4))


def test_a_whole_model_of_standard_operators_has_no_faults() -> None:
    assert onnxfile.faults(DETECTOR) == []
    assert onnxfile.faults(model(node("Conv"), part(5, tensor("w", False)))) == []


@pytest.mark.parametrize(
    "inner",
    [
        part(5, tensor("far", True)),
        part(15, part(1, tensor("far", True))),
        node("Constant", "", part(5, tensor("far", True))),
        node("If", "", part(6, part(5, tensor("far", True)))),
        node("If", "", part(11, node("Constant", "", part(10, tensor("far", True))))),
        node("Constant", "", part(22, part(2, tensor("far", True)))),
    ],
)
def test_weights_in_another_file_are_found_wherever_they_hang(inner: bytes) -> None:
    (said,) = onnxfile.faults(model(inner))
    assert "far" in said
    assert "weights inside" in said


@pytest.mark.parametrize("inner", [node("Mine", "acme"), node("EPContext", "com.microsoft")])
def test_foreign_operators_are_refused(inner: bytes) -> None:
    (said,) = onnxfile.faults(model(inner))
    assert "from outside the runtime" in said


def test_an_operator_that_the_model_itself_defines_is_its_own() -> None:
    function = part(25, part(1, "Mine") + part(10, "acme") + part(7, part(4, "Add")))
    assert onnxfile.faults(model(node("Mine", "acme")) + function) == []
    foreign = part(25, part(1, "Mine") + part(10, "acme") + part(7, part(4, "Evil") + part(7, "lib")))
    assert len(onnxfile.faults(model(node("Mine", "acme")) + foreign)) == 1


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_with_sentences(data: bytes) -> None:
    assert all(isinstance(one, str) and one for one in onnxfile.faults(data))


def test_a_part_of_a_model_is_none() -> None:
    for end in (0, 1, 100, len(DETECTOR) // 2, len(DETECTOR) - 1):
        assert onnxfile.faults(DETECTOR[:end])


def test_a_session_says_what_it_ran_on() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")
    opened = open_model(DETECTOR, WANTED)
    assert opened.degraded == ""
    assert opened.environment["runtime"] == f"onnxruntime {metadata.version('onnxruntime')}"
    assert heavy_elsewhere(opened.session, "CPUExecutionProvider") == []
    # Held against another provider, all of the heavy nodes are strays: the check does see them.
    strays = heavy_elsewhere(opened.session, "CUDAExecutionProvider")
    assert any("Conv" in one for one in strays)
    assert opened.fixed_batch is None
    (output,) = opened.run(np.zeros((2, 3, 160, 160), dtype=np.float32), np.zeros((2, 2), dtype=np.int64)).values()
    assert output.shape == (2, 7, 500)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"outputs": {"output": "none"}}, "not among the model's"),
        ({"classes": 4}, "has the shape"),
        ({"inputs": {}}, "no input for image"),
        ({"inputs": {"image": "images", "when": "images"}}, "no role of an input"),
        ({"inputs": {"image": "images", "sizes": "orig"}}, "'orig' is not among them"),
        ({"dtype": "uint8"}, "[input] says uint8"),
        ({"convention": "yolo"}, "no output convention"),
    ],
)
def test_what_is_declared_must_be_so(change: dict[str, object], says: str) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")
    with pytest.raises(ModelRefused, match=says.replace("[", r"\[")):
        open_model(DETECTOR, replace(WANTED, **change))


def test_two_runtimes_in_one_place_are_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[[str], str] = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}.__getitem__
    monkeypatch.setattr(session.metadata, "version", found)
    with pytest.raises(ModelRefused, match="uninstall both"):
        open_model(DETECTOR, WANTED)


def test_the_heavy_nodes_are_those_that_did_not_go_where_they_should() -> None:
    def on(provider: str, *ops: str) -> SimpleNamespace:
        nodes: Sequence[SimpleNamespace] = [SimpleNamespace(op_type=op, name="n") for op in ops]
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

    parts = [on("CUDA", "Conv", "Gemm"), on("CPU", "Shape", "Gather", "FusedConv", "MatMul"), on("CPU", "Attention")]
    of = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    assert heavy_elsewhere(of, "CUDA") == ["FusedConv n", "MatMul n", "Attention n"]
    assert heavy_elsewhere(of, "CPU") == ["Conv n", "Gemm n"]


def test_the_hash_is_of_the_bytes_that_are_loaded() -> None:
    assert hashlib.sha256(DETECTOR).hexdigest() in (golden_line.LINE / "detector.json").read_text()
