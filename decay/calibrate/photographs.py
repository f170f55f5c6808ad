"""Labelled photographs, read by the instrument and set beside what a person saw."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from decay.images import read_image
from detectors.geometry import angle_difference_deg, rotate
from detectors.reader import Reader, Row
from detectors.trait import OK

Labels = dict[str, str]
"""One row of a label file, by column."""
PORTRAITS = Path("faces") / "celebahq_1024"


def half_of(name: str) -> str:
    """``tuning`` or ``reporting``: photographs are split by the hash of their file name, once and for all."""
    return "reporting" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 else "tuning"


def portraits(root: Path) -> list[Path]:
    """The labelled portraits, by name."""
    return sorted((root / PORTRAITS).glob("*.jpg"))


def read_portrait(
    reader: Reader, path: Path, presence: Mapping[str, Labels], glints: Mapping[tuple[str, str], Labels]
) -> list[dict[str, Any]]:
    """Two records, one per eye: what the labels say and what the instrument reads."""
    readings = reader.read(read_image(path))
    faces = sorted(range(len(readings.faces)), key=lambda index: -_width(readings.faces[index]))
    rows = {row["side"]: row for row in readings.eyes if faces and row["face"] == faces[0]}
    roll = float(readings.faces[faces[0]]["roll_deg"]) if faces else 0.0
    records = []
    for side in ("image_left", "image_right"):
        row = rows.get(side)
        record = {
            "file": path.name,
            "half": half_of(path.name),
            "side": side,
            "label": presence[path.name][f"{side}_eye"],
            "note": presence[path.name]["note"],
            "state": row["catchlight_state"] if row else "no_face",
        }
        truth = glints.get((path.name, side))
        if truth and row:
            record |= _against_hand_reading(row, truth, roll)
        records.append(record)
    return records


def read_labels(root: Path) -> tuple[dict[str, Labels], dict[tuple[str, str], Labels]]:
    """(presence by file, hand-read glints by file and side)."""
    with (root / PORTRAITS / "catchlights_by_eye.tsv").open(encoding="utf-8") as lines:
        presence = {row["file"]: row for row in csv.DictReader(lines, delimiter="\t")}
    with (root / PORTRAITS / "catchlights_read.tsv").open(encoding="utf-8") as lines:
        glints = {(row["file"], row["eye"]): row for row in csv.DictReader(lines, delimiter="\t")}
    return presence, glints


def _against_hand_reading(row: Row, truth: Labels, roll_deg: float) -> dict[str, Any]:
    """Errors in iris radii and degrees, in image axes as the hand readings are."""
    x, y, radius = (float(truth[name]) for name in ("iris_x", "iris_y", "iris_r"))
    iris = math.hypot(float(row["iris_x_px"]) - x, float(row["iris_y_px"]) - y) / radius
    record: dict[str, Any] = {"flag": truth["flag"], "several": truth["ambiguous_main"] == "1", "iris_offset": iris}
    if row["catchlight_state"] != OK:
        return record
    turn, rho = math.radians(float(row["catchlight_clock_deg"])), float(row["catchlight_rho"])
    ours = rotate(np.array([[rho * math.sin(turn), -rho * math.cos(turn)]]), roll_deg)[0]
    candidates = [((float(truth["catch_x"]) - x) / radius, (float(truth["catch_y"]) - y) / radius)]
    if record["several"]:
        others = [glint.split(",") for glint in truth["other_catchlights"].split(";") if glint]
        candidates += [((float(gx) - x) / radius, (float(gy) - y) / radius) for gx, gy, _ in others]
    u, v = min(candidates, key=lambda c: math.hypot(ours[0] - c[0], ours[1] - c[1]))
    ours_deg, theirs_deg = math.degrees(math.atan2(ours[1], ours[0])), math.degrees(math.atan2(v, u))
    return record | {
        "offset": math.hypot(ours[0] - u, ours[1] - v),
        "true_rho": math.hypot(u, v),
        "rho": rho - math.hypot(u, v),
        "clock": angle_difference_deg(ours_deg, theirs_deg),
    }


def _width(row: Row) -> float:
    x0, _, x1, _ = (float(edge) for edge in str(row["box"]).split(","))
    return x1 - x0
