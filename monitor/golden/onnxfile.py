"""What an ONNX file leans on beside itself, read off its bytes without loading it: weights elsewhere, foreign code.

A file is protobuf; only the fields on the way to nodes and tensors are followed (field numbers after onnx.proto,
ONNX 1.16, which later releases keep).
"""

from __future__ import annotations

from collections.abc import Iterator

OWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Operator sets that the runtime brings along; any other would need a library of foreign code."""
_BYTES = 2
_EXTERNAL = 1
# Field numbers: of a model, a function, a graph, a node, an attribute, a sparse tensor, a tensor.
_GRAPH, _FUNCTION = 7, 25
_FUNCTION_NODE, _FUNCTION_NAME, _FUNCTION_DOMAIN = 7, 1, 10
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_OP_TYPE, _ATTRIBUTE, _DOMAIN = 4, 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE, _SPARSES = 5, 6, 10, 11, 22, 23
_NAME, _LOCATION = 8, 14
Field = tuple[int, int | memoryview]


def faults(data: bytes) -> list[str]:
    """Why these bytes may not be loaded, a sentence each; empty: they are an ONNX model that stands by itself."""
    try:
        fields = list(_fields(memoryview(data)))
        if not any(number == _GRAPH for number, _ in fields):
            return ["it is no ONNX model; export it again"]
        return _model_faults(fields)
    except (ValueError, IndexError, RecursionError):
        return ["it is no ONNX model, or only a part of one; copy or export it again"]


def _model_faults(fields: list[Field]) -> list[str]:
    graphs = [value for number, value in fields if number == _GRAPH]
    functions = [list(_fields(value)) for number, value in fields if number == _FUNCTION and _is_bytes(value)]
    own = {(_text(f, _FUNCTION_DOMAIN), _text(f, _FUNCTION_NAME)) for f in functions}
    nodes = [value for f in functions for number, value in f if number == _FUNCTION_NODE]
    outside, foreign = set(), set()
    for kind, node in _walk(graphs, nodes):
        if kind == "tensor":
            if dict(node).get(_LOCATION) == _EXTERNAL:
                outside.add(_text(node, _NAME))
            continue
        operator = (_text(node, _DOMAIN), _text(node, _OP_TYPE))
        if operator[1] == "EPContext" or (operator[0] not in OWN_DOMAINS and operator not in own):
            foreign.add("::".join(part for part in operator if part))
    found = []
    if outside:
        found.append(
            f"{len(outside)} of its tensors lie in another file ({', '.join(sorted(outside)[:3])}), which its hash "
            "does not cover; export it with the weights inside"
        )
    if foreign:
        found.append(
            f"it needs operators from outside the runtime ({', '.join(sorted(foreign)[:3])}); libraries of foreign "
            "operators are not loaded: export it with standard ones"
        )
    return found


def _walk(graphs: list[int | memoryview], nodes: list[int | memoryview]) -> Iterator[tuple[str, list[Field]]]:
    """Every node and tensor of the graphs and of those within them."""
    todo: list[tuple[str, int | memoryview]] = [("graph", graph) for graph in graphs]
    todo += [("node", node) for node in nodes]
    below = {
        "graph": {_NODE: "node", _INITIALIZER: "tensor", _SPARSE_INITIALIZER: "sparse"},
        "node": {_ATTRIBUTE: "attribute"},
        "attribute": {
            _TENSOR: "tensor",
            _TENSORS: "tensor",
            _SUBGRAPH: "graph",
            _SUBGRAPHS: "graph",
            _SPARSE: "sparse",
            _SPARSES: "sparse",
        },
        "sparse": {1: "tensor", 2: "tensor"},
        "tensor": {},
    }
    while todo:
        kind, value = todo.pop()
        if not _is_bytes(value):
            continue
        fields = list(_fields(value))
        if kind in ("node", "tensor"):
            yield kind, fields
        todo += [(below[kind][number], inner) for number, inner in fields if number in below[kind]]


def _is_bytes(value: int | memoryview) -> bool:
    return isinstance(value, memoryview)


def _text(fields: list[Field], wanted: int) -> str:
    value = next((value for number, value in fields if number == wanted), b"")
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, memoryview)) else ""


def _fields(data: int | memoryview) -> Iterator[Field]:
    """The fields of one message: number, and bytes or a whole number; numbers of fixed width are passed over."""
    if not isinstance(data, memoryview):
        raise ValueError("a message was expected")
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            yield key >> 3, data[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > len(data):
                raise ValueError("a number is cut off")
        else:
            raise ValueError("not a field")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not a number")
