"""X-ray strips of a measured run: which slots are shown, by rule, and the crops with what was read of them.

A slot is chosen by what it showed in the first generation, before anything was lost: the outcome has no say. A
picture is shown only if its bytes are still those that were measured.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from decay import images
from decay.ancestors import place_of
from decay.errors import ImageProblem
from decay.images import Pixels
from decay.lineage import REFERENCE_INDEX
from decay.tables import Tables
from detectors.geometry import angle_difference_deg
from detectors.registry import families
from detectors.trait import OK, Family, Reading, Subject, Trait
from reports.strips import Cell, Crop, FusedMark, IrisMark, Point, Row, Strip, StripsSection, View
from reports.words import clean

Kind = Literal["face", "hand"]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture."""
Place = tuple[float, float, float]
"""x, y and radius."""
RowOf = dict[str, Any]
"""A row of a table, by column."""

PLACES: Mapping[str, float] = {"low tail": 0.1, "middle": 0.5, "high tail": 0.9}
"""Which slots are shown: the quantiles of the chosen trait's reading at which they stand."""
LEAST_SHARE = 0.05
"""Of the first generation's slots that a trait must be read in to choose: less is a detector's slips."""
MAX_COLUMNS = 12
"""Generations shown; of a longer run the first, the last, and others evenly between them."""
FACE_PX, EYE_PX, HAND_PX, EXAMPLE_PX = 192, 128, 192, 88
"""Sides to which larger crops are brought; smaller ones keep their pixels, the browser enlarges them."""
JPEG_QUALITY = 88
FACE_ROOM, HAND_ROOM = 1.2, 1.22
"""Side of a crop over the longer side of the subject's box."""
EYE_REACH = 2.6
"""Half the side of an eye's crop, in iris radii: the whole opening between the lids."""
PADDING = 128
"""Grey of what lies beyond the picture's edge."""
CENTRAL_RHO = 0.1
"""Nearer to the centre than this, in iris radii, a glint has no clock position."""
FINGERS = ("thumb", "index", "middle", "ring", "little")

_GROUPS: Mapping[Kind, tuple[str, ...]] = {"face": ("eyes", "face", "light"), "hand": ("hands",)}
_READ: tuple[Subject, ...] = ("face", "eye", "hand")
_TITLES: Mapping[Kind, str] = {"face": "Faces and their eyes", "hand": "Hands"}
_NOUNS: Mapping[Kind, str] = {"face": "faces and eyes", "hand": "hands"}
_STATES_OF: Mapping[Kind, str] = {"face": "catchlight", "hand": "finger"}
_SHOWN: Mapping[Kind, str] = {
    "face": (
        "Of several faces the largest is shown; an eye whose iris was not found is cut where it lies in the slot's "
        "other generations, or else in this run's faces."
    ),
    "hand": "Of several hands the largest is shown.",
}


@dataclass(frozen=True)
class Choice:
    """The trait that chooses, how it came to, what of it was read by slot in generation ``first``, and the slots."""

    trait: Trait
    why: str
    what: str
    unit: str
    first: int
    n_slots: int
    slots: Sequence[tuple[str, str, float]]


def open_strips(
    run: Path,
    tables: Tables,
    erosion: pd.DataFrame,
    seed: int,
    reference: Path | None = None,
    named: str | None = None,
) -> StripsSection:
    """The strips of a measured run, its pictures opened and cut. The same run, the same bytes.

    ``erosion``: rows of erosion.csv in the order of the page. ``named``: as for ``choose_slots``. ``seed``: orders
    slots of equal readings. ``reference``: the folder of the reference's pictures where it lies outside the run. A
    picture that is gone, damaged, or no longer the one that was measured is told in words, never shown.
    """
    found: list[Strip] = []
    notes: list[str] = []
    pictures = _Pictures(run, tables, reference)
    for kind in _TITLES:
        choice = choose_slots(tables, erosion, kind, seed, named)
        if choice is None:
            notes.append(f"No strip of {_NOUNS[kind]}: too few could be read in the first generation.")
        else:
            found.append(_strip(kind, choice, pictures, seed))
    return StripsSection(tuple(found), tuple(notes))


