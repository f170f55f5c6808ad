"""Tables as `measure` writes them, made up: traits over six generations, some eroding, some holding, some lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

FAMILIES = {
    "catchlight": ("eyes", ["presence", "eccentricity", "clock_spread", "position_spread", "same_side_disparity",
                            "mirror_disparity", "iou", "modal_cell", "modal_colour", "dolls_eyes", "contrast"]),
    "iris": ("eyes", ["hue_spread", "lightness_spread", "size_ratio"]),
    "gaze": ("eyes", ["vergence", "yaw_spread", "pitch_spread"]),
    "hand": ("hands", ["presence", "bone_ratio_plausibility", "mitten_share", "scale_spread", "pose_spread"]),
    "face": ("face", ["presence", "pairwise_distance", "vendi_score", "effective_rank", "nearest_neighbour",
                      "coverage", "recall", "duplicates", "shape_variance", "cheekbone_to_jaw", "asymmetry"]),
    "expression": ("face", ["smile_spread", "smile_mean", "brow_spread", "vacancy"]),
    "skin": ("face", ["lightness_spread", "hue_spread", "ita_spread", "texture"]),
    "lighting": ("light", ["ratio", "ratio_spread", "histogram_intersection"]),
    "image": ("image", ["contrast", "saturation", "sharpness", "colour_spread"]),
}  # fmt: skip
UNITS = ("share", "deg", "iris radii", "", "stops", "nats", "CIELAB units")


@dataclass(frozen=True)
class Tables:
    traits: pd.DataFrame
    erosion: pd.DataFrame
    verdict: dict[str, Any]
    run: dict[str, Any]

    def few(self) -> Tables:
        """A trait of each kind and group, for tests that draw every one."""
        names = ["catchlight_presence", "catchlight_clock_spread", "iris_hue_spread", "hand_pose_spread", "face_recall",
                 "face_asymmetry", "lighting_ratio", "image_sharpness"]  # fmt: skip
        traits, erosion = (table[table["trait"].isin(names)] for table in (self.traits, self.erosion))
        return Tables(traits, erosion, self.verdict, self.run)

    def of(self, trait: str) -> tuple[pd.DataFrame, pd.Series]:
        rows = self.traits[self.traits["trait"] == trait]
        return rows, self.erosion[self.erosion["trait"] == trait].iloc[0]


def trait_rows(
    name: str,
    group: str,
    retention: list[float],
    *,
    reference: float = 0.9,
    floor: float = 0.0,
    unit: str = "share",
    kind: str = "level",
    label: str = "",
    frac_measured: list[float] | None = None,
    n_expected: int = 48,
) -> pd.DataFrame:
    """The traits table's rows of one trait with the given retention; NaN is a generation that could not be measured."""
    kept = np.array(retention, dtype=float)
    value = floor + kept * (reference - floor)
    half = 0.06 * abs(reference - floor) * np.where(np.isfinite(value), 1, np.nan)
    share = np.array(frac_measured if frac_measured is not None else np.linspace(0.98, 0.7, len(kept)))
    n_measured = np.floor(share * n_expected).astype(int)
    return pd.DataFrame(
        {
            "generation": np.arange(len(kept)),
            "trait": name,
            "label": label or name.replace("_", " ").capitalize(),
            "unit": unit,
            "direction": "reference" if kind == "location" else ("higher" if floor < reference else "lower"),
            "group": group,
            "kind": kind,
            "reference_value": reference,
            "floor": math.nan if kind == "location" else floor,
            "n_expected": n_expected,
            "n_measured": n_measured,
            "frac_measured": n_measured / n_expected if n_expected else math.nan,
            "value": value,
            "ci_low": value - half,
            "ci_high": value + half,
            "retention": kept,
            "retention_low": kept - 0.06,
            "retention_high": kept + 0.06,
            "limits": "below 16 px iris diameter the value tracks resolution, not decay",
            "source": "Hu, Li & Lyu 2021, doi:10.1109/ICASSP39728.2021.9414582",
        }
    )


def erosion_row(name: str, retention: list[float]) -> dict[str, Any]:
    below = [g for g, kept in enumerate(retention) if kept < 0.8]
    onset = below[0] if below else math.nan
    return {
        "trait": name,
        "label": name.replace("_", " ").capitalize(),
        "family": name.split("_", maxsplit=1)[0],
        "onset_generation": onset,
        "onset_low": max(onset - 1, 1),
        "onset_high": onset + 1 if onset < len(retention) - 1 else math.nan,
        "half_life_generations": 2.4 if below else math.nan,
        "p_first": 0.61 if onset == 1 else 0.0,
        "smallest_detectable": 0.32,
        "margin": 0.2,
        "verdict": "eroded" if below else "held",
    }


def fake_tables(n_generations: int = 6, seed: int = 7) -> Tables:
    rng = np.random.default_rng(seed)
    names = [(f"{family}_{word}", group) for family, (group, words) in FAMILIES.items() for word in words]
    traits, erosion = [], []
    for index, (name, group) in enumerate(names):
        middle = rng.uniform(1.5, 3.5) if group in ("eyes", "hands") else rng.uniform(3, 12)
        generations = np.arange(n_generations)
        course = 1 / (1 + np.exp((generations - middle) / rng.uniform(0.4, 1.2)))
        kept = course / course[0] + rng.normal(0, 0.02, n_generations) * (generations > 0)
        kept[0] = 1
        if name == "hand_pose_spread":
            kept[:] = math.nan
        elif name == "iris_hue_spread":
            kept[3:] = math.nan
        elif index % 11 == 4:
            kept[2] = math.nan
        lower = index % 3 == 1
        traits.append(
            trait_rows(
                name,
                group,
                list(kept),
                reference=0.2 if lower else 0.9,
                floor=1.0 if lower else 0.0,
                unit=UNITS[index % len(UNITS)],
                kind="location" if index % 9 == 2 else "level",
                n_expected=0 if name == "hand_pose_spread" else 48,
            )
        )
        erosion.append(erosion_row(name, list(kept)))
    verdict = {
        "sentence": "Eyes eroded first: catchlight presence fell from generation 2 (61 % of resamplings).",
        "first": {"trait": "catchlight_presence", "p_first": 0.61, "onset": 2},
        "first_family": {"family": "catchlight", "p_first": 0.72, "onset": 2},
        "order": [name for name, _ in names],
        "ties": [["catchlight_presence", "hand_presence"]],
        "not_rankable": ["iris_hue_spread"],
        "not_measured": ["hand_pose_spread"],
        "reference": "generation 0",
    }
    run = {
        "settings": {"run": "runs/lineage_a", "seed": 7, "confidence": 0.95},
        "versions": {"decay": "0.1.0", "mediapipe": "0.10.21", "numpy": "1.26.4"},
        "models": [
            {"name": "face mesh", "file": "face_landmark_with_attention.tflite", "sha256": "ab" * 32,
             "licence": "Apache-2.0"},
        ],
        "timings": {"measure_s": 61.2},
        "embedder": "descriptor (landmarks + HOG, not identity)",
        "image_states": {"ok": 286, "unreadable": 2},
        "thresholds": {"retention_onset": 0.5},
        "notes": ["gen_03 is empty"],
    }  # fmt: skip
    table = pd.DataFrame(erosion)
    order = table[table["verdict"] == "eroded"].sort_values(["onset_generation", "p_first"], ascending=[True, False])
    table["rank"] = pd.Series(range(1, len(order) + 1), index=order.index, dtype="Int64")
    return Tables(pd.concat(traits, ignore_index=True), table, verdict, run)


@pytest.fixture(scope="session")
def tables() -> Tables:
    return fake_tables()
