"""What an inference service imports. It needs numpy and nothing else.

from datetime import UTC, datetime
from monitor.client import FrameLogger, image_stats

with FrameLogger("state/spool/incoming") as logger:
    logger.log(
        captured_at=datetime.now(UTC),
        model="packages",
        version="3",
        camera="cam-1",
        image=image_stats(frame),
        latency_ms=12.5,
        detections=[{"class": "carton", "confidence": 0.97, "box": [10, 12, 80, 64]}],
    )
"""

from monitor.client.logger import FrameLogger
from monitor.client.proof import input_proof
from monitor.client.record import frame_record
from monitor.imaging.preprocess import Preprocess, preprocess, tensor_sha256
from monitor.imaging.stats import ImageStats, image_stats

__all__ = [
    "FrameLogger",
    "ImageStats",
    "Preprocess",
    "frame_record",
    "image_stats",
    "input_proof",
    "preprocess",
    "tensor_sha256",
]
