"""The picture as the Inception network of 2015 sees it: FID, KID, precision, recall, density and coverage.

The distances that most papers on generators give. They see texture and arrangement before they see hands and eyes: they
stand beside the other traits for comparison.
"""

from __future__ import annotations

import math

from detectors.distances.frechet import compared_by_frechet
from detectors.distances.kernel import compared_by_kernel
from detectors.distances.neighbours import NEIGHBOURS, Which, compared_by_neighbours
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View

EXTRACTOR = "inception"
COLUMN = "image_inception"
N_MIN = 24
N_MOST = 2000


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Hand on the network's vector, float32 (2048,), or say that its weights are not at hand."""
    if EXTRACTOR not in view.features:
        return Measurement("no_weights")
    return Measurement(OK, {COLUMN: view.features[EXTRACTOR]})


_RESIZE = "Resized as clean-fid does (bicubic, antialiased): torch-fidelity's numbers differ by its own resizing."
_EQUAL = "Generations and reference are compared at the number of pictures of the smallest."
_RANK = (
    "Depends on that number: below 2,049 pictures the covariances lack rank, and two sets of one population lie far "
    "apart by chance. The reference is held to what chance shows, told from its own halves and quarters."
)


def _neighbours(which: Which, label: str, source: str, limits: str) -> Trait:
    return Trait(
        name=f"image_{which}",
        subject="image",
        label=label,
        unit="" if which == "density" else "share",
        direction="higher",
        floor=math.nan,
        source=f"{source}, k = {NEIGHBOURS}, on Inception-v3's pooled features",
        readings=(COLUMN,),
        statistic=compared_by_neighbours(COLUMN, which),
        n_min=N_MIN,
        n_most=N_MOST,
        equal_n=True,
        resampling="half",
        bounds=(0.0, math.inf if which == "density" else 1.0),
        limits=f"{limits} {_EQUAL} The reference is held to what one half of it shows against the other. {_RESIZE}",
    )


FAMILY = Family(
    name="image_inception",
    group="image",
    subject="image",
    readings=(Reading(COLUMN, "image", "Inception-v3's pooled features", "", kind="vector"),),
    states={
        OK: "measured",
        "no_weights": "the weights of Inception-v3 are not at hand (`decay models fetch inception`)",
        "failed": "the network could not read the picture",
    },
    measure=measure,
    features=EXTRACTOR,
    traits=(
        Trait(
            name="image_fid",
            subject="image",
            label="Frechet inception distance (FID)",
            unit="FID",
            direction="lower",
            floor=math.nan,
            source="Heusel et al. 2017, arXiv:1706.08500; resized after Parmar et al. 2022, arXiv:2104.11222",
            readings=(COLUMN,),
            statistic=compared_by_frechet(COLUMN),
            n_min=N_MIN,
            equal_n=True,
            bounds=(0.0, math.inf),
            limits=f"{_RANK} {_EQUAL} {_RESIZE}",
        ),
        Trait(
            name="image_kid",
            subject="image",
            label="kernel inception distance (KID)",
            unit="KID",
            direction="lower",
            floor=math.nan,
            source="Binkowski et al. 2018, arXiv:1801.01401, unbiased, from all pairs",
            readings=(COLUMN,),
            statistic=compared_by_kernel(COLUMN),
            n_min=N_MIN,
            equal_n=True,
            limits=f"Not times 1,000. One middling picture, made again and again, moves it little. {_EQUAL} {_RESIZE}",
        ),
        _neighbours(
            "precision",
            "pictures like the reference's (precision)",
            "precision, Kynkaanniemi et al. 2019, arXiv:1904.06991",
            "Rises where a generator keeps to what is typical.",
        ),
        _neighbours(
            "recall",
            "reference within reach (recall)",
            "recall, Kynkaanniemi et al. 2019, arXiv:1904.06991",
            "One outlier with a wide ball can reach much.",
        ),
        _neighbours(
            "density",
            "reference around the pictures (density)",
            "density, Naeem et al. 2020, arXiv:2002.09797",
            "Rises beyond 1 where a generator keeps to what is typical.",
        ),
        _neighbours(
            "coverage",
            "reference's pictures with a like (coverage)",
            "coverage, Naeem et al. 2020, arXiv:2002.09797",
            "Falls as kinds of pictures vanish.",
        ),
    ),
)
