"""Faces drawn with known truth, read by the instrument: one record per eye and per face."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decay.phantom import Population, Spread, degrade, draw_face
from detectors.geometry import angle_difference_deg
from detectors.reader import ImageReadings, Reader, Row
from detectors.trait import OK

CLEARLY_VISIBLE = 0.5
"""A glint counts as shown when this share of it is free of the lids, as absent below ``HIDDEN``; between, neither."""
HIDDEN = 0.05
MEASURED = (OK, "no_highlight")
FRAC_NO_GLINT = 0.3
"""Share of faces drawn without a glint: more than people have, so that a glint seen where there is none shows."""


@dataclass(frozen=True)
class Condition:
    """One setting of one factor: how large the picture, how turned the head, what was done to the file."""

    factor: str
    level: str
    size_px: int = 512
    yaw: Spread | None = None
    jpeg_quality: int | None = None
    blur_sigma_px: float | None = None


def baseline(size_px: int) -> Condition:
    """Pictures as drawn."""
    return Condition("as drawn", f"{size_px} px", size_px)


FACTORS = (
    *(Condition("picture size", f"{size} px", size) for size in (192, 256, 384, 512, 768, 1024)),
    *(Condition("JPEG quality", str(q), jpeg_quality=q) for q in (95, 75, 50, 30)),
    *(Condition("blur", f"{s:g} px", blur_sigma_px=s) for s in (0.5, 1.0, 2.0, 3.0)),
    *(Condition("yaw", f"{yaw} deg", yaw=Spread(yaw, 0.5, yaw - 1.0, yaw + 1.0)) for yaw in (0, 10, 20, 30)),
)


def read_drawn_face(reader: Reader, condition: Condition, seed: int) -> list[dict[str, Any]]:
    """Draw one face, read it, and set readings beside truth: two records of eyes and one of the face."""
    rng = np.random.default_rng([seed, condition.size_px])
    population = Population(frac_no_glint=FRAC_NO_GLINT)
    if condition.yaw is not None:
        population = replace(population, yaw=condition.yaw)
    pixels, truth = draw_face(population.sample_face(rng), condition.size_px, rng)
    pixels = degrade(pixels, jpeg_quality=condition.jpeg_quality, blur_sigma_px=condition.blur_sigma_px)
    readings = reader.read(pixels)
    where = {"factor": condition.factor, "level": condition.level, "size_px": condition.size_px, "seed": seed}
    return [where | record for record in compare(readings, truth)]


def compare(readings: ImageReadings, truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Readings of a picture with one drawn face against its truth."""
    rows = {row["side"]: row for row in readings.eyes if row["face"] == 0}
    records = [_eye_record(rows.get(eye["side"]), eye) for eye in truth["eyes"]]
    face = readings.faces[0] if readings.faces else None
    return [*records, _face_record(face, truth)]


def _eye_record(row: Row | None, truth: Mapping[str, Any]) -> dict[str, Any]:
    shown = [glint for glint in truth["glints"] if glint["frac_visible"] >= CLEARLY_VISIBLE]
    unclear = any(HIDDEN < glint["frac_visible"] < CLEARLY_VISIBLE for glint in truth["glints"])
    record: dict[str, Any] = {
        "subject": "eye",
        "radius_px": truth["iris_radius_px"],
        "shown": math.nan if unclear and not shown else float(bool(shown)),
        "iris_state": row["iris_state"] if row else "no_face",
        "catchlight_state": row["catchlight_state"] if row else "no_face",
    }
    if row is None:
        return record
    return record | _iris_errors(row, truth) | _glint_errors(row, shown)


def _iris_errors(row: Row, truth: Mapping[str, Any]) -> dict[str, float]:
    radius = truth["iris_radius_px"]
    dx, dy = _number(row, "iris_x_px") - truth["iris_x_px"], _number(row, "iris_y_px") - truth["iris_y_px"]
    return {
        "iris_dx": dx / radius,
        "iris_dy": dy / radius,
        "iris_offset": math.hypot(dx, dy) / radius,
        "iris_radius": _number(row, "iris_radius_px") / radius - 1.0,
    }


def _glint_errors(row: Row, shown: list[Mapping[str, Any]]) -> dict[str, float]:
    """Errors against the main glint, that is the one with most light: area times intensity."""
    if row["catchlight_state"] != OK or not shown:
        return {}
    main = max(shown, key=lambda glint: glint["radius_iris"] ** 2 * glint["intensity"])
    rho, clock = _number(row, "catchlight_rho"), _number(row, "catchlight_clock_deg")
    turn, true_turn = math.radians(clock), math.radians(main["clock_deg"])
    du = rho * math.sin(turn) - main["rho"] * math.sin(true_turn)
    dv = rho * math.cos(turn) - main["rho"] * math.cos(true_turn)
    signed = (clock - main["clock_deg"] + 180.0) % 360.0 - 180.0
    return {
        "true_rho": main["rho"],
        "n_shown": float(len(shown)),
        "rho": rho - main["rho"],
        "offset": math.hypot(du, dv),
        "clock_signed": signed,
        "clock": angle_difference_deg(clock, main["clock_deg"]),
        "count_right": float(_number(row, "catchlight_count") == len(shown)),
    }


def _face_record(row: Row | None, truth: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {"subject": "face", "found": float(row is not None)}
    if row is None:
        return record
    return record | {
        "yaw": _number(row, "yaw_deg") - truth["yaw_deg"],
        "roll": _number(row, "roll_deg") - truth["roll_deg"],
        "lighting_ratio_stops": _number(row, "lighting_ratio_stops"),
        "true_lighting_ratio_stops": truth["lighting_ratio_stops"],
        "skin_l": _number(row, "skin_l"),
        "true_skin_l": truth["skin_lightness"],
        "skin_hue_deg": _number(row, "skin_hue_deg"),
        "true_skin_hue_deg": truth["skin_hue_deg"],
        "skin_texture": _number(row, "skin_texture"),
        "true_skin_texture": truth["skin_texture"],
        "expression_smile": _number(row, "expression_smile"),
        "true_expression_smile": truth["smile"],
    }


def _number(row: Row, name: str) -> float:
    value = row.get(name, math.nan)
    return value if isinstance(value, float) else math.nan
