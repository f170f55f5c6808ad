"""What a person would write instead of `decay measure`: the same models, one image after another, no readings.

Run: python -m benchmarks.plain {same,solutions} FOLDER [--pack NAME --root DIR]. Prints the seconds of the script, from
its start on, as those of the command count from its start on.
``same``: this package's own reader in a plain loop, so exactly the same inferences. ``solutions``: what vendors offer
ready-made (mediapipe's FaceMesh and Hands for still images, insightface's FaceAnalysis.get), once each per image:
landmarks and embeddings, nothing measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

Look = Callable[[Path], Any]


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("same", "solutions"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack")
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    look = {"same": same, "solutions": solutions}[asked.which](asked.pack, asked.root)
    paths = sorted(asked.folder.glob("gen_*/*.png"))
    for path in paths:
        look(path)
    print(time.time() - psutil.Process().create_time())


def same(pack: str | None, root: Path | None) -> Look:
    """Decode and read, with the reader of this package."""
    from decay.images import read_image  # noqa: PLC0415
    from decay.workers.job import ReaderSpec  # noqa: PLC0415
    from decay.workers.task import start_reader  # noqa: PLC0415
    from detectors.reader import Reader  # noqa: PLC0415

    reader = start_reader(ReaderSpec(pack, root))
    assert isinstance(reader, Reader)
    return lambda path: reader.read(read_image(path))


def solutions(pack: str | None, root: Path | None) -> Look:
    """Decode, and what mediapipe and insightface offer ready-made."""
    import mediapipe  # noqa: PLC0415

    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=16)
    hands = mediapipe.solutions.hands.Hands(static_image_mode=True, max_num_hands=8)
    analysis = _analysis(pack, root) if pack else None

    def look(path: Path) -> None:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        mesh.process(pixels)
        hands.process(pixels)
        if analysis:
            analysis.get(np.ascontiguousarray(pixels[:, :, ::-1]))

    return look


def _analysis(pack: str, root: Path | None) -> Any:
    from insightface.app import FaceAnalysis  # noqa: PLC0415

    analysis = FaceAnalysis(
        pack, root=str(root or Path("~/.insightface").expanduser()), allowed_modules=["detection", "recognition"]
    )
    analysis.prepare(ctx_id=-1)
    return analysis


if __name__ == "__main__":
    main()
