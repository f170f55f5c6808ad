"""Which hands are shown, and what was counted on them: the sheet of drawn hands, and overlays on generated pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from decay.calibrate.cells import of
from decay.calibrate.hand_report import LARGE_PX, plain_hands, seen_in_words
from decay.calibrate.hands import (
    LOST,
    PLAIN,
    DrawnHand,
    HandTruth,
    compare,
    draw_varied,
    generated_pictures,
    read_rows,
    which_hand,
)
from decay.files import make_folder, write_bytes
from decay.images import read_image
from detectors.reader import Reader, Row
from detectors.trait import OK, Hand, View
from reports.hand_sheet import CountedHand, Tile, Verdict, overlay_png, sheet_png

JOINTS = {"thumb": (3, 4), "index": (6, 7), "middle": (10, 11), "ring": (14, 15), "little": (18, 19)}
"""Of each finger, the hand landmarks between which a bar across it ends."""
INTACT_COUNTS = range(6)
FAULTS = ("held together, not fused", "fused, plain", "fused, with a crease", "mitten", "extra", "missing")
TITLE = "What is counted on drawn hands"


def sheet(reader: Reader, drawn: pd.DataFrame) -> bytes:
    """The sheet of 24 hands as PNG, from the records of the drawn hands."""
    hands = plain_hands(drawn).sort_values("seed")
    tiles = [_tile(reader, seed, heading) for heading, seed in chosen(hands)]
    return sheet_png(tiles, TITLE, _rule(hands))


def chosen(hands: pd.DataFrame) -> list[tuple[str, int]]:
    """(class, seed): of every class its first hand, then of the others the first read wrongly, or not counted, or any.

    Classes: intact hands with 0 to 5 digits, fingers apart, and the six faults and difficulties.
    """
    picked = []
    apart = hands["fault"] == "intact, apart"
    classes = [(_intact_words(n), hands[apart & (hands["true_count"] == n)]) for n in INTACT_COUNTS]
    classes += [(fault, hands[hands["fault"] == fault]) for fault in FAULTS]
    for heading, part in classes:
        verdicts = [verdict(record) for record in part.to_dict("records")]
        seeds = [int(seed) for seed in part["seed"]]
        rest = sorted(zip(seeds[1:], verdicts[1:], strict=True), key=lambda one: (one[1] == "right", one[1] != "wrong"))
        picked += [(heading, seed) for seed in [*seeds[:1], *(seed for seed, _ in rest[:1])]]
    return picked


def verdict(record: Mapping[Any, Any]) -> Verdict:
    """Right where the number of digits and the fused pairs are both as in truth."""
    if record["found"] == LOST:
        return "lost"
    if record["state"] != OK:
        return "ambiguous"
    same = record["count"] == record["true_count"] and record["fused"] == record["true_fused"]
    return "right" if same else "wrong"


def write_overlays(reader: Reader, root: Path, folder: Path) -> None:
    """Draw what is seen over every generated picture under ``root`` into ``folder``.

    The pictures are somebody's: what is written here is for looking at, not for passing on.
    """
    make_folder(folder)
    for collection, path, _ in generated_pictures(root):
        pixels = read_image(path)
        view = reader.look(pixels)
        seen = [_counted(hand, row) for hand, row in zip(view.hands, read_rows(view), strict=True)]
        name = "_".join((Path(collection) / path.relative_to(root / collection)).with_suffix(".png").parts)
        write_bytes(folder / name, overlay_png(pixels, seen))


def _tile(reader: Reader, seed: int, heading: str) -> Tile:
    drawn = draw_varied(seed)
    view = reader.look(drawn.pixels)
    return Tile(drawn.pixels, _judged(drawn, view), heading)


def _judged(drawn: DrawnHand, view: View) -> CountedHand:
    rows, truth = read_rows(view), drawn.truth
    record = compare(rows, truth)
    index = which_hand(rows, truth.box)
    assert truth.box is not None  # drawn hands have one
    box = (truth.box.x0, truth.box.y0, truth.box.x1, truth.box.y1)
    how = verdict(record)
    if index is None:
        return CountedHand(box, (), (), f"true {truth.n_digits}", _details(record), how)
    row = rows[index]
    return CountedHand(box, _tips(row), _bars(view.hands[index], row), _headline(record), _details(record), how)


def _counted(hand: Hand, row: Row) -> CountedHand:
    box = (hand.box.x0, hand.box.y0, hand.box.x1, hand.box.y1)
    return CountedHand(box, _tips(row), _bars(hand, row), seen_in_words(compare([row], HandTruth(0))))


def _tips(row: Row) -> tuple[tuple[float, float], ...]:
    places = [place.split(",") for place in str(row["finger_tips"]).split(";") if place]
    return tuple((float(x), float(y)) for x, y in places)


def _bars(hand: Hand, row: Row) -> tuple[tuple[tuple[float, float], tuple[float, float]], ...]:
    """Across each pair read as fused, at its fingers' middle; none where only the palm was found."""
    if hand.landmarks_px is None:
        return ()
    bars = []
    for pair in (name for name in str(row["fused_pairs"]).split(",") if name):
        near, far = (hand.landmarks_px[list(JOINTS[finger]), :2].mean(axis=0) for finger in pair.split("-"))
        bars.append(((float(near[0]), float(near[1])), (float(far[0]), float(far[1]))))
    return tuple(bars)


def _headline(record: Mapping[str, Any]) -> str:
    true = f"true {record['true_count']}"
    return f"read {record['count']:.0f}, {true}" if record["state"] == OK else true


def _details(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The fused fingers read and true, where there are any."""
    read = record["fused"] if record["state"] == OK else ""
    lines = (("read fused", read), ("true fused", record["true_fused"]))
    return tuple(f"{what}: {joined_words(pairs)}" for what, pairs in lines if pairs)


def joined_words(pairs: str) -> str:
    """The names of pairs as those of the digits they make: index-middle,middle-ring is index-middle-ring."""
    groups: list[list[str]] = []
    for near, far in (pair.split("-") for pair in pairs.split(",")):
        if groups and groups[-1][-1] == near:
            groups[-1].append(far)
        else:
            groups.append([near, far])
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 3 else "-".join(group) for group in groups)


def _intact_words(n: int) -> str:
    return {0: "intact, a fist", 1: "intact, 1 digit"}.get(n, f"intact, {n} digits")


def _rule(hands: pd.DataFrame) -> str:
    verdicts = pd.Series([verdict(record) for record in hands.to_dict("records")])
    counts = {how: int((verdicts == how).sum()) for how in ("right", "wrong", "ambiguous", "lost")}
    return (
        f"Chosen by rule among {len(hands)} drawn hands {PLAIN} of {LARGE_PX:g} px or more, odd seeds (tuning used "
        "even ones): of each class the first, and beside it the first of the others that was read wrongly; where none "
        "was, the first that was not counted. Failures are therefore far more frequent here than they are: digits and "
        f"fused pairs right on {of(counts['right'], len(hands))}, wrong on {counts['wrong']}, ambiguous on "
        f"{counts['ambiguous']}, not found {counts['lost']}."
    )
