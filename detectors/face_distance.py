"""How far a generation's faces lie from the reference's, as a whole: the Frechet distance of face embeddings."""

from __future__ import annotations

import math

from detectors.distances.frechet import compared_by_frechet
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View

EMBEDDING = "face_embedding"


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Nothing of its own: the trait rests on the embeddings of ``face_identity``."""
    return Measurement(OK)


FAMILY = Family(
    name="face_distance",
    group="face",
    subject="face",
    readings=(),
    states={OK: "see face_identity"},
    measure=measure,
    lender="face_identity",
    borrowed=(Reading(EMBEDDING, "face", "face embedding", "", kind="vector"),),
    traits=(
        Trait(
            name="face_fd",
            subject="face",
            label="Frechet distance of face embeddings",
            unit="FD",
            direction="lower",
            floor=math.nan,
            source="Frechet distance, Heusel et al. 2017, arXiv:1706.08500, eq. 6, on face embeddings",
            readings=(EMBEDDING,),
            statistic=compared_by_frechet(EMBEDDING),
            n_min=24,
            equal_n=True,
            bounds=(0.0, math.inf),
            limits="Depends on the number of faces: where they are fewer than the numbers of an embedding, covariances "
            "lack rank, and two sets of one population lie far apart by chance. The reference is held to what chance "
            "shows, told from its own halves and quarters. Depends on the embedder: with the weights-free descriptor "
            "it is appearance, not persons.",
        ),
    ),
)
