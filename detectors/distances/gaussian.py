"""The Frechet distance of two single pictures: of the features at each of their locations, in place of many pictures.

Rott Shaham, Dekel & Michaeli 2019, "SinGAN", doi:10.1109/ICCV.2019.00467.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from detectors.trait import Vector


@dataclass(frozen=True)
class FeatureStatistics:
    """A Gaussian in place of the features of one picture. ``mean``: (c,). ``root``: symmetric (c, c), the square root
    of the covariance."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]


def feature_statistics(features: NDArray[np.float64]) -> FeatureStatistics:
    """Mean and root of the sample covariance (divided by n - 1) of features (n locations, c channels), n >= 2.

    Warns if n <= c: the covariance then lacks rank, and what is compared depends on the pictures' size.
    """
    n_locations, n_channels = features.shape
    if n_locations < 2:
        raise ValueError(f"a distribution needs at least 2 locations, got {n_locations}")
    if n_locations <= n_channels:
        warnings.warn(
            f"{n_locations} locations for {n_channels} channels: single-image FID is rough at this size; "
            "use larger pictures or an earlier layer.",
            stacklevel=2,
        )
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    return FeatureStatistics(features.mean(axis=0), _root(covariance))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Frechet distance of two Gaussians, |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), >= 0.

    Dowson & Landau (1982), doi:10.1016/0047-259X(82)90077-X; Heusel et al. (2017), arXiv:1706.08500, eq. 6. The trace
    of the root is the sum of the singular values of S1^(1/2) S2^(1/2): exact for covariances without full rank as
    well, where a matrix square root of the product may be complex or not exist.
    """
    shared = float(np.linalg.svd(a.root @ b.root, compute_uv=False).sum())
    apart = float(np.sum((a.mean - b.mean) ** 2))
    return max(apart + float(np.sum(a.root**2) + np.sum(b.root**2)) - 2.0 * shared, 0.0)


def packed(features: NDArray[np.float64]) -> Vector:
    """Mean and covariance of features (n locations, c channels) as one vector, float32 (c + c (c + 1) / 2,): the mean,
    then the covariance's upper triangle, row by row."""
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    upper = covariance[np.triu_indices(len(covariance))]
    return np.asarray(np.concatenate([features.mean(axis=0), upper]), dtype=np.float32)


def unpacked(vector: Vector) -> FeatureStatistics:
    """What ``packed`` packed. Raises ValueError for a vector of another length."""
    n = round((math.sqrt(9 + 8 * len(vector)) - 3) / 2)
    if n + n * (n + 1) // 2 != len(vector):
        raise ValueError(f"expected a mean and the upper triangle of a covariance, got {len(vector)} numbers")
    covariance = np.zeros((n, n))
    covariance[np.triu_indices(n)] = vector[n:]
    return FeatureStatistics(vector[:n].astype(np.float64), _root(covariance + np.triu(covariance, 1).T))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = eigh(covariance)
    # Where rank is lacking, eigenvalues of zero come out as some 1e-17 of either sign.
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T, dtype=np.float64)
