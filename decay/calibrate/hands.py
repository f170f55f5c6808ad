"""Hands whose digits are known, photographed, edited and drawn, read by the instrument and set beside the truth.

One record per hand that should be seen; for pictures without a known truth, one per hand that was seen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from decay.calibrate.hand_edits import make_edits
from decay.calibrate.photographs import half_of
from decay.images import read_image
from decay.phantom import PAIRS, HandParameters, Population, draw_hand
from decay.phantom.canvas import hex_to_linear, lch_to_linear, linear_to_srgb
from detectors.reader import Reader, Row, view_to_readings
from detectors.registry import families
from detectors.trait import Box, Family, Pixels, View

Record = dict[str, Any]

SOURCES = ("epsrc", "subhih", "ardamavi_100px", "mediapipe_gestures")
DIGITS_OF_LABEL = {"four": 4, "call": 2, "rock": 2}
"""Folders that are not named after a number of digits."""
PICTURES = (".jpg", ".jpeg", ".png")
GENERATED = (Path("hands_ai"), Path("lineages") / "sd14_retrained")
EDIT_SEED = 1

FOUND, PALM_ONLY, LOST = "found", "palm only", "lost"
SAME_HAND_OVERLAP = 0.1
"""Intersection over union with the true hand's box from which a hand found is taken for it: a palm lies inside it."""

DRAWN_SIZES_PX = (112, 192, 288, 416, 600)
"""Sides of the drawn pictures; the hand spans about two thirds."""

FACTORS = (
    "view",
    "turned away",
    "turned in the picture",
    "skin, CIE L*",
    "background",
    "background from skin, CIE76",
    "lens blur",
    "arm",
    "hard to see",
)
"""What varies from drawn hand to drawn hand, apart from its digits and its size."""
PLAIN = "in plain sight"
"""A drawn hand whose digits an eye can count: neither turned away, hidden nor cut off, and holding nothing."""

COLUMNS = (
    *("material", "source", "variant", "photograph", "half", "note", "n_hands"),
    *("true_count", "true_fused", "true_mitten", "true_extra", "true_missing", "true_right"),
    *("found", "state", "size_px", "count", "fused", "mitten", "extra", "missing", "right"),
)
"""Of the table of photographs."""


@dataclass(frozen=True)
class HandTruth:
    """What a picture shows of one hand.

    ``n_digits``: separate extended digits, thumb included, fused ones counted once. ``fused_pairs``: names of pairs.
    ``box``: where the hand lies, None where it is the only or the largest one.
    """

    n_digits: int
    fused_pairs: tuple[str, ...] = ()
    n_extra: int = 0
    n_missing: int = 0
    box: Box | None = None

    @property
    def is_mitten(self) -> bool:
        """Whether index to little finger have all fused."""
        return set(PAIRS[1:]) <= set(self.fused_pairs)

    @property
    def is_right(self) -> bool:
        """Whether no digit is fused, extra or missing."""
        return not (self.fused_pairs or self.n_extra or self.n_missing)


# --------------------------------------------------------------------------- one picture


@cache
def hand_families() -> tuple[Family, ...]:
    """The families that read hands."""
    return tuple(family for family in families() if family.subject == "hand")


def read_rows(view: View) -> tuple[Row, ...]:
    """One row per hand found, in the view's order."""
    return view_to_readings(view, hand_families()).hands


def compare(rows: Sequence[Row], truth: HandTruth) -> Record:
    """What was read of the hand in question beside its truth; numbers are NaN unless the count's state is ``ok``."""
    index = which_hand(rows, truth.box)
    record: Record = {
        "true_count": truth.n_digits,
        "true_fused": ",".join(truth.fused_pairs),
        "true_mitten": truth.is_mitten,
        "true_extra": truth.n_extra,
        "true_missing": truth.n_missing,
        "true_right": truth.is_right,
        "size_px": _size(truth.box),
    }
    if index is None:
        return record | {"found": LOST, "state": LOST}
    return record | _read(rows[index])


def which_hand(rows: Sequence[Row], box: Box | None) -> int | None:
    """The hand at ``box``, or the largest one where none is given; None where there is none."""
    boxes = [_box(row) for row in rows]
    if not boxes:
        return None
    if box is None:
        return max(range(len(boxes)), key=lambda i: boxes[i].width * boxes[i].height)
    best = max(range(len(boxes)), key=lambda i: _overlap(boxes[i], box))
    return best if _overlap(boxes[best], box) >= SAME_HAND_OVERLAP else None


