"""A linear generator: probabilistic principal components of the pixels, one model per prompt. NumPy only.

Tipping & Bishop (1999), "Probabilistic Principal Component Analysis", Journal of the Royal Statistical
Society B 61(3), 611-622, doi:10.1111/1467-9868.00196. A picture is x = W z + mu + noise with z ~ N(0, I) and
noise ~ N(0, sigma^2 I). Its fit is a closed form, so that what a lineage of it loses is lost to sampling and to
the model's own limits, never to an optimiser that stopped early.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from decay.errors import DecayError, ModelError
from decay.files import write_aside
from decay.loop.engine import Alone, Dataset, Fit, Processes, Setting
from detectors.trait import Pixels

WEIGHTS_FILE = "weights.npz"
FORMAT_VERSION = 1
"""1: ``format_version``, ``prompts`` (m,), ``image_shape`` (3,); per prompt i ``mean_i``, ``axes_i``, ``variances_i``,
``noise_variance_i``."""


@dataclass(frozen=True)
class PrincipalModel:
    """A Gaussian with q free directions in d dimensions, all else at one variance.

    ``mean``: float32 (d,). ``axes``: float32 (q, d), orthonormal rows. ``variances``: float64 (q,), falling, the
    sample covariance's leading eigenvalues, > 0. ``noise_variance``: sigma^2 >= 0, at most the least of ``variances``.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    variances: NDArray[np.float64]
    noise_variance: float

    @property
    def gains(self) -> NDArray[np.float64]:
        """Length of each column of W = U (Lambda - sigma^2 I)^(1/2) (eq. 7, with R = I), float64 (q,)."""
        return np.asarray(np.sqrt(np.maximum(self.variances - self.noise_variance, 0.0)))

    @property
    def kept(self) -> NDArray[np.float64]:
        """Share of each latent's prior variance that a picture settles, 1 - sigma^2 / lambda, float64 (q,) in 0..1."""
        return 1.0 - self.noise_variance / self.variances

    def encode(self, picture: NDArray[np.float32]) -> NDArray[np.float64]:
        """Posterior mean of the latents, M^-1 W^T (x - mu) (eq. 6). (d,) -> float64 (q,)."""
        return self.gains / self.variances * (self.axes @ (picture - self.mean))

    def decode(self, latents: NDArray[np.float64]) -> NDArray[np.float32]:
        """W z + mu. (q,) -> float32 (d,)."""
        return np.asarray((self.gains * latents).astype(np.float32) @ self.axes + self.mean, dtype=np.float32)


def fit_principal_model(data: NDArray[np.float32], n_components: int | None) -> PrincipalModel:
    """The maximum-likelihood model (eqs. 7 and 8) of ``data``, (n, d) with n >= 2, pictures in rows.

    ``n_components``: at most this many directions, None for all. Never more than the rank of the sample
    covariance, whose directions without variance carry no information. Raises ValueError if all rows are equal.
    """
    n_rows, n_dims = data.shape
    mean = data.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = data - mean
    # n << d: the n x n Gram matrix has the covariance's eigenvalues, and its eigenvectors give the axes. The
    # covariance is divided by n (maximum likelihood), so that each refit expects (n - 1)/n of the variance before.
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64) / n_rows)
    values, vectors = values[::-1], vectors[:, ::-1]
    # Products in float32 leave eigenvalues of about n eps times the largest where there should be none.
    rank = int(np.sum(values > max(values[0], 0.0) * n_rows * np.finfo(np.float32).eps))
    if rank == 0:
        raise ValueError("all rows are equal")
    n_kept = rank if n_components is None else min(n_components, rank)
    variances = values[:n_kept]
    axes = (vectors[:, :n_kept] / np.sqrt(variances * n_rows)).astype(np.float32).T @ centred
    discarded = float(np.sum(values[n_kept:rank]))
    noise_variance = discarded / (n_dims - n_kept) if n_dims > n_kept else 0.0
    return PrincipalModel(mean, axes, variances, noise_variance)


@dataclass(frozen=True)
class LinearWeights:
    """``models``: one per prompt. ``image_shape``: (h, w, 3) of the pictures they were fitted on."""

    models: Mapping[str, PrincipalModel]
    image_shape: tuple[int, int, int]

    def save(self, folder: Path) -> None:
        """Write ``weights.npz`` into ``folder``, without pickle. Raises OutputError."""
        arrays: dict[str, NDArray[np.generic]] = {
            "format_version": np.asarray(FORMAT_VERSION),
            "prompts": np.asarray(list(self.models)),
            "image_shape": np.asarray(self.image_shape),
        }
        for index, model in enumerate(self.models.values()):
            arrays |= {f"{name}_{index}": np.asarray(value) for name, value in vars(model).items()}
        with write_aside(folder / WEIGHTS_FILE) as aside:
            # Through memory: NumPy's archive, left open on a full disk, prints a traceback when it is thrown away.
            packed = io.BytesIO()
            np.savez(packed, **arrays)
            aside.write_bytes(packed.getbuffer())


