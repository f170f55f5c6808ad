"""Calibration records -> ``docs/accuracy.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from decay.calibrate.cells import halves, markdown, percent, share, spread
from decay.calibrate.hand_report import drawn_hand_sections, glance_rows, photograph_hand_sections
from decay.calibrate.parity import parity_section
from detectors.trait import OK

LARGE_PX = 10.0
"""Iris radius from which the headline figures hold."""
OFF_CENTRE = 0.2
"""Below this rho a clock position means little; clock errors are given from here on."""
MEASURED = (OK, "no_highlight")

HEAD = """# Accuracy

Made by `decay calibrate --photographs DATA` (without the option, the drawn part alone). Errors are reading minus truth,
in the unit named; *offset* is the distance between read and true glint as vectors in iris radii. *Bias* is the
mean error, *median* and *p90* are of the absolute error, *n* is how many readings stand behind a row.
Drawn faces have odd seeds here; even seeds were used while the detectors were tuned. Nearly a third of them are
drawn without a glint. Photographs are split by the hash of their file name into a half that was tuned on and
a half that was not, though all were looked at.
How sure the verdict is (false alarms, order, power, coverage): [accuracy_statistics.md](accuracy_statistics.md).
"""


@dataclass(frozen=True)
class Records:
    """What was read beside what is true: one table each for drawn faces and hands, and where photographs were read,
    for portraits (a row per eye) and for pictures of hands (see ``hands``)."""

    drawn_faces: pd.DataFrame
    drawn_hands: pd.DataFrame
    portraits: pd.DataFrame | None = None
    hands: pd.DataFrame | None = None


def report(records: Records, hands_sheet: str | None = None) -> str:
    """The whole document. ``hands_sheet``: the picture of drawn hands, as a link from it."""
    sections = [HEAD, glance(records), *drawn_sections(records.drawn_faces)]
    if records.portraits is not None:
        sections += photograph_sections(records.portraits)
    sections += drawn_hand_sections(records.drawn_hands, hands_sheet)
    if records.hands is not None:
        sections += photograph_hand_sections(records.hands)
    sections.append(parity_section())
    return "\n".join(sections)


def glance(records: Records) -> str:
    """What the instrument is held to, and what it reached."""
    drawn = records.drawn_faces
    eyes = drawn[(drawn["subject"] == "eye") & (drawn["factor"] == "as drawn") & (drawn["radius_px"] >= LARGE_PX)]
    clock = eyes.loc[eyes["true_rho"] >= OFF_CENTRE, "clock"].dropna()
    rows: list[list[object]] = [
        ["drawn", "clock error, median", "<= 4 deg", spread(clock, 1)[0]],
        ["drawn", "clock error, 90th percentile", "<= 10 deg", spread(clock, 1)[1]],
        ["drawn", "rho error, median", "<= 0.04", spread(eyes["rho"].abs().dropna())[0]],
        ["drawn", "presence right", ">= 98 %", share(_presence_right(eyes))],
    ]
    if records.portraits is not None:
        portraits = records.portraits
        read = portraits[portraits["flag"] == "ok"]
        offset, clock = read["offset"].dropna(), read.loc[read["true_rho"] >= OFF_CENTRE, "clock"].dropna()
        rows += [
            ["portraits", "presence agrees with a person", ">= 95 %", str(_presence_row("both", portraits)[5])],
            ["portraits", "glint offset, median", "<= 0.08 iris radii", spread(offset)[0]],
            ["portraits", "glint offset, 90th percentile", "<= 0.2 iris radii", spread(offset)[1]],
            ["portraits", "clock error, median", "<= 8 deg", spread(clock, 1)[0]],
        ]
    rows += glance_rows(records.drawn_hands, records.hands)
    return f"## At a glance\n\n{markdown(['on', 'figure', 'held to', 'reached'], rows)}"


# --------------------------------------------------------------------------- drawn faces


def drawn_sections(records: pd.DataFrame) -> list[str]:
    """Headline, by iris size, by factor, and faces."""
    eyes = records[records["subject"] == "eye"]
    plain = eyes[eyes["factor"] == "as drawn"]
    large = plain[plain["radius_px"] >= LARGE_PX]
    faces = records[(records["subject"] == "face")]
    return [
        "## Drawn faces: the eye\n",
        f"As drawn, iris radius >= {LARGE_PX:g} px, {large['seed'].nunique()} seeds at three sizes.\n",
        eye_table(large),
        presence_line(large),
        f"\n### By iris radius\n\nAll pictures without added damage.\n\n{by_size(eyes)}",
        *(
            f"\n### By {factor}\n\n{levels_table(eyes[eyes['factor'] == factor])}"
            for factor in eyes["factor"].unique()
            if factor not in ("as drawn", "picture size")
        ),
        "\n## Drawn faces: the face\n",
        face_table(faces[faces["factor"] == "as drawn"]),
    ]


EYE_ERRORS = (
    ("catchlight clock, rho >= 0.2", "clock", "clock_signed", "deg", True),
    ("catchlight rho", "rho", "rho", "iris radii", False),
    ("catchlight offset", "offset", None, "iris radii", False),
    ("iris centre", "iris_offset", None, "iris radii", False),
    ("iris centre, horizontal", "iris_dx", "iris_dx", "iris radii", False),
    ("iris centre, vertical", "iris_dy", "iris_dy", "iris radii", False),
    ("iris radius", "iris_radius", "iris_radius", "share of the radius", False),
)


def eye_table(eyes: pd.DataFrame) -> str:
    """Bias, median and 90th percentile of every reading of the eye."""
    rows = []
    for name, column, signed, unit, off_centre in EYE_ERRORS:
        chosen = eyes[eyes["true_rho"] >= OFF_CENTRE] if off_centre else eyes
        errors = chosen[column].abs().dropna()
        bias = f"{chosen[signed].mean():+.3f}" if signed else "-"
        rows.append([name, unit, len(errors), bias, *spread(errors)])
    return markdown(["reading", "unit", "n", "bias", "median", "p90"], rows)


def _presence_right(eyes: pd.DataFrame) -> pd.Series:
    """Whether presence was read rightly, for the eyes of known truth in which it was read."""
    known = eyes[eyes["shown"].notna() & eyes["catchlight_state"].isin(MEASURED)]
    return (known["catchlight_state"] == OK) == (known["shown"] == 1.0)


def presence_line(eyes: pd.DataFrame) -> str:
    """How often presence was right, how often nothing was said, how often the count was right."""
    known = eyes[eyes["shown"].notna()]
    said = known[known["catchlight_state"].isin(MEASURED)]
    right = _presence_right(eyes)
    declined = Counter(str(state) for state in known["catchlight_state"] if state not in MEASURED)
    states = ", ".join(f"{state} {n}" for state, n in declined.most_common())
    return (
        f"\nPresence right in {share(right)} of the eyes in which it was read; nothing was said of "
        f"{len(known) - len(said)} of {len(known)} eyes ({states or 'none'}). "
        f"Number of glints right in {share(eyes['count_right'].dropna() == 1.0)}.\n"
    )


def by_size(eyes: pd.DataFrame) -> str:
    """Errors against iris radius."""
    plain = eyes[eyes["factor"].isin(["as drawn", "picture size"])]
    bins = [0, 4, 6, 8, 10, 14, 20, 40]
    labels = [f"{low} to {high} px" for low, high in pairwise(bins)]
    return levels_table(plain.assign(level=pd.cut(plain["radius_px"], bins, labels=labels)), labels)


def levels_table(eyes: pd.DataFrame, levels: Iterable[str] | None = None) -> str:
    """One row per level: what was read, and how well."""
    rows = []
    for level in levels or eyes["level"].unique():
        part = eyes[eyes["level"] == level]
        if part.empty:
            continue
        known = part[part["shown"].notna()]
        clock = part.loc[part["true_rho"] >= OFF_CENTRE, "clock"].dropna()
        rows.append(
            [
                level,
                len(part),
                share(part["iris_state"] == OK),
                share(known["catchlight_state"].isin(MEASURED)),
                share(_presence_right(part)),
                *spread(part["iris_offset"].dropna()),
                *spread(part["rho"].abs().dropna()),
                *spread(clock, 1),
            ]
        )
    head = ["level", "eyes", "iris read", "presence said", "presence right"]
    head += ["iris centre median", "p90", "rho median", "p90", "clock median, deg", "p90"]
    return markdown(head, rows)


def face_table(faces: pd.DataFrame) -> str:
    """Angles against truth; quantities on another scale than the truth by rank correlation."""
    lines = [f"Faces found: {share(faces['found'] == 1.0)} of {len(faces)}.\n"]
    rows = []
    for name in ("yaw", "roll"):
        errors = faces[name].dropna()
        rows.append([f"{name}", "deg", len(errors), f"{errors.mean():+.2f}", *spread(errors.abs(), 2), "-"])
    for name in ("lighting_ratio_stops", "skin_l", "skin_hue_deg", "skin_texture", "expression_smile"):
        pair = faces[[name, f"true_{name}"]].dropna()
        errors = pair[name] - pair[f"true_{name}"]
        comparable = name == "lighting_ratio_stops"
        shown = [f"{errors.mean():+.2f}", *spread(errors.abs(), 2)] if comparable else ["-", "-", "-"]
        rank = pair[name].corr(pair[f"true_{name}"], method="spearman")
        rows.append([name, "stops" if comparable else "ranks only", len(pair), *shown, f"{rank:.2f}"])
    lines.append(markdown(["reading", "unit", "n", "bias", "median", "p90", "rank correlation"], rows))
    return "\n".join(lines)


# --------------------------------------------------------------------------- photographs


def photograph_sections(eyes: pd.DataFrame) -> list[str]:
    """Portraits against a person's labels and readings."""
    return [
        "\n## Photographs: portraits of 1024 px\n",
        "Presence against one person's labels (1 clear, 0 none or hidden; uncertain ones left out).\n",
        markdown(
            ["half", "labelled eyes", "agree", "disagree", "not said", "agreement of all", "agreement where said"],
            [_presence_row(half, part) for half, part in halves(eyes)],
        ),
        "\nMain glint against hand readings (flag ok; where two glints are nearly equal, the nearer one counts).\n",
        markdown(
            ["half", "reading", "unit", "n", "median", "p90"],
            [row for half, part in halves(eyes[eyes["flag"] == "ok"]) for row in _hand_reading_rows(half, part)],
        ),
    ]


