"""The largest eigenvalue by powers is that of the whole solution, whatever the matrix."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.geometry import largest_eigenvalue


def gram(x: np.ndarray) -> np.ndarray:
    return x.conj().T @ x


def made(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 12)) + 1j * rng.normal(size=(40, 12))
    if kind == "alike":
        return gram(np.ones((40, 12)) + 0.1 * noise.real)
    if kind == "alike, rows that sum to zero":
        along = np.exp(2j * np.pi * np.arange(12) / 12)
        return gram(np.outer(np.ones(40), along) + 0.02 * (noise - noise.mean(axis=1, keepdims=True)))
    if kind == "nothing in common":
        return gram(noise)
    if kind == "two of one size":
        return np.diag([3.0, 3.0, 1e-3, 0.0])
    if kind == "just more than half":
        return np.diag([0.0, 1.0, 0.999, 1e-4])
    return np.zeros((4, 4))


@pytest.mark.parametrize(
    "kind",
    ["alike", "alike, rows that sum to zero", "nothing in common", "two of one size", "just more than half", "zero"],
)
def test_it_is_that_of_the_whole_solution(kind: str) -> None:
    matrix = made(kind)
    assert largest_eigenvalue(matrix) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-12, abs=1e-15)


def test_a_start_in_the_wrong_direction_does_not_pass_for_the_largest() -> None:
    """The column it starts from is itself an eigenvector, of less than half of the trace."""
    matrix = np.zeros((4, 4))
    matrix[0, 0] = 2.0
    matrix[1:, 1:] = 1.0  # its eigenvalue is 3
    assert largest_eigenvalue(matrix) == pytest.approx(3.0)