def _read(row: Row) -> Record:
    return {
        "found": PALM_ONLY if row["hand_state"] == "palm_only" else FOUND,
        "state": row["finger_state"],
        "size_px": _size(_box(row)),
        "count": row["finger_count"],
        "fused": row["fused_pairs"],
        "mitten": row["finger_mitten"],
        "extra": row["finger_extra"],
        "missing": row["finger_missing"],
        "right": row["finger_right"],
    }


def _box(row: Row) -> Box:
    return Box(*(float(edge) for edge in str(row["box"]).split(",")))


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    both = max(width, 0.0) * max(height, 0.0)
    return both / (a.width * a.height + b.width * b.height - both)


def _size(box: Box | None) -> float:
    return max(box.width, box.height) if box else math.nan


# --------------------------------------------------------------------------- photographs


def labelled_photographs(root: Path) -> list[tuple[str, Path, HandTruth]]:
    """(source, file, truth) of every labelled photograph of a hand."""
    boxes = _boxes(root / "hands" / "subhih" / "boxes.tsv")
    found = []
    for source in SOURCES:
        folder = root / "hands" / source
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES):
            label = path.parent.name
            box = boxes.get(path.relative_to(folder).as_posix()) if source == "subhih" else None
            found.append((source, path, HandTruth(DIGITS_OF_LABEL.get(label) or int(label), box=box)))
    return found


def _boxes(path: Path) -> dict[str, Box]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return {row["file"]: Box(*(float(row[edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))) for row in rows}


def edited_photographs(root: Path) -> list[tuple[str, str, Path, HandTruth]]:
    """(variant, name of the photograph it was made from, file, truth) of every edited photograph, and of the intact."""
    table = root / "hands_edited" / "labels.tsv"
    if not table.exists():
        return []
    with table.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return [
        (row["variant"], Path(row["source_file"]).name, table.parent / row["file"], edit_truth(
            row["variant"], int(row["n_digits_separate"]), tuple(pair for pair in row["fused_pairs"].split(",") if pair)
        ))
        for row in rows
    ]  # fmt: skip


def edit_truth(variant: str, n_digits: int, fused_pairs: tuple[str, ...]) -> HandTruth:
    """The truth of an edit by the name of its variant."""
    return HandTruth(n_digits, fused_pairs, int(variant.startswith("extra")), int(variant.startswith("missing")))


def read_labelled(reader: Reader, source: str, path: Path, truth: HandTruth) -> Record:
    """One labelled photograph."""
    where = {"material": "labelled", "source": source, "variant": "intact", "photograph": path.name}
    return where | {"half": half_of(path.name)} | compare(read_rows(reader.look(read_image(path))), truth)


def read_edited(reader: Reader, variant: str, photograph: str, path: Path, truth: HandTruth) -> Record:
    """One edited photograph; its half is that of the photograph it was made from."""
    where = {"material": "edited", "source": "hands_edited", "variant": variant, "photograph": photograph}
    return where | {"half": half_of(photograph)} | compare(read_rows(reader.look(read_image(path))), truth)


def read_made(reader: Reader, root: Path) -> Iterator[Record]:
    """Every edit that ``hand_edits`` makes of the photographs that were not tuned on."""
    for name, edit in make_edits(root, "reporting", EDIT_SEED):
        truth = edit_truth(edit.variant, edit.n_digits_separate, edit.fused_pairs)
        where = {"material": "made", "source": "made", "variant": edit.variant, "photograph": Path(name).name}
        yield where | {"half": "reporting"} | compare(read_rows(reader.look(edit.pixels)), truth)


def read_portrait_hands(reader: Reader, path: Path) -> Record:
    """Hands seen in a portrait that shows none."""
    rows = read_rows(reader.look(read_image(path)))
    states = ", ".join(str(row["finger_state"]) for row in rows)
    return {
        "material": "portrait",
        "photograph": path.name,
        "half": half_of(path.name),
        "n_hands": len(rows),
        "state": states,
    }


# --------------------------------------------------------------------------- generated pictures


def generated_pictures(root: Path) -> list[tuple[str, Path, str]]:
    """(collection, file, what a reader noted of it) of every generated picture."""
    notes = _notes(root / "hands_ai" / "NOTES.tsv")
    found = []
    for collection in GENERATED:
        folder = root / collection
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES):
            name = path.relative_to(folder).as_posix()
            note = next((words for pattern, words in notes if fnmatch(name, pattern)), "")
            found.append((collection.as_posix(), path, note))
    return found


def _notes(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(pattern, words) for pattern, words in pairs]


