"""`monitor.client` works where numpy is the only package: every other one is refused while it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path

before = set(sys.modules)  # a .pth file may have loaded something
ALLOWED = {"numpy", "monitor", *sys.stdlib_module_names}


class OnlyNumpy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ALLOWED:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, OnlyNumpy())

from datetime import UTC, datetime
import numpy as np
from monitor.client import FrameLogger, frame_record, image_stats
from monitor.client.folder import read_folder

with FrameLogger(sys.argv[1]) as log:
    image = image_stats(np.zeros((48, 64, 3), dtype=np.uint8))
    log.log(frame_record(captured_at=datetime.now(UTC), model="m", version="1", camera="c", image=image))
assert len(list(Path(sys.argv[1]).glob("*.jsonl"))) == 1

try:
    next(read_folder([Path("a.jpg")]))
except ModuleNotFoundError as error:
    print(error)

print(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - ALLOWED))
"""


def test_the_client_needs_numpy_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said, strangers = done.stdout.splitlines()
    assert said == "reading image files needs Pillow: pip install pillow"
    assert strangers == "[]"
