"""The yardsticks that others publish, on fixed vectors: ours beside the numbers of the packages that define them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from decay.calibrate.cells import markdown
from detectors.distances.frechet import frechet_distance
from detectors.distances.kernel import kernel_distance
from detectors.distances.neighbours import pairs_of, share_of
from detectors.face_identity import vendi_score

Vectors = NDArray[np.float32]

FID = {
    (50, 50, 128): 6.251524921771502,
    (40, 90, 64): 3.6079746807558717,
    (500, 400, 64): 1.4387931370225644,
    (300, 40, 64): 3.0758938544301735,
}
"""By (n, m, d): ``fid_features_to_statistics`` and ``fid_statistics_to_metric`` of torch-fidelity 0.4.0 on
``vectors(1, n, d)`` and ``vectors(2, m, d, 1.3, 0.1)``."""
KID = {
    (50, 128): (0.037385301397673265, 0.037385301397673064),
    (600, 32): (0.03659498051945853, 0.036594980519458885),
}
"""By (n, d): ``kernel_mmd`` of torch-fidelity 0.4.0, and ``kernel_distance`` of clean-fid 0.1.35 with one subset of
all, on the same in double precision."""
PRDC = {
    (100, 80, 32): {"precision": 1.0, "recall": 0.13, "density": 5.745000000000001, "coverage": 1.0},
    (300, 300, 16): {
        "precision": 0.9966666666666667,
        "recall": 0.3333333333333333,
        "density": 3.348,
        "coverage": 0.9966666666666667,
    },
}
"""By (n, m, d): ``compute_prdc`` of prdc 0.2, k = 5, on ``vectors(1, n, d, power=0)`` as real and ``vectors(2, m, d,
0.7, 0.05, power=0)`` as generated."""
VENDI = {"two each at 0, 10 and 20, exp(-|a - b|)": 2.9999, "0.9 between two of three": 2.1573}
"""As the README of vendi-score 0.0.3 prints them, cut off after four digits."""

EXACT = 1e-9
SINGLE = 1e-6
"""torch-fidelity takes the mean of the vectors in their own single precision."""
LACKS_RANK = 1e-5
"""Where covariances lack rank the roots of eigenvalues that should be 0 add up to noise in the published codes."""


@dataclass(frozen=True)
class Parity:
    """One number twice. ``tolerance``: of their difference, as a share of ``theirs``."""

    what: str
    vectors: str
    package: str
    theirs: float
    ours: float
    tolerance: float

    @property
    def difference(self) -> float:
        """As a share of theirs."""
        return abs(self.ours - self.theirs) / abs(self.theirs)


def vectors(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0, power: float = 0.5) -> Vectors:
    """Gaussian vectors float32 (n, d), whose k-th number has the deviation ``scale`` k^-``power``."""
    noise = np.random.default_rng(seed).normal(size=(n, d))
    return np.asarray(shift + scale * noise * (1.0 + np.arange(d)) ** -power, dtype=np.float32)


def parities() -> list[Parity]:
    """Every number that was compared."""
    return [*_fid(), *_kid(), *_prdc(), *_vendi()]


def parity_section() -> str:
    """``docs/accuracy.md``: the table."""
    rows = [
        [p.what, p.vectors, p.package, f"{p.theirs:.6g}", f"{p.ours:.6g}", f"{p.difference:.1e}", f"{p.tolerance:.0e}"]
        for p in parities()
    ]
    head = ["yardstick", "vectors", "of", "theirs", "ours", "difference", "held to"]
    return (
        "\n## The yardsticks that others publish\n\n"
        "On fixed vectors from a seeded generator. *theirs* is what the package named gave on the same vectors,\n"
        "*difference* is relative. Below full rank (fewer vectors than numbers in each) the published codes add up\n"
        "the roots of eigenvalues that should be 0; ours takes singular values of the vectors themselves.\n"
        "torch-fidelity takes means in single precision; vendi-score prints its examples cut off after four digits.\n\n"
        "What the networks make of a picture (resizing, normalising, forward) is held to their makers' steps by\n"
        "tests, on tiny networks with random weights; the published weights were not at hand.\n\n"
        f"{markdown(head, rows)}"
    )


def _fid() -> list[Parity]:
    found = []
    for (n, m, d), theirs in FID.items():
        one, other = vectors(1, n, d), vectors(2, m, d, 1.3, 0.1)
        ours, named, has_rank = frechet_distance(one, other), f"{n} and {m} of {d}", min(n, m) > d
        by_root = _by_matrix_root(one, other)
        found += [
            Parity("FID", named, "torch-fidelity 0.4.0", theirs, ours, SINGLE if has_rank else LACKS_RANK),
            Parity("FID", named, "scipy.linalg.sqrtm", by_root, ours, EXACT if has_rank else LACKS_RANK),
        ]
    return found


def _by_matrix_root(one: Vectors, other: Vectors) -> float:
    """Heusel et al. 2017, eq. 6, as clean-fid and its authors compute it."""
    a, b = (np.cov(each.astype(np.float64), rowvar=False) for each in (one, other))
    apart = one.astype(np.float64).mean(axis=0) - other.astype(np.float64).mean(axis=0)
    return float(apart @ apart + np.trace(a + b) - 2.0 * np.trace(np.real(sqrtm(a @ b))))


def _kid() -> list[Parity]:
    found = []
    for (n, d), each in KID.items():
        ours = kernel_distance(vectors(1, n, d), vectors(2, n, d, 1.3, 0.1))
        for package, theirs in zip(("torch-fidelity 0.4.0", "clean-fid 0.1.35"), each, strict=True):
            found.append(Parity("KID", f"{n} and {n} of {d}", package, theirs, ours, EXACT))
    return found


def _prdc() -> list[Parity]:
    found = []
    for (n, m, d), each in PRDC.items():
        pairs = pairs_of(vectors(2, m, d, 0.7, 0.05, power=0.0), vectors(1, n, d, power=0.0))
        ours = {
            "precision": share_of("precision", pairs),
            "recall": share_of("recall", pairs),
            "density": share_of("density", pairs),
            "coverage": share_of("coverage", pairs),
        }
        named = f"{n} and {m} of {d}"
        found += [Parity(what, named, "prdc 0.2", theirs, ours[what], EXACT) for what, theirs in each.items()]
    return found


def _vendi() -> list[Parity]:
    places = np.array([0, 0, 10, 10, 20, 20])
    kernels = (
        np.exp(-np.abs(places[:, None] - places[None, :])),
        np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    )
    found = []
    for (named, theirs), kernel in zip(VENDI.items(), kernels, strict=True):
        values, axes = np.linalg.eigh(kernel)
        # Unit rows whose cosines are the kernel.
        ours = vendi_score(axes * np.sqrt(np.clip(values, 0.0, None)))
        found.append(Parity("Vendi score", named, "vendi-score 0.0.3", theirs, ours, 1e-4))
    return found