def read_generated(reader: Reader, root: Path, collection: str, path: Path, note: str) -> list[Record]:
    """What is seen in one generated picture: a record per hand, or one of a picture without."""
    name = path.relative_to(root / collection).as_posix()
    where: Record = {"material": "generated", "source": collection, "photograph": name, "note": note}
    rows = read_rows(reader.look(read_image(path)))
    return [where | {"n_hands": len(rows)} | _read(row) for row in rows] or [
        where | {"n_hands": 0, "found": LOST, "state": LOST}
    ]


# --------------------------------------------------------------------------- drawn hands


@dataclass(frozen=True)
class DrawnHand:
    """One drawn hand: its picture, sRGB uint8 (h, w, 3), its truth, and ``fault`` and factors in words."""

    pixels: Pixels
    truth: HandTruth
    fault: str
    factors: dict[str, str]


def draw_varied(seed: int) -> DrawnHand:
    """The drawn hand of this seed, of all that can be drawn."""
    rng = np.random.default_rng([seed, 3])
    size_px = DRAWN_SIZES_PX[seed // 2 % len(DRAWN_SIZES_PX)]
    hand = Population().sample_varied_hand(rng)
    pixels, truth = draw_hand(hand, size_px, rng)
    box = Box(*truth["box"])
    known = HandTruth(
        int(truth["n_digits_separate"]), tuple(truth["fused_pairs"]), hand.n_extra, len(truth["missing"]), box
    )
    return DrawnHand(pixels, known, fault_of(hand, known), factors_of(hand, truth["px_per_mm"], truth["hard"]))


def read_drawn(reader: Reader, seed: int) -> Record:
    """One drawn hand, with what was drawn in words."""
    drawn = draw_varied(seed)
    where: Record = {"subject": "hand", "material": "drawn", "source": "drawn", "seed": seed, "fault": drawn.fault}
    record = compare(read_rows(reader.look(drawn.pixels)), drawn.truth)
    return where | drawn.factors | record | {"size_px": _size(drawn.truth.box)}


def fault_of(hand: HandParameters, truth: HandTruth) -> str:
    """What is wrong with a hand, or what makes it hard: the first that applies."""
    fusions = {fusion for fusion in hand.fused if fusion}
    if truth.is_mitten:
        return "mitten"
    if fusions:
        return "fused, with a crease" if "crease" in fusions else "fused, plain"
    if hand.n_extra:
        return "extra"
    if truth.n_missing:
        return "missing"
    extended = [pose == "extended" for pose in hand.fingers]
    held = [held and all(both) for held, both in zip(hand.together, pairwise(extended), strict=True)]
    return "held together, not fused" if any(held) else "intact, apart"


def factors_of(hand: HandParameters, px_per_mm: float, hard: Sequence[str]) -> dict[str, str]:
    """The conditions a hand is drawn under, in words, by factor. ``hard``: what hides its digits from an eye."""
    levels = (
        hand.view,
        _bin(max(abs(hand.yaw_deg), abs(hand.pitch_deg)), (0, 15, 30, 50, 90), "deg"),
        _bin(abs(hand.rotation_deg), (0, 30, 60, 180), "deg"),
        _bin(hand.skin.lightness, (24, 40, 55, 70, 84), ""),
        hand.backdrop.kind,
        _bin(_contrast(hand), (0, 15, 30, 60, 200), ""),
        _bin(hand.camera.blur_mm * px_per_mm, (0, 0.5, 1, 2, 10), "px"),
        "bare" if hand.sleeve_mm is None else "sleeve",
        ", ".join(hard) or PLAIN,
    )
    return dict(zip(FACTORS, levels, strict=True))


def _contrast(hand: HandParameters) -> float:
    """Colour difference of skin and background, CIE76, as painted before light falls on them."""
    skin = _linear_to_lab(lch_to_linear(hand.skin.lightness, hand.skin.chroma, hand.skin.hue_deg))
    return float(np.linalg.norm(skin - _linear_to_lab(hex_to_linear(hand.backdrop.colour))))


def _linear_to_lab(linear: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    srgb = np.asarray(linear_to_srgb(linear), np.float32).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(srgb, cv2.COLOR_RGB2LAB)[0, 0])


def _bin(value: float, edges: Sequence[float], unit: str) -> str:
    """The interval that holds ``value``; what lies beyond the last edge belongs to the last interval."""
    low, high = next(((a, b) for a, b in pairwise(edges) if value < b), (edges[-2], edges[-1]))
    return f"{low:g} to {high:g} {unit}".strip()
