"""Whether a hand is found where there is one, and the counts that correct its share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decay.calibrate.photographs import half_of, hand_photographs, portraits
from decay.images import read_image
from detectors.hand_presence import FAMILY, measure
from detectors.trait import Box, Hand, View
from detectors.vision import Vision

ERRORS = FAMILY.traits[0].errors


def test_a_palm_alone_is_a_hand_and_none_is_a_measured_zero() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    palm = Hand(Box(10, 10, 50, 50), None, np.full((7, 2), 30.0), 0.2, "")
    assert measure(View(pixels, hands=(palm,)), None).values == {"hand_found": 1.0}
    assert measure(View(pixels), None).values == {"hand_found": 0.0}


@pytest.mark.validation
def test_the_counts_are_those_of_the_photographs_not_tuned_on(validation_data: Path) -> None:
    """All portraits, and of the hands every sixth: reading all takes half a minute."""
    assert ERRORS is not None
    others = [path for path in portraits(validation_data) if half_of(path.name) == "reporting"]
    hands = [path for _, path in hand_photographs(validation_data) if half_of(path.name) == "reporting"]
    assert (len(hands), len(others)) == (ERRORS.n_positive, ERRORS.n_negative)
    with Vision() as vision:
        false = sum(bool(vision.look(read_image(path)).hands) for path in others)
        lost = sum(not vision.look(read_image(path)).hands for path in hands[::6])
    assert false == ERRORS.n_false
    assert lost <= ERRORS.n_positive - ERRORS.n_found
