from __future__ import annotations

import numpy as np
import pytest

from decay.errors import DecayError
from decay.loop.engines.pretrained import to_pixels


def test_shares_become_the_nearest_levels() -> None:
    shares = np.array([0.0, 0.4 / 255, 0.6 / 255, 1.0])
    assert to_pixels(shares, "a model").tolist() == [0, 0, 1, 255]
    assert to_pixels(shares, "a model").dtype == np.uint8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_of_a_training_that_diverged_are_refused(value: float) -> None:
    with pytest.raises(DecayError, match=r"from a model; it gave numbers that are not finite.*lower `learning_rate`"):
        to_pixels(np.array([0.5, value]), "a model")
