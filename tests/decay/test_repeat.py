"""What re-reading costs a trait, on toy tables and on drawn faces, and what it does to the verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decay.changes import CHANGES, flip, save_as_jpeg, shift
from decay.conclude import conclude
from decay.erosion import Array, Onset, Retention, judge, rank
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import Generation, ImageRecord, Lineage, load_lineage
from decay.outcome import Outcome
from decay.phantom import Population, draw_face
from decay.read import hash_lineage, read_again, read_lineage
from decay.repeat import choose, repeat_losses
from decay.settings import MeasureSettings, Rule
from decay.tables import Tables
from decay.workers.here import Here
from detectors.embedder import open_embedder
from detectors.reader import ImageReadings, Reader
from detectors.registry import traits
from detectors.trait import OK, Face, Family, Hand, Measurement, Reading, Trait, View
from detectors.vision import Vision

N = 30
GENERATIONS = range(5)
BASE = np.random.default_rng(0).normal(0, 1, N)


# --------------------------------------------------------------------------- the changes


def test_the_changes_take_next_to_nothing_from_a_picture() -> None:
    pixels = draw_face(Population().sample_face(np.random.default_rng(1)), 128, np.random.default_rng(1))[0]
    np.testing.assert_array_equal(flip(flip(pixels)), pixels)
    np.testing.assert_array_equal(flip(pixels)[:, 0], pixels[:, -1])
    np.testing.assert_array_equal(shift(pixels)[:, 1:], pixels[:, :-1])
    np.testing.assert_array_equal(shift(pixels)[:, 0], pixels[:, 0])
    off = save_as_jpeg(pixels).astype(int) - pixels
    assert 0 < np.abs(off).mean() < 4  # chroma is halved, the drawing's noise is not: a few levels
    assert all(change(pixels).shape == pixels.shape for change in CHANGES.values())


# --------------------------------------------------------------------------- what a trait loses


def measure_nothing(view: View, subject: Face | Hand | None) -> Measurement:
    raise AssertionError("not called: these tests start from tables")


def losses_of(flipped: Array, shifted: Array, saved: Array, n: int = N, **changes: object) -> tuple[float, str]:
    """The loss and its change, of a spread unless ``changes`` say otherwise."""
    fields: dict[str, object] = {
        "name": "face_toy",
        "subject": "face",
        "label": "Toy",
        "unit": "px",
        "direction": "higher",
        "floor": 0.0,
        "source": "this test",
        "readings": ("face_toy",),
        "statistic": lambda sample, _: float(np.std(sample.numbers("face_toy"))),
    }
    trait = Trait(**(fields | changes))  # type: ignore[arg-type]
    reading = Reading("face_toy", "face", "Toy", "px")
    family = Family("face_toy", "face", "face", (reading,), {OK: "measured"}, measure_nothing, (trait,))
    columns = (BASE, flipped, shifted, saved)
    rows = [(g, f"{g}:{i}", f"{i:02d}", float(x)) for g, col in enumerate(columns) for i, x in enumerate(col[:n])]
    where = pd.DataFrame([row[:3] for row in rows], columns=["generation", "image", "slot"])
    images = where.assign(group="", n_faces=1, n_hands=0, expects_face=1, expects_hand=0)
    faces = where.drop(columns="slot").assign(face=0, face_toy_state=OK, face_toy=[row[3] for row in rows])
    tables = Tables(images, faces, pd.DataFrame(), pd.DataFrame())
    found = repeat_losses(tables, tuple(CHANGES), seed=0, of=[family])["face_toy"]
    return found.loss, found.worst


def check(found: tuple[float, str], loss: float, worst: str) -> None:
    assert found[0] == pytest.approx(loss)
    assert found[1] == worst


def test_the_largest_change_either_way_is_the_loss() -> None:
    check(losses_of(BASE * 1.1, BASE, BASE * 0.7), 0.3, "jpeg95")
    check(losses_of(BASE * 1.4, BASE, BASE * 0.7), 0.4, "flip")
    check(losses_of(BASE, BASE, BASE), 0.0, "")


def test_a_mirror_image_is_another_picture_where_sides_mean_something() -> None:
    check(losses_of(BASE * 3, BASE * 0.9, BASE, sided=True), 0.1, "shift")


def test_chance_excuses_no_drift_of_the_very_same_pictures() -> None:
    """Two samples of 30 lie a quarter of a spread apart by chance; the same 30 pictures do not."""
    drifted = BASE + 0.2 * np.std(BASE, ddof=1)
    check(losses_of(BASE, drifted, BASE, kind="location", direction="reference"), 0.2, "shift")


def test_of_too_few_pictures_nothing_is_said() -> None:
    loss, worst = losses_of(BASE * 0.5, BASE, BASE, n=11)
    assert math.isnan(loss)
    assert worst == ""
    assert losses_of(BASE * 0.5, BASE, BASE, n=12)[0] == pytest.approx(0.5)


def test_a_trait_with_nothing_to_lose_is_not_told() -> None:
    assert math.isnan(losses_of(BASE, BASE, BASE, floor=float(np.std(BASE)))[0])


def test_pictures_are_chosen_by_the_seed_among_those_that_could_be_read() -> None:
    records = [ImageRecord(Path(f"{i}.png"), f"gen_00/{i}.png", f"{i:02d}") for i in range(30)]
    later = (ImageRecord(Path("x.png"), "gen_01/x.png", "00"),)
    lineage = Lineage(Path(), (Generation(0, Path("gen_00"), tuple(records)), Generation(1, Path("gen_01"), later)))
    outcomes = {r.relative: Outcome("", OK, ImageReadings()) for r in [*records, *later]}
    outcomes[records[3].relative] = Outcome("", "damaged", None)
    one, same, other = (choose(lineage, outcomes, 10, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert [r.slot for r in one] == sorted({r.slot for r in one})
    assert set(choose(lineage, outcomes, 99, 0)) == set(records) - {records[3]}


# --------------------------------------------------------------------------- what follows from it


def course(left: float, repeat_loss: float, name: str = "iris", group: str = "eyes") -> Retention:
    value = np.array([1.0, 1.0, left, left, left])
    draws = value + np.random.default_rng([7, len(name)]).normal(0, 0.02, (300, 5))
    draws[:, 0] = 1.0
    return Retention(name, name, group, value, draws, np.ones(5), n_slots=200, repeat_loss=repeat_loss)


def onset(left: float, repeat_loss: float) -> Onset:
    return rank([course(left, repeat_loss)], GENERATIONS, Rule(margin=0.2)).onsets["iris"]


def test_a_loss_that_re_reading_explains_is_no_erosion() -> None:
    assert onset(0.6, math.nan).state == "eroded"
    assert onset(0.6, 0.5).state == "cannot_tell"
    assert onset(0.2, 0.5).state == "eroded"
    assert onset(0.2, 0.5).value == 2


def test_a_reading_that_repeats_within_the_margin_changes_nothing() -> None:
    assert onset(0.6, 0.15) == onset(0.6, math.nan)


def test_an_unreliable_reading_does_not_hold_more_easily() -> None:
    assert onset(0.95, 0.5).state == "held"
    assert onset(0.7, 0.5).state == "cannot_tell"


def test_no_less_than_the_repeat_loss_can_be_detected() -> None:
    found = [onset(0.6, loss).smallest_detectable for loss in (0.0, 0.3, 0.6, 0.95)]
    assert found == sorted(found)
    assert found[2] > 0.6
    assert onset(0.6, 1.2).state == "not_rankable"


def test_the_first_is_not_one_that_only_re_reading_moved() -> None:
    early, late = course(0.6, 0.5), course(0.3, 0.0, "finger", "hands")
    late = replace(late, value=np.roll(late.value, 1), draws=np.roll(late.draws, 1, axis=1))
    late.value[0], late.draws[:, 0] = 1.0, 1.0
    reliable = [replace(early, repeat_loss=0.0), late]
    for both, first in ((reliable, "eyes"), ([early, late], "hands")):
        ranking = rank(both, GENERATIONS, Rule())
        verdict = judge(both, ranking, GENERATIONS)
        assert verdict.first_group is not None
        assert verdict.first_group[0] == first


# --------------------------------------------------------------------------- with the real detectors


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "gen_00"
    folder.mkdir()
    for slot in range(12):
        person = Population().sample_face(np.random.default_rng([4, slot]))
        write_png(folder / f"{slot:02d}.png", draw_face(person, 256, np.random.default_rng(slot))[0])
    return folder.parent


def test_drawn_faces_are_read_again_once_and_nearly_the_same(people: Path) -> None:
    lineage, settings = load_lineage(people), MeasureSettings(n_resamples=60, repeat=12)
    made: list[Reader] = []

    def make() -> Reader:
        made.append(Reader(Vision(), open_embedder(None, None)))
        return made[-1]

    with Journal(people / "journal.sqlite") as journal, Here(make) as workers:
        outcomes = read_lineage(hash_lineage(lineage), journal, "test", workers)
        first = read_again(lineage, outcomes, settings, journal, "test", workers)
    with Journal(people / "journal.sqlite") as journal, Here(make) as workers:
        again = read_again(lineage, outcomes, settings, journal, "test", workers)
    assert len(made) == 1  # the second time all is known
    assert first.record == again.record == {"n_images": 12, "changes": ["flip", "shift", "jpeg95"]}
    pd.testing.assert_frame_equal(_frame(first.losses), _frame(again.losses))
    assert first.losses["image_contrast"].loss < 0.05
    assert all(first.losses[t.name].worst != "flip" for t in traits() if t.sided)
    erosion = conclude(lineage, outcomes, settings, repeats=first.losses).erosion.set_index("trait")
    assert erosion.loc["image_contrast", "repeat_loss"] == first.losses["image_contrast"].loss
    assert all(math.isnan(first.losses[t.name].loss) for t in traits() if t.subject == "hand")  # none is drawn


def _frame(losses: object) -> pd.DataFrame:
    assert isinstance(losses, dict)
    return pd.DataFrame([vars(loss) for loss in losses.values()], index=list(losses))
