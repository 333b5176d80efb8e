"""The one place that runs models: ONNX Runtime, with proof of what really ran where.

A runtime that finds no GPU says so in a log line and goes on with the CPU; available providers and the device's name
still speak of CUDA. So the provider is read off the session, and off the graph: every node that does heavy work must
have been given to the provider that was asked for.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import MonitorError
from monitor.golden import adapters, onnxfile

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
CPU = PROVIDERS["cpu"]
HEAVY = ("Conv", "MatMul", "Gemm", "Attention", "LSTM", "GRU")
"""A node whose operator's name holds one of these does heavy work; fused ones keep the name within theirs."""
CUDA_OPTIONS = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0", "cudnn_conv_use_max_workspace": "1"}
"""The same algorithms every night, in full precision."""
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
Array = npt.NDArray[np.generic]


class ModelRefused(MonitorError):
    """A model, its declaration or its surroundings are not what was asked for; nothing was scored."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the contract says of the model: provider, roles of inputs and outputs, convention, classes, input type."""

    provider: str
    allow_cpu: bool
    convention: str
    inputs: Mapping[str, str]
    """The model's own names by role: `image`, and `sizes` where it asks for the originals' [width, height]."""
    outputs: Mapping[str, str]
    classes: int
    dtype: str
    threads: int = 0
    """Of the CPU for one node; 0: the runtime's choice."""


@dataclass(slots=True)
class Model:
    """A loaded model. `degraded` says why it does not run as asked, though it may run; empty: it does."""

    session: Any
    wanted: Wanted
    environment: dict[str, str]
    degraded: str
    fixed_batch: int | None
    """The batch that the graph was exported with; None: any."""
    names: list[str] = field(default_factory=list)

    def run(self, images: Array, sizes: Array) -> dict[str, Array]:
        """Outputs by name for a batch of inputs; `sizes` [n, 2] are the originals' width and height."""
        feed = {self.wanted.inputs["image"]: images}
        if "sizes" in self.wanted.inputs:
            feed[self.wanted.inputs["sizes"]] = sizes
        # Bound, so that inputs go to the device once and outputs come back when all are there.
        binding = self.session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in self.names:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        return dict(zip(self.names, binding.copy_outputs_to_cpu(), strict=True))


def open_model(data: bytes, wanted: Wanted) -> Model:
    """Load a model from the very bytes whose hash was checked.

    Raises:
        ModelRefused: the runtime is missing or installed twice, the file leans on others, what the contract declares
            of it is not so, or the provider is not the one that was asked for and the contract allows no other.
    """
    runtime = _runtime()
    if said := onnxfile.faults(data):
        raise ModelRefused("the model is not loaded: " + "; ".join(said))
    session, why = _session(runtime, data, wanted)
    shapes = {one.name: one.shape for one in session.get_outputs()}
    found = [
        *adapters.faults(wanted.convention, wanted.outputs, shapes, wanted.classes),
        *_input_faults(session, wanted),
    ]
    if found:
        raise ModelRefused("the model is not what the contract declares: " + "; ".join(found))
    provider = session.get_providers()[0]
    strays = heavy_elsewhere(session, PROVIDERS[wanted.provider])
    if not why and strays:
        why = f"{len(strays)} heavy nodes did not go to {wanted.provider} ({', '.join(strays[:3])})"
    if why and not wanted.allow_cpu:
        raise ModelRefused(f"{why}; mend the GPU's runtime, or set allow_cpu under [golden] to score all the same")
    image = next(one for one in session.get_inputs() if one.name == wanted.inputs["image"])
    batch = image.shape[0] if isinstance(image.shape[0], int) else None
    names = [wanted.outputs[role] for role in adapters.CONVENTIONS[wanted.convention].outputs]
    return Model(session, wanted, environment(runtime, session, provider, wanted.threads), why, batch, names)


def heavy_elsewhere(session: Any, provider: str) -> list[str]:
    """The heavy nodes of a session that another provider than this one was given, as operator and name."""
    return [
        f"{node.op_type} {node.name}".strip()
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider
        for node in part.get_nodes()
        if any(word in node.op_type for word in HEAVY)
    ]


def _runtime() -> ModuleType:
    there = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(there) > 1:
        raise ModelRefused(
            "onnxruntime and onnxruntime-gpu are both installed and write over each other; uninstall both, then "
            "install one: pip install 'monitor-vision[cpu]' or 'monitor-vision[gpu]'"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelRefused(
            f"ONNX Runtime cannot be used ({error}); pip install 'monitor-vision[cpu]', or [gpu] beside an NVIDIA GPU"
        ) from error
    runtime: ModuleType = onnxruntime
    return runtime


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _session(runtime: ModuleType, data: bytes, wanted: Wanted) -> tuple[Any, str]:
    """A session and, where it does not run on what was asked for, why."""
    options = runtime.SessionOptions()
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.intra_op_num_threads = wanted.threads
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    asked = PROVIDERS[wanted.provider]
    why = ""
    providers: list[Any] = [CPU]
    if wanted.provider == "cuda":
        if asked in runtime.get_available_providers():
            if preload := getattr(runtime, "preload_dlls", None):
                preload()
            providers = [(asked, CUDA_OPTIONS), CPU]
        else:
            why = f"the contract asks for cuda, and this build of ONNX Runtime ({runtime.__version__}) has no CUDA"
    try:
        session = runtime.InferenceSession(data, options, providers=providers)
    except Exception as error:
        raise ModelRefused(f"ONNX Runtime cannot load the model: {error}; export it again") from error
    got = session.get_providers()[0]
    if not why and got != asked:
        why = f"the contract asks for {wanted.provider}, and the session runs on {got}"
    return session, why


def _input_faults(session: Any, wanted: Wanted) -> list[str]:
    there = {one.name: one for one in session.get_inputs()}
    named = dict(wanted.inputs)
    found = []
    if "image" not in named:
        found.append("the contract names no input for image")
    for role, name in named.items():
        if role not in ("image", "sizes"):
            found.append(f"{role!r} is no role of an input; there are image and sizes")
        elif name not in there:
            found.append(f"its inputs are {', '.join(there)}, and {name!r} is not among them")
    found += [f"nothing is declared for its input {name!r}" for name in there if name not in named.values()]
    if not found and TYPES.get(there[named["image"]].type) != wanted.dtype:
        found.append(f"its input is {there[named['image']].type}, and [input] says {wanted.dtype}")
    return found


def environment(runtime: ModuleType, session: Any, provider: str, threads: int) -> dict[str, str]:
    """What the answer may hang on, beside model, images and preprocessing; every value as text."""
    said = {
        "runtime": f"onnxruntime {runtime.__version__}",
        "provider": provider,
        "provider_options": _options(session.get_provider_options().get(provider, {})),
        "threads": str(threads or "runtime's choice"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
    }
    if provider != CPU:
        names = ("gpu", "driver")
        values = _nvidia()
        said |= dict(zip(names, values, strict=True))
        said["cuda"] = str(getattr(runtime, "cuda_version", "") or "unknown")
        cudnn = [_version(f"nvidia-cudnn-cu{major}") for major in (13, 12)]
        said["cudnn"] = next(filter(None, cudnn), "unknown")
    return said


def _options(of: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(of.items()) if name in CUDA_OPTIONS)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _nvidia() -> Sequence[str]:
    """The GPU's name and its driver's version."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ("unknown", "unknown")
    parts = [part.strip() for part in said.splitlines()[0].split(",")] if said.strip() else []
    return parts if len(parts) == 2 else ("unknown", "unknown")
