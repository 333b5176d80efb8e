"""One scene in sixteen output conventions: the same five boxes from each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.golden import adapters
from monitor.golden.adapters import Fit, Settings, decode, faults

DATA = os.environ.get("MONITOR_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="MONITOR_TEST_DATA does not name a folder with onnx-outputs")
FOLDER = Path(DATA or "") / "onnx-outputs"
WIDTH, HEIGHT, INPUT, CLASSES = 800, 450, 640, 3
COUNTED = {"boxes": "det_boxes", "scores": "det_scores", "labels": "det_classes", "count": "num_dets"}
TF = {name: f"detection_{name}" for name in ("boxes", "scores")} | {"labels": "detection_classes"}
NAS = {"boxes": "pred_boxes", "scores": "pred_scores", "labels": "pred_classes", "count": "num_predictions"}
HF = {"logits": "logits", "boxes": "pred_boxes"}
THREE = {"boxes": "boxes", "scores": "scores", "labels": "labels"}
PADDLE = {"output": "multiclass_nms3_0.tmp_0", "count": "multiclass_nms3_0.tmp_2"}
CASES: dict[str, tuple[str, dict[str, str], float]] = {
    "yolov8_v11": ("yolov8", {"output": "output0"}, 0.7),
    "yolov5_v7": ("yolov5", {"output": "output0"}, 0.45),
    "yolov10_yolo26_end2end": ("end-to-end", {"output": "output0"}, 0.7),
    "yolox_raw": ("yolox", {"output": "output"}, 0.45),
    "yolox_decoded": ("yolox-decoded", {"output": "output"}, 0.45),
    "rtdetr_dfine_deploy": ("rtdetr-deploy", THREE, 0.7),
    "hf_rtdetr_deim_sigmoid": ("hf-sigmoid", HF, 0.7),
    "hf_detr_softmax": ("hf-softmax", HF, 0.7),
    "rfdetr_3_classes": ("rf-detr", {"logits": "labels", "boxes": "dets"}, 0.7),
    "torchvision": ("torchvision", THREE, 0.7),
    "tf_od_api": ("tf-od", {**TF, "count": "num_detections"}, 0.7),
    "efficientnms_trt": ("efficient-nms", COUNTED, 0.7),
    "mmdeploy": ("mmdeploy", {"boxes": "dets", "labels": "labels"}, 0.7),
    "paddledet": ("paddle", PADDLE, 0.7),
    "onnx_nms_op": ("nms-in-graph", {"boxes": "boxes", "scores": "scores", "selected": "selected_indices"}, 0.7),
    "yolo_nas_batch": ("yolo-nas", NAS, 0.7),
}


def case(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / "raw_outputs.npz") as raw:
        outputs = {key.partition("/")[2]: raw[key] for key in raw.files if key.partition("/")[0] == name}
    return manifest["cases"][name], outputs


def fit_of(preprocess: str) -> Fit:
    if "letterbox" not in preprocess:
        return adapters.stretched(WIDTH, HEIGHT, INPUT, INPUT)
    return adapters.letterboxed(WIDTH, HEIGHT, INPUT, INPUT, centred="TOP-LEFT" not in preprocess)


def test_every_case_has_its_convention() -> None:
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["cases"].keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_the_boxes_are_the_expected_ones(name: str) -> None:
    said, outputs = case(name)
    convention, roles, iou = CASES[name]
    assert faults(convention, roles, {key: value.shape for key, value in outputs.items()}, CLASSES) == []
    (found,) = decode(convention, roles, outputs, [fit_of(said["preprocess"])], Settings(0.25, "class", iou))
    expected = sorted(said["expected"], key=lambda one: -one["score"])
    assert found.label.tolist() == [one["label"] for one in expected]
    assert np.abs(found.box - np.array([one["box"] for one in expected])).max() <= 1e-3
    assert found.score == pytest.approx([one["score"] for one in expected], abs=1e-4)


def test_suppression_across_classes_drops_the_box_within_another() -> None:
    said, outputs = case("yolov8_v11")
    fit = fit_of(said["preprocess"])
    (found,) = decode("yolov8", {"output": "output0"}, outputs, [fit], Settings(0.25, "all", 0.7))
    assert [round(score, 2) for score in found.score.tolist()] == [0.92, 0.81, 0.77, 0.35]
