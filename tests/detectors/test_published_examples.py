"""Numbers that the authors of a statistic printed beside it."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.face_identity import vendi_score

SAMPLES = np.array([0, 0, 10, 10, 20, 20])


@pytest.mark.parametrize(
    ("kernel", "printed"),
    [
        (np.exp(-np.abs(SAMPLES[:, None] - SAMPLES[None, :])), 2.9999),
        (np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]), 2.1573),
    ],
)
def test_the_examples_of_the_vendi_scores_own_package(kernel: np.ndarray, printed: float) -> None:
    """README of vendi-score 0.0.3 (Friedman & Dieng)."""
    values, axes = np.linalg.eigh(kernel)
    vectors = axes * np.sqrt(np.clip(values, 0.0, None))  # unit rows whose cosines are the kernel
    assert vendi_score(vectors) == pytest.approx(printed, abs=5e-5)  # as many digits as they print
