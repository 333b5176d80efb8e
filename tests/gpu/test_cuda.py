"""On a machine with an NVIDIA GPU: CUDA really ran, it answers as the CPU does, and two nights have one digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import golden_line
import pytest

from monitor.golden import job
from monitor.golden.run import Limits, score
from monitor.golden.session import PROVIDERS, Wanted, heavy_elsewhere, open_model

ENOUGH = Limits(300, 16384)
ON_GPU = golden_line.contract().replace('provider = "cpu"', 'provider = "cuda"')


@pytest.fixture(scope="module")
def drawn(missing: Callable[[str, str], NoReturn], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn set, where a session on the GPU can be had; else the reason why not."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime-gpu is not installed")
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        missing("gpu", f"this build of ONNX Runtime ({onnxruntime.__version__}) has no CUDA")
    onnxruntime.preload_dlls()
    data = (golden_line.LINE / "detector.onnx").read_bytes()
    wanted = Wanted("cuda", True, "yolov8", {"image": "images"}, {"output": "output0"}, 3, "float32")
    opened = open_model(data, wanted)
    if opened.degraded:
        missing("gpu", f"no session runs on a GPU here: {opened.degraded}")
    assert heavy_elsewhere(opened.session, PROVIDERS["cuda"]) == []
    return golden_line.draw(tmp_path_factory.mktemp("golden"), 96, dark=32)


def test_cuda_really_ran_and_two_nights_have_one_digest(drawn: Path) -> None:
    first = score(golden_line.work(drawn, ON_GPU), ENOUGH)
    assert (first.outcome.status, first.outcome.reason) == ("done", "")
    said = first.outcome.environment
    assert said["provider"] == PROVIDERS["cuda"]
    assert "use_tf32=0" in said["provider_options"]
    assert "unknown" not in (said["gpu"], said["driver"])
    again = score(golden_line.work(drawn, ON_GPU), ENOUGH, {"last run": first.artifacts[job.DETECTIONS]})
    assert again.outcome.digest == first.outcome.digest
    assert again.outcome.sameness == "same"


def test_the_gpus_answer_is_the_cpus_within_rounding(drawn: Path) -> None:
    on_cpu = score(golden_line.work(drawn), ENOUGH)
    on_gpu = score(golden_line.work(drawn, ON_GPU), ENOUGH, {"last run": on_cpu.artifacts[job.DETECTIONS]})
    assert on_gpu.outcome.sameness in ("same", "rounding"), on_gpu.outcome.apart
    precise = [json.loads(one.artifacts[job.EVALUATION])["stats"]["AP"] for one in (on_cpu, on_gpu)]
    assert precise[0] == pytest.approx(precise[1], abs=1e-3)