def open_examples(run: Path, tables: Tables, names: Sequence[str], reference: Path | None = None) -> dict[str, Crop]:
    """Squares out of pictures, small, by the pictures' names: around the largest face, else out of the middle.

    ``reference``: as for ``open_strips``. A picture that cannot be shown is left out.
    """
    pictures = _Pictures(run, tables, reference)
    rows = tables.images[tables.images["image"].isin(names)].drop_duplicates("image")
    found = {}
    for row in _rows(rows, range(len(rows))):
        pixels = pictures.pixels(row)
        if not isinstance(pixels, str):
            face = pictures.largest("face", row["generation"], str(row["image"]))
            box = face["box"] if face else (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
            found[str(row["image"])] = cut(pixels, _around_box(box, FACE_ROOM if face else 1.0, pixels), EXAMPLE_PX)
    return found


# --------------------------------------------------------------------------- which slots


def choose_slots(
    tables: Tables, erosion: pd.DataFrame, kind: Kind, seed: int, named: str | None = None
) -> Choice | None:
    """The slots at ``PLACES`` of the first trait of this kind in ``erosion``, whose rows stand in the page's order.

    ``named``: the trait that the verdict says eroded first, ``""`` where it says so of a family alone; None where it
    cannot tell. A trait that too few slots show in the first generation is passed over; None where all are.
    """
    first = _generations(tables.images)[0]
    known = {trait.name: (family, trait) for family in families() for trait in family.traits}
    fewest = max(len(PLACES), LEAST_SHARE * tables.images.loc[tables.images["generation"] == first, "slot"].nunique())
    passed_over = False
    for row in erosion.to_dict("records"):
        family, trait = known.get(str(row["trait"]), (None, None))
        if family is None or trait is None or family.group not in _GROUPS[kind] or trait.subject == "image":
            continue
        scores, what, unit = _slot_scores(tables, family, trait, first)
        if len(scores) >= fewest:
            why = _why(str(row["verdict"]), trait.name, named, passed_over)
            slots = _at_places(scores, np.random.default_rng([seed, 7, *trait.name.encode()]))
            return Choice(trait, why, what, unit, first, len(scores), slots)
        passed_over = True
    return None


def _why(verdict: str, trait: str, named: str | None, passed_over: bool) -> str:
    """Why this trait chooses. That it eroded first is said only of the one that the verdict names."""
    of_these = ", of those that enough slots show" if passed_over else ""
    if verdict != "eroded":
        return f"stands first in the page's order{of_these}; none of them eroded"
    if trait == named:
        return "eroded first"
    untold = "; what eroded first could not be told" if named is None else ""
    return f"has the earliest onset{of_these}{untold}"


def _slot_scores(tables: Tables, family: Family, trait: Trait, generation: int) -> tuple[pd.Series, str, str]:
    """What the trait's reading says of each slot in one generation, by slot; what that is in words, and its unit.

    A reading of presence counts 1 or 0. A direction or a vector has no tails: there it is the distance from the
    generation's mean that counts.
    """
    table = tables.of(trait.subject)
    rows = table[(table["generation"] == generation) & table[family.state_column].isin(trait.measured_states)]
    column = trait.readings[0]
    if column == family.state_column:
        values, what, unit = (rows[column] == OK).astype(float), f"{trait.label}: 1 yes, 0 no", ""
    else:
        values, what, unit = _of_reading(rows[column], _reading(column))
    by_image = tables.images.set_index("image")["slot"]
    scores = values.groupby(rows["image"].map(by_image)).mean().dropna()
    return scores.sort_index(), what, unit


def _reading(column: str) -> Reading:
    known = {reading.name: reading for family in families() for reading in family.readings}
    return known.get(column) or Reading(column, "face", "face embedding", "", kind="vector")


def _of_reading(column: pd.Series, reading: Reading) -> tuple[pd.Series, str, str]:
    if reading.kind == "number" and reading.high != 360:
        return column.astype(float), reading.label, reading.unit
    if reading.kind == "number":
        turns = np.exp(1j * np.radians(column.to_numpy(np.float64)))
        mean = float(np.angle(np.nanmean(turns), deg=True)) if len(turns) else math.nan
        away = column.map(lambda degrees: angle_difference_deg(degrees, mean))
        return away, f"{reading.label}, distance from the common direction", reading.unit
    if reading.kind == "word":
        return column.map(column.value_counts(normalize=True)).astype(float), f"{reading.label}, how common", "share"
    vectors = column[column.map(len) > 0]
    if not len(vectors):
        return pd.Series(dtype=float), reading.label, ""
    stacked = np.stack(vectors.to_list()).astype(np.float64)
    away = np.linalg.norm(stacked - stacked.mean(axis=0), axis=1)
    return pd.Series(away, index=vectors.index), f"{reading.label}, distance from the generation's mean", ""


def _at_places(scores: pd.Series, rng: np.random.Generator) -> list[tuple[str, str, float]]:
    """(slot, place, score) at each quantile, each slot once; equal scores in an order by chance."""
    order = np.lexsort([rng.random(len(scores)), scores.to_numpy()])
    taken: dict[int, str] = {}
    for place, quantile in PLACES.items():
        taken.setdefault(round(quantile * (len(scores) - 1)), place)
    return [(str(scores.index[order[at]]), place, float(scores.iloc[order[at]])) for at, place in taken.items()]


# --------------------------------------------------------------------------- the pictures


class _Pictures:
    """The run's pictures and what was read of them. A picture is opened when it is asked for, and not kept."""

    def __init__(self, run: Path, tables: Tables, reference: Path | None) -> None:
        self._run, self._reference = run, reference
        self._tables = tables
        self._places = {kind: _places(tables.of(kind), "image") for kind in _READ}
        self._slots = _places(tables.images, "slot")
        self._usual_eyes = _usual_eyes(tables)

    def columns(self, slots: Sequence[str]) -> list[int]:
        """The generations to show: the reference where it has these slots, then at most ``MAX_COLUMNS``."""
        numbers = _generations(self._tables.images)
        if len(numbers) > MAX_COLUMNS:
            numbers = [numbers[at] for at in np.linspace(0, len(numbers) - 1, MAX_COLUMNS).round().astype(int)]
        in_reference = any((REFERENCE_INDEX, slot) in self._slots for slot in slots)
        return [REFERENCE_INDEX, *numbers] if in_reference else numbers

    def row(self, generation: int, slot: str) -> RowOf | None:
        """The slot's picture as a row of the table; of several the first by name."""
        rows = _rows(self._tables.images, self._slots.get((generation, slot), []))
        return min(rows, key=lambda row: str(row["image"]), default=None)

    def largest(self, kind: Kind, generation: int, image: str) -> RowOf | None:
        """The largest face or hand of a picture as a row of its table, with its ``box`` as numbers."""
        rows = [row | {"box": _floats(row["box"])} for row in self._of(kind, generation, image)]
        return max((row for row in rows if len(row["box"]) == 4), key=lambda row: _area(row["box"]), default=None)

    def eyes(self, generation: int, image: str, face: int) -> list[RowOf]:
        """Both eyes of a face, image-left first."""
        rows = [row for row in self._of("eye", generation, image) if row["face"] == face]
        return sorted(rows, key=lambda row: str(row["side"]))

    def iris(self, eye: RowOf, slot: str, box: Box) -> Place | None:
        """x, y and radius in pixels: as read, else where it lies in the slot's other generations, else in any face."""
        if not math.isnan(eye["iris_radius_px"]):
            return eye["iris_x_px"], eye["iris_y_px"], eye["iris_radius_px"]
        usual = self._usual_eyes.get((slot, eye["side"])) or self._usual_eyes.get(("", eye["side"]))
        if usual is None:
            return None
        x, y, radius = (box[2] - box[0]) * np.array(usual)
        return box[0] + x, box[1] + y, radius

    def _of(self, kind: Subject, generation: int, image: str) -> list[RowOf]:
        return _rows(self._tables.of(kind), self._places[kind].get((generation, image), []))

    def pixels(self, row: RowOf) -> Pixels | str:
        """The picture, or in words why it cannot be shown."""
        name = str(row["image"])
        root, inside = place_of(self._run, name)
        if row["generation"] == REFERENCE_INDEX and name.startswith("reference:"):
            if self._reference is None:
                return "picture not at hand"
            root, inside = self._reference, name.removeprefix("reference:")
        try:
            data, sha256 = images.read_bytes_and_hash(root / inside, within=root)
            if sha256 != row["sha256"]:
                return "picture changed since it was measured"
            return images.decode(data, name).pixels
        except ImageProblem as problem:
            return f"picture {problem.state.replace('_', ' ')}"


def _places(table: pd.DataFrame, column: str) -> dict[tuple[int, str], list[int]]:
    """At which positions of a table the rows of one generation and picture, or slot, stand."""
    found: dict[tuple[int, str], list[int]] = {}
    for at, (generation, name) in enumerate(zip(table["generation"], table[column], strict=True)):
        found.setdefault((int(generation), str(name)), []).append(at)
    return found


def _rows(table: pd.DataFrame, places: Sequence[int]) -> list[RowOf]:
    return [{str(key): value for key, value in row.items()} for row in table.iloc[list(places)].to_dict("records")]


def _generations(pictures: pd.DataFrame) -> list[int]:
    return sorted(int(index) for index in set(pictures["generation"]) if index != REFERENCE_INDEX)


def _usual_eyes(tables: Tables) -> dict[tuple[str, str], Place]:
    """Where irises lie in the box of their face, by slot and side, and by ``("", side)`` over all slots: medians.

    x and y from the box's corner and the radius, all in widths of the box.
    """
    eyes = tables.eyes[tables.eyes["iris_radius_px"].notna()]
    read = eyes.merge(tables.faces[["generation", "image", "face", "box"]], how="inner")
    boxes = np.array([(_floats(box) + (math.nan,) * 4)[:4] for box in read["box"]], dtype=np.float64).reshape(-1, 4)
    width = boxes[:, 2] - boxes[:, 0]
    place = pd.DataFrame(
        {
            "slot": read["image"].map(tables.images.set_index("image")["slot"]),
            "side": read["side"],
            "x": (read["iris_x_px"] - boxes[:, 0]) / width,
            "y": (read["iris_y_px"] - boxes[:, 1]) / width,
            "radius": read["iris_radius_px"] / width,
        }
    )
    of_all = place.assign(slot="").groupby(["slot", "side"])[["x", "y", "radius"]].median()
    of_each = place.groupby(["slot", "side"])[["x", "y", "radius"]].median()
    medians = pd.concat([of_all, of_each]).dropna().reset_index()
    return {(row["slot"], row["side"]): (row["x"], row["y"], row["radius"]) for row in medians.to_dict("records")}


# --------------------------------------------------------------------------- cutting


@dataclass(frozen=True)
class Window:
    """A square of whole pixels: its upper left corner and its side."""

    x0: int
    y0: int
    side: int

    def place(self, x: float, y: float) -> Point:
        """A position in pixels of the picture (centres of pixels are whole numbers) in hundredths of the window."""
        return 100 * (x + 0.5 - self.x0) / self.side, 100 * (y + 0.5 - self.y0) / self.side

    def length(self, px: float) -> float:
        """A length in pixels in hundredths of the window."""
        return 100 * px / self.side


def window_around(x: float, y: float, side: float, pixels: Pixels) -> Window:
    """A square of about this side around a place, moved into the picture as far as it fits, never larger than it."""
    height, width = pixels.shape[:2]
    whole = int(np.clip(round(side), 2, max(height, width)))
    x0, y0 = (
        int(np.clip(round(middle + 0.5 - whole / 2), min(0, (length - whole) // 2), max(0, length - whole)))
        for middle, length in ((x, width), (y, height))
    )
    return Window(x0, y0, whole)


def cut(pixels: Pixels, window: Window, largest_px: int) -> Crop:
    """A window of a picture as a small JPEG; what lies beyond the picture is grey. ``pixels``: sRGB uint8 (h, w, 3)."""
    height, width = pixels.shape[:2]
    square = np.full((window.side, window.side, 3), PADDING, dtype=np.uint8)
    left, top = max(window.x0, 0), max(window.y0, 0)
    right, bottom = min(window.x0 + window.side, width), min(window.y0 + window.side, height)
    square[top - window.y0 : bottom - window.y0, left - window.x0 : right - window.x0] = pixels[top:bottom, left:right]
    picture = Image.fromarray(square)
    if window.side > largest_px:
        picture = picture.resize((largest_px, largest_px), Image.Resampling.LANCZOS)
    coded = io.BytesIO()
    # Full chroma: at half of it a coloured glint of a few pixels turns grey.
    picture.save(coded, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return Crop(coded.getvalue(), picture.width)


# --------------------------------------------------------------------------- strips


def _strip(kind: Kind, choice: Choice, pictures: _Pictures, seed: int) -> Strip:
    columns = pictures.columns([slot for slot, *_ in choice.slots])
    rows = [
        Row(
            slot=clean(slot),
            place=place,
            reading=f"{score:.3g} {choice.unit}".strip(),
            cells=[Cell(index, _cell(pictures, kind, index, slot)) for index in columns],
        )
        for slot, place, score in choice.slots
    ]
    return Strip(
        name=f"strip-{kind}",
        title=_TITLES[kind],
        rule=_rule(kind, choice, seed),
        columns=[_generation_name(index) for index in columns],
        rows=rows,
        meanings=_meanings(kind, rows),
    )


def _meanings(kind: Kind, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What the words below these crops mean, each once, in the order of the alphabet."""
    known = next(family.states for family in families() if family.name == _STATES_OF[kind])
    said = {view.state for row in rows for cell in row.cells for view in cell.views} - {OK}
    return [(state.replace("_", " "), known[state]) for state in sorted(said) if state in known]


def _rule(kind: Kind, choice: Choice, seed: int) -> str:
    quantiles = ", ".join(f"{place} {quantile:.0%}" for place, quantile in PLACES.items())
    return (
        f"Chosen by rule: among the traits of {_NOUNS[kind]}, “{choice.trait.label}” {choice.why}. Of the "
        f"{choice.n_slots} slots in which it was read in generation {choice.first}, shown are those at these quantiles "
        f"of the reading ({choice.what}): {quantiles}; equal readings in an order drawn with seed {seed}. What became "
        f"of them later had no say. {_SHOWN[kind]}"
    )


def _generation_name(index: int) -> str:
    return "reference" if index == REFERENCE_INDEX else f"generation {index}"


def _cell(pictures: _Pictures, kind: Kind, generation: int, slot: str) -> Sequence[View]:
    where = f"Slot {clean(slot)}, {_generation_name(generation)}: "
    row = pictures.row(generation, slot)
    pixels = pictures.pixels(row) if row else "no picture"
    if row is None or isinstance(pixels, str):
        return [View(kind, None, str(pixels), where + str(pixels), "missing", is_read=False)]
    subject = pictures.largest(kind, generation, str(row["image"]))
    if subject is None:
        height, width = pixels.shape[:2]
        whole = window_around(width / 2, height / 2, max(height, width), pixels)
        words = f"no {kind} found"
        crop = cut(pixels, whole, FACE_PX)
        return [View(kind, crop, words, f"{where}{words}; the whole picture.", f"no_{kind}", is_read=False)]
    if kind == "hand":
        return _hand_views(pixels, subject, where)
    return _face_views(pictures, pixels, slot, subject, where)


def _face_views(pictures: _Pictures, pixels: Pixels, slot: str, face: RowOf, where: str) -> list[View]:
    box: Box = face["box"]
    eyes = pictures.eyes(int(face["generation"]), str(face["image"]), int(face["face"]))
    roll_deg = float(face["roll_deg"])
    window = _around_box(box, FACE_ROOM, pixels)
    marks = [mark for eye in eyes if (mark := _iris_mark(eye, window, roll_deg))]
    state = str(face["face_state"])
    words = "" if state == OK else state.replace("_", " ")
    alternative = f"{where}face{', ' * bool(words)}{words}."
    view = View("face", cut(pixels, window, FACE_PX), words, alternative, state, state == OK, marks)
    return [view, *(_eye_view(pictures, pixels, slot, box, eye, roll_deg, where) for eye in eyes)]


def _eye_view(
    pictures: _Pictures, pixels: Pixels, slot: str, box: Box, eye: RowOf, roll_deg: float, where: str
) -> View:
    words, side = _eye_words(eye), str(eye["side"]).replace("_", " ")
    state = str(eye["catchlight_state"])
    alternative = f"{where}eye at {side}, {'catchlight: ' * (state == OK)}{words}."
    is_read = state in (OK, "no_highlight")
    place = pictures.iris(eye, slot, box)
    if place is None:
        return View("eye", None, f"eye: {words}", alternative, state, is_read)
    x, y, radius = place
    window = window_around(x, y, 2 * EYE_REACH * radius, pixels)
    mark = _iris_mark(eye, window, roll_deg)
    return View("eye", cut(pixels, window, EYE_PX), words, alternative, state, is_read, [mark] if mark else [])


def _iris_mark(eye: RowOf, window: Window, roll_deg: float) -> IrisMark | None:
    if math.isnan(eye["iris_radius_px"]) or math.isnan(roll_deg):
        return None
    x, y = window.place(eye["iris_x_px"], eye["iris_y_px"])
    glint = (float(eye["catchlight_u"]), float(eye["catchlight_v"]), float(eye["catchlight_radius"]))
    is_read = eye["catchlight_state"] == OK and all(map(math.isfinite, glint))
    return IrisMark(x, y, window.length(eye["iris_radius_px"]), roll_deg, glint if is_read else None)


def _eye_words(eye: RowOf) -> str:
    """Where the glint is: ``11 o'clock``, ``central``; or why there is none."""
    state = str(eye["catchlight_state"])
    if state != OK:
        return state.replace("_", " ")
    if eye["catchlight_rho"] < CENTRAL_RHO:
        return "central"
    return f"{round(eye['catchlight_clock_deg'] / 30) % 12 or 12} o'clock"


def _hand_views(pixels: Pixels, hand: RowOf, where: str) -> list[View]:
    state, words = str(hand["finger_state"]), _hand_words(hand)
    tips = _tips(str(hand["finger_tips"])) if state == OK else []
    window = _around_box(_with_points(hand["box"], tips), HAND_ROOM, pixels)
    return [
        View(
            kind="hand",
            crop=cut(pixels, window, HAND_PX),
            words=words,
            alternative=f"{where}hand, {words}.",
            state=state,
            is_read=state == OK,
            tips=[window.place(x, y) for x, y in tips],
            fused=_fused_marks(hand, tips, window) if state == OK else (),
        )
    ]


def _hand_words(hand: RowOf) -> str:
    if hand["finger_state"] != OK:
        return str(hand["finger_state"]).replace("_", " ")
    n = int(hand["finger_count"])
    digits = f"{n} digit" + ("" if n == 1 else "s")
    return f"{digits}, fused: {clean(hand['fused_pairs']).replace(',', ', ')}" if hand["fused_pairs"] else digits


def _fused_marks(hand: RowOf, tips: Sequence[Point], window: Window) -> list[FusedMark]:
    """The tips of the fused digits: where they have grown together the tables do not say."""
    if hand["finger_extra"] > 0:
        return []
    found = fused_digits(str(hand["fused_pairs"]), len(tips))
    return [FusedMark(" and ".join(names), window.place(*tips[at])) for at, names in found.items()]


def fused_digits(fused_pairs: str, n_digits: int) -> dict[int, tuple[str, ...]]:
    """Which of ``n_digits`` counted digits, thumb first, are several fingers in one, and which fingers.

    The tables name the pairs that have fused, not the digits counted: a digit is told only where every hand that
    could have so many digits and these pairs has it in the same place.
    """
    groups: list[list[str]] = []
    for pair in (pair.split("-") for pair in fused_pairs.split(",") if pair):
        if len(pair) != 2 or not set(pair) <= set(FINGERS):
            return {}
        if groups and groups[-1][-1] == pair[0]:
            groups[-1].append(pair[1])
        else:
            groups.append(list(pair))
    alone = [finger for finger in FINGERS if not any(finger in group for group in groups)]
    n_alone = n_digits - len(groups)
    if not groups or not 0 <= n_alone <= len(alone):
        return {}
    places: dict[tuple[str, ...], set[int]] = {tuple(group): set() for group in groups}
    for others in combinations(alone, n_alone):
        order = sorted([*places, *((finger,) for finger in others)], key=lambda names: FINGERS.index(names[0]))
        for names, found in places.items():
            found.add(order.index(names))
    return {found.pop(): names for names, found in places.items() if len(found) == 1}


def _around_box(box: Box, room: float, pixels: Pixels) -> Window:
    x0, y0, x1, y1 = box
    return window_around((x0 + x1) / 2, (y0 + y1) / 2, room * max(x1 - x0, y1 - y0), pixels)


def _with_points(box: Box, points: Sequence[Point]) -> Box:
    """The smallest box that holds a box and these points."""
    xs, ys = ([box[axis], box[axis + 2], *(point[axis] for point in points)] for axis in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _tips(text: str) -> list[Point]:
    places = [_floats(place) for place in text.split(";") if place]
    return [(place[0], place[1]) for place in places if len(place) == 2]


def _floats(text: object) -> tuple[float, ...]:
    """Numbers between commas; nothing where any is no finite number."""
    try:
        numbers: NDArray[np.float64] = np.array([float(part) for part in str(text).split(",")])
    except ValueError:
        return ()
    return tuple(numbers.tolist()) if np.isfinite(numbers).all() else ()
