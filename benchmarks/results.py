"""Lineages made by the loop and measured by the instrument: docs/results.md.

Run: python -m benchmarks.results utkface_200.tar --out runs/results. The tar holds photographs named as UTKFace names
them (age_gender_race_...). Hours on two cores; the same command goes on where it was interrupted. ``--embedder-root``:
the folder of an insightface pack "small", for face identity. ``--made``: the runs are there, by whatever version of the
loop; they are measured and told anew, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from decay.arms import load_arms
from decay.calibrate.cells import markdown
from decay.compare import Comparison, compare
from decay.figure import figure_of
from decay.loop.request import Request
from decay.loop.run import run
from decay.measure import measure
from decay.results import publish_comparison
from decay.seed_set import SeedSetSettings, make_seed_set
from decay.settings import MeasureSettings
from reports.compare import comparison_text

STUDIES = Path(__file__).parent / "studies"
DOCUMENT = Path("docs/results.md")
IMAGES = Path("docs/images")
N_SHEET = 8
YARDSTICKS = ("image_fid", "image_clip_score", "face_fd", "face_vendi")
"""Of the figure in the manner of the paper's: its own two, and two that need no more than what reads faces."""
NAME_TEMPLATE = "{age}_{gender}_{race}_*"
WORDS = {"gender": {"0": "man", "1": "woman"}}


@dataclass(frozen=True)
class Study:
    """``name``: of its protocol in ``studies``. ``columns``, ``per_group``, ``seed``, ``prompt``: of its seed set.

    ``baseline``: the arm that the others are compared with. ``arms``: in the order in which they are told.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    per_group: int
    seed: int
    prompt: str
    baseline: str
    arms: tuple[str, ...]
    has_sheet: bool


LINEAR = Study(
    "linear", "A linear model, five regimes", ("gender",), 800, 0, "a photo of a {gender}", "replace",
    ("replace", "mix-50", "fresh-50", "budget", "accumulate"), has_sheet=False,
)  # fmt: skip
DIFFUSION = Study(
    "diffusion", "A diffusion model from scratch, three mixes", ("gender", "age"), 100, 5,
    "a photo of a {age} {gender}", "mix-100", ("mix-100", "mix-25", "mix-0"), has_sheet=True,
)  # fmt: skip


def unpack(tar: Path, out: Path) -> Path:
    """The photographs in ``out``/photographs."""
    folder = out / "photographs"
    if not folder.exists():
        with tarfile.open(tar) as archive:
            archive.extractall(folder, filter="data")
    return folder


def make(study: Study, photographs: Path, out: Path, is_made: bool) -> list[Path]:
    """Seed set and runs of a study; the folders of its arms. ``is_made``: nothing is made, they are there."""
    folder = out / study.name
    if is_made:
        return [folder / arm for arm in study.arms]
    real = out / f"real_{study.name}"
    if not real.exists():
        settings = SeedSetSettings(
            folder=photographs, per_group=study.per_group, groups=None, name_template=NAME_TEMPLATE, words=WORDS,
            columns=study.columns, prompt=study.prompt, seed=study.seed, size_px=None, guess=(), pack=None, root=None,
        )  # fmt: skip
        make_seed_set(settings, real)
    request = Request(folder, str(STUDIES / f"{study.name}.toml"), all_arms=True, real=real)
    for place, protocol in request.protocols().items():
        print(place, flush=True)
        run(protocol, place)
    return [folder / arm for arm in study.arms]


def tell(study: Study, runs: Sequence[Path], embedder_root: Path | None) -> tuple[dict[str, str], Comparison]:
    """Measure every arm: its sentence; and all of them side by side."""
    pack = "small" if embedder_root else None
    settings = MeasureSettings(pack, embedder_root, workers=os.cpu_count() or 1)
    sentences = {}
    for place in runs:
        print("measure", place, flush=True)
        sentences[place.name] = str(measure(place, settings).finding.verdict["sentence"])
    arms = load_arms(runs)
    comparison = compare(arms, study.baseline)
    drawn = figure_of(runs, arms, yardsticks_measured(runs))
    publish_comparison(comparison, runs[0].parent / "compare", drawn)
    return sentences, comparison


def yardsticks_measured(runs: Sequence[Path]) -> list[str]:
    """Those of ``YARDSTICKS`` that some run has a value of: without weights there is none of the networks'."""
    found = pd.concat([pd.read_csv(place / "measures" / "traits.csv") for place in runs])
    measured = set(found.loc[found["value"].notna(), "trait"])
    return [name for name in YARDSTICKS if name in measured]


def sheet(runs: Sequence[Path], path: Path) -> None:
    """A picture of the same slots, some of them, down the generations: a row each, the arms side by side.

    Made pictures only; no photograph is published. An arm that branches off the first has its generations before that.
    """
    names = sorted({folder.name for place in runs for folder in place.glob("gen_*")})
    arms = [_rows([_first_folder([place / name, runs[0] / name]) for name in names]) for place in runs]
    gap = np.full((arms[0].shape[0], 8, 3), 255, np.uint8)
    parts = [part for arm in arms for part in (arm, gap)][:-1]
    picture = Image.fromarray(np.concatenate(parts, axis=1))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path, optimize=True)


