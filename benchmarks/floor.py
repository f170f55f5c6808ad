"""Where the time of one image goes: decoding, each model's bare inference, each family's arithmetic, the rest.

Run: python -m benchmarks.floor FOLDER [--pack NAME --root DIR]. One process, one thread; prints JSON, milliseconds per
image. The floor of an image is what decoding and the models alone take; a program that did nothing else, on every core,
would be as fast as that and no faster. ``once`` is a stricter one: decoding, palms, hand, mesh, SCRFD and
embedder with one call an image at most, and no detector of faces before the mesh: without our checks and second looks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from decay import images
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors import reader as reading
from detectors.digits import MODEL
from detectors.reader import Reader
from detectors.registry import families

GRAPHS = {"short range": "_short", "full range": "_full", "palms": "_palm", "mesh": "_mesh", "hand": "_hand"}
DECODE, TRAITS, ALL = "decode", "traits", "all"
ONCE = (DECODE, "palms", "hand", "mesh", "SCRFD", "embedder")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--every", type=int, default=1, help="look at every nth picture")
    asked = parser.parse_args()
    paths = sorted(asked.folder.glob("gen_*/*.png"))[:: asked.every]
    print(json.dumps(where_time_goes(paths, ReaderSpec(asked.pack, asked.root)), indent=2))


def where_time_goes(paths: list[Path], spec: ReaderSpec) -> dict[str, dict[str, float]]:
    """Milliseconds and calls per image: ``models`` (decoding among them), ``families``, and the sums of both."""
    clock = Clock()
    with ExitStack() as stack:
        timed = tuple(replace(each, measure=clock.of(f"family {each.name}", each.measure)) for each in families())
        stack.enter_context(patch.object(reading, "families", lambda: timed))
        stack.enter_context(_timed_sessions(clock))
        bare = clock.of(DECODE, _decode)
        reader = start_reader(spec)
        assert isinstance(reader, Reader)
        stack.enter_context(reader)
        for name, attribute in GRAPHS.items():  # mediapipe's own call alone, not what we make of its answer
            solution = getattr(reader._vision._graphs, attribute)
            solution.process = clock.of(name, solution.process)
        for path in paths[:3]:  # the first calls of native libraries take longer
            reader.read(images.read_image(path))
        clock.reset()
        started = time.perf_counter()
        for path in paths:
            reader.read(images.read_image(path))
        clock.seconds[ALL] = time.perf_counter() - started
        for path in paths:
            bare(path)
    return clock.table(len(paths))


def _decode(path: Path) -> None:
    """What Pillow takes for a file, without the checks and conversions of ``decay.images``."""
    with Image.open(path) as image:
        np.asarray(image.convert("RGB"))


class Clock:
    """Adds up seconds and calls by name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget what was added up."""
        self.seconds.clear()
        self.calls.clear()

    def of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] += time.perf_counter() - started
                self.calls[name] += 1

        return timed

    def table(self, n: int) -> dict[str, dict[str, float]]:
        """Milliseconds and calls per image of everything that was timed, and the sums that the floor is told by."""
        ms = {name: 1000 * seconds / n for name, seconds in self.seconds.items()}
        per_family = {name: value for name, value in ms.items() if name.startswith("family ")}
        models = {name: value for name, value in ms.items() if name not in per_family and name != ALL}
        calls = {name: self.calls[name] / n for name in models}
        once = sum(models[name] / calls[name] * min(calls[name], 1.0) for name in ONCE if name in models)
        sums = {"floor": sum(models.values()), "once": once, TRAITS: sum(per_family.values()), ALL: ms[ALL]}
        return {"sums": sums, "models": models, "calls": calls, "families": per_family}


def _timed_sessions(clock: Clock) -> Any:
    """Every network of insightface: onnxruntime's ``run``, called by its Python class. Our own network of digits is not
    among them: it counts as arithmetic of its family."""
    import onnxruntime  # noqa: PLC0415

    run = onnxruntime.InferenceSession.run

    def timed(session: Any, names: Any, inputs: Any, options: Any = None) -> Any:
        path = getattr(session, "_model_path", None)  # insightface hands its detector over as bytes
        if path is not None and Path(path).name == MODEL.name:
            return run(session, names, inputs, options)
        return clock.of("embedder" if path else "SCRFD", run)(session, names, inputs, options)

    return patch.object(onnxruntime.InferenceSession, "run", timed)


if __name__ == "__main__":
    main()
