"""Records of hands -> the sections on hands of ``docs/accuracy.md``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from decay.calibrate.cells import errors_of, halves, interval, markdown, of
from decay.calibrate.hands import FACTORS, FOUND, LOST, PALM_ONLY, PLAIN, SOURCES
from detectors.trait import OK

LARGE_PX = 96.0
"""Longer side of a hand from which the headline figures hold."""
MOST = 6
"""The largest count with a column of its own; larger ones stand with it."""
OPEN = 4
"""An open hand shows at least so many digits."""

Row = list[object]


# --------------------------------------------------------------------------- counts behind every table


@dataclass(frozen=True)
class Pairs:
    """Pairs of neighbouring fingers: ``n_hit`` fused and read so, ``n_false`` read so and not fused, ``n_missed``."""

    n_hit: int
    n_false: int
    n_missed: int

    @property
    def precision(self) -> float | None:
        """Share of the pairs read as fused that are."""
        return _ratio(self.n_hit, self.n_hit + self.n_false)

    @property
    def recall(self) -> float | None:
        """Share of the fused pairs that are read so."""
        return _ratio(self.n_hit, self.n_hit + self.n_missed)

    @property
    def f1(self) -> float | None:
        """Their harmonic mean (van Rijsbergen 1979)."""
        return _ratio(2 * self.n_hit, 2 * self.n_hit + self.n_false + self.n_missed)


def pairs_of(hands: pd.DataFrame) -> Pairs:
    """Fused pairs, each for itself; of a hand that was not counted every fused pair is missed."""
    hit = false = missed = 0
    for state, true, read in zip(hands["state"], hands["true_fused"], hands["fused"], strict=True):
        there = _names(true)
        seen = _names(read) if state == OK else set()
        hit, false, missed = hit + len(there & seen), false + len(seen - there), missed + len(there - seen)
    return Pairs(hit, false, missed)


@dataclass(frozen=True)
class Case:
    """A yes/no reading: of which trait, what it says yes to, its column, and who is a case by truth and by reading."""

    trait: str
    words: str
    column: str
    truth: Callable[[pd.DataFrame], pd.Series]
    reading: Callable[[pd.DataFrame], pd.Series]


CASES = (
    Case("finger_fused", "a fused pair", "fused", lambda d: d["true_fused"] != "", lambda d: d["fused"] != ""),
    Case("finger_mitten", "a mitten", "mitten", lambda d: d["true_mitten"].eq(True), lambda d: d["mitten"] == 1.0),
    Case("finger_extra", "an extra digit", "extra", lambda d: d["true_extra"] > 0, lambda d: d["extra"] > 0),
    Case("finger_missing", "a missing digit", "missing", lambda d: d["true_missing"] > 0, lambda d: d["missing"] > 0),
    Case(
        "finger_right_count", "a right hand", "right", lambda d: d["true_right"].eq(True), lambda d: d["right"] == 1.0
    ),
)
MATERIALS = ("labelled", "edited", "made")


@dataclass(frozen=True)
class Rates:
    """Counts behind an error rate, as in ``detectors.trait.ErrorRates``."""

    n_positive: int
    n_found: int
    n_negative: int
    n_false: int


def calibration_counts(photographs: pd.DataFrame) -> dict[tuple[str, str], Rates]:
    """By trait and material, over the counted hands of the reporting half; ``all`` is all materials together."""
    reporting = photographs[photographs["half"] == "reporting"]
    hands = reporting[reporting["material"] == "labelled"]
    portraits = reporting[reporting["material"] == "portrait"]
    n_false = int((portraits["n_hands"] > 0).sum())
    found = {("hand_presence", "all"): Rates(len(hands), int((hands["found"] != LOST).sum()), len(portraits), n_false)}
    counted = reporting[(reporting["state"] == OK) & reporting["material"].isin(MATERIALS)]
    for case in CASES:
        for material in (*MATERIALS, "all"):
            part = counted if material == "all" else counted[counted["material"] == material]
            found[case.trait, material] = _rates(case, part)
    return found


def _rates(case: Case, counted: pd.DataFrame) -> Rates:
    said = counted[counted[case.column].notna()]  # a count need not say what was claimed, nor what is missing then
    truth, reading = case.truth(said).astype(bool), case.reading(said).astype(bool)
    return Rates(int(truth.sum()), int((truth & reading).sum()), int((~truth).sum()), int((~truth & reading).sum()))


def _ratio(n: int, total: int) -> float | None:
    return n / total if total else None


def _names(words: object) -> set[str]:
    return {name for name in words.split(",") if name} if isinstance(words, str) else set()


def _exact(counted: pd.DataFrame) -> int:
    return int((counted["count"] == counted["true_count"]).sum())


def _counted(hands: pd.DataFrame) -> pd.DataFrame:
    return hands[hands["state"] == OK]


def _seen(hands: pd.DataFrame) -> pd.DataFrame:
    return hands[hands["found"] != LOST]


# --------------------------------------------------------------------------- at a glance


def glance_rows(drawn: pd.DataFrame, photographs: pd.DataFrame | None) -> list[Row]:
    """What the counting of digits is held to, and what it reached; photographs of the half not tuned on."""
    clear = plain_hands(drawn)
    rows = [*_count_rows("drawn hands", clear), *_fusion_rows("drawn hands", clear)]
    if photographs is None:
        return rows
    reporting = photographs[photographs["half"] == "reporting"]
    large = reporting[reporting["size_px"] >= LARGE_PX]
    for source in SOURCES:
        rows += _count_rows(f"hands, {source}", large[large["source"] == source])
    for material in ("edited", "made"):
        rows += _fusion_rows(f"hands, {material}", reporting[reporting["material"] == material])
    return rows


def _count_rows(on: str, hands: pd.DataFrame) -> list[Row]:
    seen, counted = _seen(hands), _counted(hands)
    if seen.empty:
        return []
    return [
        [on, "digits exact, where counted", ">= 95 %", of(_exact(counted), len(counted))],
        [on, "ambiguous", "<= 15 %", errors_of(len(seen) - len(counted), len(seen))],
    ]


def _fusion_rows(on: str, hands: pd.DataFrame) -> list[Row]:
    counted = _counted(hands)
    if counted.empty:
        return []
    pairs, of_all = pairs_of(counted), pairs_of(hands)
    n, n_all = (every.n_hit + every.n_missed for every in (pairs, of_all))
    reached = f"{_two_digits(pairs.f1)} on {n} of {n_all} pairs; {_two_digits(of_all.f1)} with the others as missed"
    return [
        [on, "fused pairs, F1 where counted", ">= 0.90", reached],
        [on, "false fusion on intact open hands", "<= 3 %", _false_fusion(hands, OPEN)],
    ]


# --------------------------------------------------------------------------- sections


INTRODUCTION = """
## Hands