def _presence_row(half: str, eyes: pd.DataFrame) -> list[object]:
    labelled = eyes[eyes["label"].isin(["0", "1"])]
    said = labelled[labelled["state"].isin(MEASURED)]
    agree = int(((said["state"] == OK) == (said["label"] == "1")).sum())
    # An eye of which nothing was said is not an agreement, though it may be hidden and nothing rightly said.
    shares = percent(agree / max(len(labelled), 1)), percent(agree / max(len(said), 1))
    return [half, len(labelled), agree, len(said) - agree, len(labelled) - len(said), *shares]


def _hand_reading_rows(half: str, eyes: pd.DataFrame) -> list[list[object]]:
    off_centre = eyes[eyes["true_rho"] >= OFF_CENTRE]
    return [
        [half, "catchlight offset", "iris radii", eyes["offset"].notna().sum(), *spread(eyes["offset"].dropna())],
        [half, "catchlight rho", "iris radii", eyes["rho"].notna().sum(), *spread(eyes["rho"].abs().dropna())],
        [
            half,
            "clock, rho >= 0.2",
            "deg",
            off_centre["clock"].notna().sum(),
            *spread(off_centre["clock"].dropna(), 1),
        ],
        [half, "iris centre", "iris radii", eyes["iris_offset"].notna().sum(), *spread(eyes["iris_offset"].dropna())],
    ]
