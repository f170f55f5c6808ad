"""What counting the digits of a hand costs beside finding the hand: ``make bench-hands``.

One process, one thread for each step: drawn hands of even seeds, every step timed by itself on the same pictures.
Time is the process's own (CPU), the least of a few repeats, so that what the machine does besides hardly tells. The
pixel part asks its dear cues only where the cheap ones do not agree, hence means beside medians.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read when the libraries are loaded, hence before the imports below

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from decay.phantom import Population, draw_hand  # noqa: E402
from detectors import fingers, vision  # noqa: E402
from detectors.digits.patch import cut_patch  # noqa: E402
from detectors.trait import Hand, Pixels, View  # noqa: E402

SIZE_PX = 512
REPEATS = 5
LANDMARKS, PIXELS = "landmark model", "pixel part, all of it"
Step = Callable[[], object]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hands", type=int, default=24, help="how many drawn hands")
    n_hands: int = parser.parse_args().hands
    graphs = vision._Graphs()
    cv2.setNumThreads(1)
    with vision.Vision() as eyes:
        found = [pair for seed in range(0, 2 * n_hands, 2) if (pair := _look(eyes, seed)) is not None]
    times = [{name: _fastest_ms(step) for name, step in _steps(graphs, *pair).items()} for pair in found]
    graphs.close()
    print(f"{len(found)} of {n_hands} drawn hands found, {SIZE_PX} px pictures; ms of one core per hand\n")
    print(f"{'':<32}{'median':>10}{'mean':>10}")
    for name in times[0]:
        taken = [row[name] for row in times]
        print(f"{name:<32}{np.median(taken):>10.2f}{np.mean(taken):>10.2f}")
    ratios = [of([row[PIXELS] for row in times]) / of([row[LANDMARKS] for row in times]) for of in (np.median, np.mean)]
    print(f"\n{'pixel part / landmark model':<32}{ratios[0]:>10.2f}{ratios[1]:>10.2f}")


def _look(eyes: vision.Vision, seed: int) -> tuple[Pixels, Hand] | None:
    rng = np.random.default_rng([seed, SIZE_PX])
    pixels, _ = draw_hand(Population().sample_varied_hand(rng), SIZE_PX, rng)
    hands = [hand for hand in eyes.look(pixels).hands if hand.landmarks_px is not None]
    return (pixels, hands[0]) if hands else None


def _steps(graphs: vision._Graphs, pixels: Pixels, hand: Hand) -> dict[str, Step]:
    view, palm_px = View(pixels, hands=(hand,)), hand.palm_px
    assert palm_px is not None
    palms = vision._detect(vision._Picture(pixels), graphs.palms, vision._PALM_PX)
    square = vision._palm_to_square(palms[0]) if palms else vision._square_around(hand.box, 1.3, 0.0)
    patch = cut_patch(pixels, hand)
    assert patch is not None
    return {
        "palm detection (per picture)": lambda: vision._detect(vision._Picture(pixels), graphs.palms, vision._PALM_PX),
        LANDMARKS: lambda: graphs.hand(vision._cut(pixels, square, vision._HAND_PX)),
        "  patch": lambda: cut_patch(pixels, hand),
        **{f"  cue: {name}": partial(cue, patch) for name, cue in fingers.CUES.items()},
        PIXELS: lambda: fingers.measure(view, hand),
    }


def _fastest_ms(step: Step) -> float:
    step()  # the first run fills caches
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        step()
        taken.append(time.process_time() - start)
    return 1000.0 * min(taken)


if __name__ == "__main__":
    main()