A hand is *found* with landmarks, or as a *palm only*, or is *lost*. Of those found, a hand is *counted* or *ambiguous*
(any state other than `ok`). *Exact*: the separate extended digits counted are those that are there, thumb included,
fused ones once. Intervals are Wilson's at 95 %. *Size* is the longer side of the hand in pixels. *Precision*, *recall*
and *F1* are of pairs of neighbouring fingers; *F1 of all* takes the pairs of hands that were not counted as missed.
"""


def drawn_hand_sections(drawn: pd.DataFrame, sheet: str | None) -> list[str]:
    """Drawn hands: all, by what was drawn, by every factor. ``sheet``: link to a picture of some of them."""
    size = f"{LARGE_PX:g} px or more"
    large, clear = drawn[drawn["size_px"] >= LARGE_PX], plain_hands(drawn)
    sized = drawn.assign(size=_size_words(drawn["size_px"], (0, 64, LARGE_PX, 160, 240, 1000)))
    sized = sized[sized["hard to see"] == PLAIN]
    rows = {"size": sized, "hard to see": large}
    return [
        INTRODUCTION,
        *([f"\n![24 drawn hands with what was counted on them]({sheet})\n"] if sheet else []),
        f"\n### Drawn hands\n\n{len(drawn)} hands of odd seeds from everything that can be drawn. {len(clear)} of them "
        f"span {LARGE_PX:g} px or more *in plain sight*: an eye can count their digits, which are not turned away, "
        "hidden or cut off. Tables are of these unless they say so. Under each factor everything else varies.\n",
        overview([("all", drawn), (size, large), (f"{size}, {PLAIN}", clear)]),
        confusion(clear),
        fusion([(f"{size}, {PLAIN}", clear), (size, large)]),
        false_fusion([(f"{size}, {PLAIN}", clear), (size, large)]),
        *(
            f"\n#### Drawn hands by {factor}\n\n{by_level(rows.get(factor, clear), factor)}"
            for factor in ("fault", "size", *FACTORS)
        ),
    ]


def plain_hands(drawn: pd.DataFrame) -> pd.DataFrame:
    """Those large enough whose digits an eye can count."""
    return drawn[(drawn["size_px"] >= LARGE_PX) & (drawn["hard to see"] == PLAIN)]


def photograph_hand_sections(photographs: pd.DataFrame) -> list[str]:
    """Photographs of hands, edited ones, generated ones, and the counts for the correction of shares."""
    return [
        *_labelled_sections(photographs[photographs["material"] == "labelled"]),
        *_edited_sections(photographs[photographs["material"] == "edited"]),
        *_made_sections(photographs[photographs["material"] == "made"]),
        *_portrait_sections(photographs[photographs["material"] == "portrait"]),
        *_generated_sections(photographs[photographs["material"] == "generated"]),
        *_calibration_sections(photographs),
    ]


def _labelled_sections(hands: pd.DataFrame) -> list[str]:
    if hands.empty:
        return []
    sections = ["\n### Photographs of hands, labelled\n\nEach source by itself; few people stand behind each.\n"]
    for source in SOURCES:
        part = hands[hands["source"] == source]
        if part.empty:
            continue
        by_size = [(f"{half}, {words}", sized) for half, rows in halves(part) for words, sized in _by_size(rows)]
        sections += [f"\n#### {source}\n", overview(by_size)]
        for half, rows in halves(part)[:2]:
            sections.append(f"\n{source}, {half} half, all sizes. {_states(rows)}\n\n{confusion(rows)}")
    intact = [
        (f"{source}, {half}", rows) for source in SOURCES for half, rows in halves(hands[hands["source"] == source])
    ]
    intact += [(f"all, {half}", rows) for half, rows in halves(hands)]
    return [*sections, "\n#### False fusion on intact hands\n", false_fusion([item for item in intact if len(item[1])])]


def _edited_sections(hands: pd.DataFrame) -> list[str]:
    if hands.empty:
        return []
    head = "\n### Edited photographs\n\nFaults painted into photographs of three people, and the same hands intact; "
    sections = [head + "the half is that of the photograph edited.\n"]
    sections += [overview(halves(hands)), fusion(halves(hands)), false_fusion(halves(hands))]
    for half, rows in halves(hands):
        sections.append(f"\nBy variant, {half}: hands read so, of those counted.\n\n{flags(rows)}")
    for half, rows in halves(hands)[:2]:
        sections.append(f"\nDigits, {half} half.\n\n{confusion(rows)}")
    return sections


def _made_sections(hands: pd.DataFrame) -> list[str]:
    if hands.empty:
        return []
    n = hands["photograph"].nunique()
    return [
        f"\n### Edits made by `decay.calibrate.hand_edits`\n\nFaults made by rule on {n} photographs of the reporting "
        "half; `touching` hands are closed with a crease and not fused. Many edits stand on one photograph: intervals "
        "are narrower than they would be on as many people.\n",
        overview([("reporting", hands)]),
        fusion([("reporting", hands)]),
        false_fusion([("reporting", hands)]),
        f"\nBy variant: hands read so, of those counted.\n\n{flags(hands)}",
        f"\nDigits.\n\n{confusion(hands)}",
    ]


def _portrait_sections(portraits: pd.DataFrame) -> list[str]:
    if portraits.empty:
        return []
    rows = []
    for half, part in halves(portraits):
        false = part[part["n_hands"] > 0]
        n_counted = sum(str(states).split(", ").count(OK) for states in false["state"])
        rows.append([half, errors_of(len(false), len(part)), int(part["n_hands"].sum()), n_counted])
    return [
        "\n### Portraits without a hand\n",
        markdown(["half", "portraits in which a hand is seen", "hands seen", "of which digits are counted"], rows),
    ]


def _generated_sections(hands: pd.DataFrame) -> list[str]:
    if hands.empty:
        return []
    sections = [
        "\n### Generated pictures\n\nWhat the instrument sees, beside what one reader noted. No score: there is no "
        "truth to hold it to. At most eight hands are looked at in a picture.\n"
    ]
    for source, part in hands.groupby("source", sort=False):
        rows = [_generated_row(str(name), rows) for name, rows in part.groupby("photograph", sort=False)]
        head = ["picture", "hands", "seen", "a reader's note"]
        sections.append(f"\n#### {source}\n\n{markdown(head, rows)}")
    return sections


def _generated_row(name: str, hands: pd.DataFrame) -> Row:
    words = Counter(seen_in_words(record) for record in hands.to_dict("records") if record["found"] != LOST)
    seen = "; ".join(f"{n} x {what}" if n > 1 else what for what, n in words.items())
    return [f"`{name}`", int(hands["n_hands"].iloc[0]), seen or "no hand", hands["note"].iloc[0] or "-"]


def seen_in_words(record: Mapping[Any, Any]) -> str:
    """What was read of one hand: its digits and what is wrong with them, or why it was not counted."""
    if record["state"] != OK:
        return f"{record['state']} (palm only)" if record["found"] == PALM_ONLY else str(record["state"])
    words = ["1 digit" if record["count"] == 1 else f"{record['count']:.0f} digits"]
    if record["fused"]:
        words.append(f"fused {record['fused'].replace(',', ' and ')}")
    words += [f"{record[name]:.0f} {name}" for name in ("extra", "missing") if record[name] > 0]
    return ", ".join(words)


def _calibration_sections(photographs: pd.DataFrame) -> list[str]:
    rows = [
        [trait, words, material, *(getattr(rates, name) for name in _RATE_COLUMNS)]
        for (trait, material), rates in calibration_counts(photographs).items()
        for words in [next((case.words for case in CASES if case.trait == trait), "a hand where one is")]
    ]
    return [
        "\n### Counts behind the correction of shares\n\nCounted hands of the reporting half, by trait: of "
        "`n_positive` true cases `n_found` were read as such, of `n_negative` others `n_false` as well. The rows *all* "
        "are those that the traits are corrected with. Hands lost stand in the first row alone, against portraits.\n",
        markdown(["trait", "a case is", "on", *_RATE_COLUMNS], rows),
    ]


_RATE_COLUMNS = ("n_positive", "n_found", "n_negative", "n_false")


# --------------------------------------------------------------------------- tables


def overview(parts: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """What became of the hands: found, counted, exact."""
    rows = []
    for name, hands in parts:
        if hands.empty:
            continue
        seen, counted = _seen(hands), _counted(hands)
        exact = _exact(counted)
        status = [int((hands["found"] == status).sum()) for status in (FOUND, PALM_ONLY, LOST)]
        ambiguous = errors_of(len(seen) - len(counted), len(seen))
        exact_words = (of(exact, len(counted)), interval(exact, len(counted)))
        rows.append([name, len(hands), *status, ambiguous, *exact_words])
    head = ["hands", "n", "with landmarks", "palm only", "lost", "ambiguous, of those found"]
    return markdown([*head, "exact, of those counted", "95 % interval, %"], rows)


def confusion(hands: pd.DataFrame) -> str:
    """True number of digits (rows) against the number read (columns)."""
    numbers = [*(str(n) for n in range(MOST)), f"{MOST} or more"]
    rows = []
    for true in range(MOST + 1):
        part = hands[hands["true_count"].clip(upper=MOST) == true]
        if part.empty:
            continue
        read = _counted(part)["count"].clip(upper=MOST)
        lost = int((part["found"] == LOST).sum())
        counts = [int((read == n).sum()) for n in range(MOST + 1)]
        rows.append([f"**{numbers[true]}**", *(n or "." for n in counts), len(part) - len(read) - lost, lost])
    return markdown(["true \\ read", *numbers, "ambiguous", "not found"], rows)


def fusion(parts: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Fused pairs found, over-read and missed."""
    rows = []
    for name, hands in parts:
        counted = _counted(hands)
        pairs = pairs_of(counted)
        numbers = [pairs.n_hit + pairs.n_missed, pairs.n_hit, pairs.n_false, pairs.n_missed]
        shares = [_two_digits(value) for value in (pairs.precision, pairs.recall, pairs.f1, pairs_of(hands).f1)]
        rows.append([name, len(counted), *numbers, *shares])
    head = ["hands", "counted", "fused pairs", "found", "false", "missed", "precision", "recall", "F1", "F1 of all"]
    return markdown(head, rows)