def _first_folder(places: Sequence[Path]) -> Path:
    return next(place for place in places if place.is_dir())


def _rows(generations: Sequence[Path]) -> NDArray[np.uint8]:
    names = sorted(path.name for path in generations[0].glob("*.png"))
    chosen = names[:: len(names) // N_SHEET][:N_SHEET]
    rows = [[np.asarray(Image.open(folder / name).convert("RGB")) for name in chosen] for folder in generations]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


def left_table(runs: Sequence[Path], traits: Sequence[str]) -> str:
    """Retention of some traits in the first and the last generation of every arm, with its interval."""
    frames = {place.name: pd.read_csv(place / "measures" / "traits.csv") for place in runs}
    rows = []
    for name in traits:
        for arm, frame in frames.items():
            own = frame[frame["trait"] == name].sort_values("generation")
            own = own[own["generation"] >= 0]
            rows.append([name, arm, _cell(own.iloc[0]), _cell(own.iloc[-1])])
    return markdown(["trait", "arm", "left in the first generation, %", "left in the last, %"], rows)


def _cell(row: pd.Series) -> str:
    if np.isnan(row["retention"]):
        return "not measured"
    low, high = (100 * row[end] for end in ("retention_low", "retention_high"))
    return f"{100 * row['retention']:.0f} ({low:.0f} to {high:.0f})"


def rare_and_copied(runs: Sequence[Path]) -> str:
    """What verdict.json says of clusters that vanish and of copies, a line for each arm that has something."""
    lines = []
    for place in runs:
        verdict = json.loads((place / "measures" / "verdict.json").read_text(encoding="utf-8"))
        said = [(verdict.get("tails") or {}).get("sentence"), verdict.get("copies")]
        lines.append(f"- `{place.name}`: {' '.join(text for text in said if text) or 'nothing of the kind.'}")
    return "\n".join(lines)


def most_telling(comparison: Comparison, n: int = 8) -> list[str]:
    """The traits of which some arm most surely has more left than the baseline, in the last generation."""
    table = comparison.table[comparison.table["kind"] == "trait"]
    surest = table.groupby("name")["difference_low"].max().dropna().sort_values(ascending=False)
    return [str(name) for name in surest.index[:n]]


def section(study: Study, runs: Sequence[Path], sentences: Mapping[str, str], comparison: Comparison) -> str:
    """What is told of a study, as Markdown."""
    said = "\n".join(f"- `{arm}`: {sentence}" for arm, sentence in sentences.items())
    shown = (
        f"\n![The same slots down the generations](images/results_{study.name}_sheet.png)\n" if study.has_sheet else ""
    )
    protocol = f"benchmarks/studies/{study.name}.toml"
    yardsticks = yardsticks_measured(runs)
    missing = [name for name in YARDSTICKS if name not in yardsticks]
    without = f" Without weights at hand and so not measured: {', '.join(missing)}." if missing else ""
    return (
        f"## {study.title}\n\nProtocol: [{protocol}](../{protocol}).\n\n"
        f"![{study.title}: families and traits, arm by arm](images/results_{study.name}.png)\n{shown}\n"
        f"What `decay measure` says of each arm (reference: its real pictures):\n\n{said}\n\n"
        f"The traits of which an arm most surely has more left than `{study.baseline}`:\n\n"
        f"{left_table(runs, most_telling(comparison))}\n"
        f"The yardsticks, in the manner of the paper's Figure 5.{without}\n\n"
        f"![{study.title}: yardsticks against generation](images/results_{study.name}_figure.png)\n\n"
        f"{left_table(runs, yardsticks)}\n"
        f"What is rare, and what is copied:\n\n{rare_and_copied(runs)}\n\n"
        f"What `decay compare` says:\n\n```\n{comparison_text(comparison.table, comparison.record).strip()}\n```\n"
    )


def main() -> None:
    """Make, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tar", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--embedder-root", type=Path)
    parser.add_argument("--made", action="store_true")
    asked = parser.parse_args()
    photographs = unpack(asked.tar, asked.out)
    sections = []
    for study in (LINEAR, DIFFUSION):
        runs = make(study, photographs, asked.out, asked.made)
        sentences, comparison = tell(study, runs, asked.embedder_root)
        drawn = runs[0].parent / "compare"
        (IMAGES / f"results_{study.name}.png").write_bytes((drawn / "compare.png").read_bytes())
        (IMAGES / f"results_{study.name}_figure.png").write_bytes((drawn / "figure.png").read_bytes())
        if study.has_sheet:
            sheet(runs, IMAGES / f"results_{study.name}_sheet.png")
        sections.append(section(study, runs, sentences, comparison))
        (asked.out / f"{study.name}.md").write_text(sections[-1], encoding="utf-8")
    before = DOCUMENT.read_text(encoding="utf-8").partition("\n## ")[0] if DOCUMENT.exists() else "# Results\n"
    DOCUMENT.write_text("\n\n".join([before.strip(), *sections]).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