@dataclass(frozen=True)
class LinearEngine:
    """Every fit is made of its pictures alone: one on real pictures heals a lineage wholly, in one step.

    ``n_components``: directions kept per prompt, None for all that the pictures span.

    ``strength``: 0..1, how much of a start picture's latents is replaced by chance; 1 disregards the picture.
    ``noise``: add the pixel noise of the discarded variance, as the model has it; False gives the expected picture.
    """

    name: ClassVar[str] = "linear"
    chains: ClassVar[bool] = False  # a closed form has nothing to go on from
    has_base: ClassVar[bool] = False  # it starts from nothing
    reads_text: ClassVar[bool] = False  # it knows the captions of its fit
    needs_pictures: ClassVar[bool] = False

    n_components: int | None = None
    strength: float = 1.0
    noise: bool = False

    def __post_init__(self) -> None:
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components must be at least 1 or None, got {self.n_components}")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"strength must lie in 0..1, got {self.strength}")

    @property
    def processes(self) -> Processes:
        """One."""
        return Alone()

    def settings(self) -> Mapping[str, Setting]:
        """The fields of this class."""
        return asdict(self)

    def check(self) -> None:
        """Nothing is needed."""

    def fit_steps(self, n_images: int, *, first: bool = False) -> int:
        """1: a closed form."""
        return 1

    def base(self) -> LinearWeights | None:
        """None: it starts from nothing."""
        return None

    def fit(self, dataset: Dataset, start: LinearWeights | None, circumstances: Fit) -> LinearWeights:
        """One model per distinct caption, on the pictures of that caption alone. See ``Engine.fit``.

        Raises DecayError where there is a ``start``, which a closed form could not go on from.
        """
        if start is not None:
            raise DecayError(
                'The linear engine is fitted in closed form and cannot go on from weights: set init = "base".'
            )
        shape = dataset.images[0].shape
        if any(image.shape != shape for image in dataset.images):
            raise DecayError("The linear engine needs images of one size; these differ. Resize them to one size first.")
        models = {}
        for prompt in dict.fromkeys(dataset.captions):
            rows = [i for i, caption in enumerate(dataset.captions) if caption == prompt]
            data = np.stack([dataset.images[i].reshape(-1) for i in rows]).astype(np.float32)
            if (data == data[0]).all():
                raise DecayError(
                    f"The linear engine needs at least 2 different images per prompt; {prompt!r} has fewer among its "
                    f"{len(rows)}. Add images, or give them a prompt that others share."
                )
            models[prompt] = fit_principal_model(data, self.n_components)
        circumstances.progress(1, 1)
        height, width, channels = shape
        return LinearWeights(models, (height, width, channels))

    def sample(
        self, weights: LinearWeights, prompts: Sequence[str], seeds: Sequence[int], images: Sequence[Pixels] | None
    ) -> Iterator[Pixels]:
        """See ``Engine.sample``. Bit for bit the same whatever else is asked for: pictures are made one by one."""
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            model = weights.models.get(prompt)
            if model is None:
                raise DecayError(
                    f"The linear engine knows the prompts it was fitted on ({', '.join(map(repr, weights.models))}) "
                    f"and no others; asked for {prompt!r}. Use one of those, or an engine that reads text."
                )
            picture = self._picture(model, np.random.default_rng(seed), None if images is None else images[index])
            yield np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(weights.image_shape)

    def _picture(self, model: PrincipalModel, rng: np.random.Generator, start: Pixels | None) -> NDArray[np.float32]:
        chance = rng.standard_normal(len(model.variances))
        if start is None:
            latents = chance
        else:
            # Shrinking toward the prior and adding what is missing from unit variance leaves latents that follow the
            # model itself, N(0, I), at any strength: the start picture is forgotten, the population is not narrowed.
            # At strength 0 this is a draw from the posterior, whose variance is 1 - kept (eq. 6).
            remembered = 1.0 - self.strength**2
            spread = np.sqrt(1.0 - remembered * model.kept)
            latents = np.sqrt(remembered) * model.encode(start.reshape(-1).astype(np.float32)) + spread * chance
        picture = model.decode(latents)
        if self.noise:
            grain = rng.standard_normal(len(picture), dtype=np.float32)
            picture = picture + np.float32(np.sqrt(model.noise_variance)) * grain
        return picture

    def load(self, folder: Path) -> LinearWeights:
        """What ``LinearWeights.save`` wrote into ``folder``. Raises ModelError if it is missing or damaged."""
        path = folder / WEIGHTS_FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return _arrays_to_weights(arrays)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{path}: expected the weights of a linear engine, format {FORMAT_VERSION}; found none that can be "
                f"read ({error}). Fit the model again."
            ) from error


def _arrays_to_weights(arrays: Mapping[str, NDArray[np.generic]]) -> LinearWeights:
    version = int(np.asarray(arrays["format_version"]))
    if version != FORMAT_VERSION:
        raise ValueError(f"format {version}")
    models = {
        str(prompt): PrincipalModel(
            mean=np.asarray(arrays[f"mean_{index}"], dtype=np.float32),
            axes=np.asarray(arrays[f"axes_{index}"], dtype=np.float32),
            variances=np.asarray(arrays[f"variances_{index}"], dtype=np.float64),
            noise_variance=float(np.asarray(arrays[f"noise_variance_{index}"])),
        )
        for index, prompt in enumerate(arrays["prompts"])
    }
    height, width, channels = (int(size) for size in np.asarray(arrays["image_shape"]))
    return LinearWeights(models, (height, width, channels))