def false_fusion(parts: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Share of the intact hands counted in which any pair is read as fused."""
    rows = [
        [name, _false_fusion(hands, OPEN), _false_interval(hands), _false_fusion(hands, 0)] for name, hands in parts
    ]
    head = ["hands", f"false fusion, intact open hands ({OPEN} or 5 digits)", "95 % interval, %", "all intact hands"]
    return markdown(head, rows)


def flags(hands: pd.DataFrame) -> str:
    """By variant: how many of the counted hands were read as fused, as a mitten, with extra or missing digits."""
    rows = []
    for variant, part in hands.groupby("variant", sort=False):
        counted = _counted(part)
        same = [_names(a) == _names(b) for a, b in zip(counted["true_fused"], counted["fused"], strict=True)]
        said = [int(case.reading(counted).sum()) for case in CASES]
        outcome = [len(part), int((part["found"] == LOST).sum()), len(_seen(part)) - len(counted), len(counted)]
        rows.append([variant, *outcome, _exact(counted), sum(same), *said])
    head = ["variant", "hands", "lost", "ambiguous", "counted", "digits exact", "fused pairs exact", "any pair fused"]
    return markdown([*head, "mitten", "extra", "missing", "right"], rows)


def by_level(hands: pd.DataFrame, factor: str) -> str:
    """One row per level of a factor."""
    rows = []
    for level in sorted(hands[factor].dropna().unique(), key=_level_order):
        part = hands[hands[factor] == level]
        seen, counted = _seen(part), _counted(part)
        exact, pairs = _exact(counted), pairs_of(counted)
        cells: Row = [level, len(part), len(part) - len(seen), errors_of(len(seen) - len(counted), len(seen))]
        cells += [of(exact, len(counted)), interval(exact, len(counted)), pairs.n_hit + pairs.n_missed]
        rows.append(
            [*cells, *(_two_digits(value) for value in (pairs.precision, pairs.recall)), _false_fusion(part, 0)]
        )
    head = ["level", "hands", "lost", "ambiguous", "exact", "95 % interval, %", "fused pairs", "precision", "recall"]
    return markdown([*head, "false fusion, intact hands"], rows)


def _by_size(hands: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    large, unknown = hands["size_px"] >= LARGE_PX, hands["size_px"].isna()
    return [
        (f"{LARGE_PX:g} px or more", hands[large]),
        ("smaller", hands[~large & ~unknown]),
        ("size unknown", hands[unknown]),
    ]


def _size_words(sizes: pd.Series, edges: Sequence[float]) -> pd.Series:
    labels = [f"{low:g} to {high:g} px" for low, high in pairwise(edges)]
    return pd.cut(sizes, list(edges), labels=labels, right=False).astype(object)


def _level_order(level: str) -> tuple[float, str]:
    first = level.split(" ", maxsplit=1)[0]
    return (float(first), level) if first.replace(".", "", 1).isdigit() else (0.0, level)


def _states(hands: pd.DataFrame) -> str:
    states = Counter(str(state) for state in _seen(hands)["state"] if state != OK)
    return "Not counted: " + (", ".join(f"{state} {n}" for state, n in states.most_common()) or "none") + "."


def _intact(hands: pd.DataFrame, least: int) -> pd.DataFrame:
    counted = _counted(hands)
    return counted[counted["true_right"].eq(True) & (counted["true_count"] >= least)]


def _false_fusion(hands: pd.DataFrame, least: int) -> str:
    intact = _intact(hands, least)
    return errors_of(int((intact["fused"] != "").sum()), len(intact))


def _false_interval(hands: pd.DataFrame) -> str:
    intact = _intact(hands, OPEN)
    return interval(int((intact["fused"] != "").sum()), len(intact))


def _two_digits(value: float | None) -> str:
    """Rounded down, for what is better the nearer to 1."""
    return "-" if value is None else f"{math.floor(value * 100 + 1e-9) / 100:.2f}"
