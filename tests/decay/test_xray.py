"""X-ray strips of a measured run: drawn faces and hands, the real detectors, marks checked against the pixels."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from decay.images import read_image, write_png
from decay.phantom import HandParameters, Population, draw_face, draw_hand
from decay.tables import Tables, load_tables
from decay.xray import FINGERS, choose_slots, cut, fused_digits, open_strips, window_around
from reports.strips import StripsSection, View

N_FACES, N_HANDS, SIZE_PX = 7, 6, 400
ROLL_DEG = 14.0
"""Far enough that a glint turned the wrong way would lie beside the glint."""
OPEN = ("extended",) * 5
FUSED = (None, "plain", None, None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    """Two generations of the same pictures: people with tilted heads and open hands, one in two with fused fingers."""
    root = tmp_path_factory.mktemp("xray") / "run"
    for generation in range(2):
        (root / f"gen_{generation:02d}").mkdir(parents=True)
    for slot in range(N_FACES):
        rng = np.random.default_rng([5, slot])
        face = Population(frac_no_glint=0.0, nuisance=0.0).sample_face(rng)
        tilted = replace(face.framing, roll_deg=ROLL_DEG * (-1) ** slot, yaw_deg=0.0)
        write_png(root / f"gen_00/face_{slot}.png", draw_face(replace(face, framing=tilted), SIZE_PX, rng)[0])
    for slot in range(N_HANDS):
        fused = FUSED if slot % 2 else (None,) * 4
        hand = replace(HandParameters(), fingers=OPEN, fused=fused, rotation_deg=3.0 * slot)
        write_png(root / f"gen_00/hand_{slot}.png", draw_hand(hand, SIZE_PX, np.random.default_rng(slot))[0])
    for picture in (root / "gen_00").iterdir():
        shutil.copy(picture, root / "gen_01")
    return write_run(root)


@pytest.fixture(scope="module")
def tables(run: Path) -> Tables:
    return load_tables(run / "measures")


def erosion(*names: str) -> pd.DataFrame:
    """An erosion table in which these traits eroded, in this order."""
    return pd.DataFrame({"trait": names, "rank": range(1, len(names) + 1), "verdict": "eroded"})


ERODED = erosion("catchlight_contrast", "finger_fused")


@pytest.fixture(scope="module")
def strips(run: Path, tables: Tables) -> StripsSection:
    return open_strips(run, tables, ERODED, seed=0)


def views(section: StripsSection, kind: str) -> Iterator[View]:
    for strip in section.strips:
        for row in strip.rows:
            for cell in row.cells:
                yield from (view for view in cell.views if view.kind == kind)


def pixels(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    assert view.crop is not None
    return np.asarray(Image.open(io.BytesIO(view.crop.jpeg)).convert("RGB"), np.float64)


def test_each_subject_has_a_strip_of_three_slots_over_all_generations(strips: StripsSection) -> None:
    assert [strip.name for strip in strips.strips] == ["strip-face", "strip-hand"]
    for strip in strips.strips:
        assert [row.place for row in strip.rows] == ["low tail", "middle", "high tail"]
        assert len({row.slot for row in strip.rows}) == 3
        assert strip.columns == ["generation 0", "generation 1"]
        assert all([cell.generation for cell in row.cells] == [0, 1] for row in strip.rows)
    assert not strips.notes


def test_the_glint_is_drawn_on_the_brightest_place_of_the_iris_of_a_tilted_head(strips: StripsSection) -> None:
    checked = 0
    for view in views(strips, "eye"):
        for mark in view.irises:
            if mark.glint is None:
                continue
            light = pixels(view).mean(axis=2)
            u, v, _ = mark.glint
            turn = math.radians(mark.roll_deg)
            x = mark.x + mark.radius * (u * math.cos(turn) - v * math.sin(turn))
            y = mark.y + mark.radius * (u * math.sin(turn) + v * math.cos(turn))
            column, row = (int(place / 100 * light.shape[0]) for place in (x, y))
            rows, columns = np.indices(light.shape)
            to_percent = 100 / light.shape[0]
            away = np.hypot((columns + 0.5) * to_percent - mark.x, (rows + 0.5) * to_percent - mark.y)
            iris = light[away < 0.9 * mark.radius]
            assert light[row, column] > 0.85 * iris.max()
            assert light[row, column] > np.median(iris) + 40
            assert abs(abs(mark.roll_deg) - ROLL_DEG) < 4
            checked += 1
    assert checked >= 6


def test_every_face_shows_its_irises_and_both_eyes_follow_it(strips: StripsSection) -> None:
    for strip in strips.strips[:1]:
        for row in strip.rows:
            for cell in row.cells:
                face, *eyes = cell.views
                assert (face.kind, len(eyes)) == ("face", 2)
                left, right = (eye.irises[0] for eye in eyes if eye.irises)
                assert left.radius == pytest.approx(right.radius, rel=0.3)
                first, second = face.irises
                assert first.x < second.x
                assert all(0 < place < 100 for mark in face.irises for place in (mark.x, mark.y))


def test_hands_show_as_many_tips_as_were_counted_and_where_they_fused(strips: StripsSection) -> None:
    counted = [view for view in views(strips, "hand") if view.is_read]
    assert counted
    for view in counted:
        assert view.words.startswith(f"{len(view.tips)} digit")
        assert all(0 < x < 100 and 0 < y < 100 for x, y in view.tips)
        for mark in view.fused:
            assert mark.names == "index and middle"
            assert mark.tip == view.tips[1]
    assert any(view.fused for view in counted)
    assert all(view.fused for view in counted if "fused" in view.words)


def test_the_same_run_gives_the_same_bytes(run: Path, tables: Tables, strips: StripsSection) -> None:
    assert open_strips(run, tables, ERODED, seed=0) == strips


def test_what_became_of_a_slot_has_no_say_in_its_choice(tables: Tables) -> None:
    eyes = tables.eyes.copy()
    later = eyes["generation"] > 0
    eyes.loc[later, "catchlight_contrast_stops"] = np.random.default_rng(1).random(int(later.sum()))
    before = choose_slots(tables, ERODED, "face", 0)
    assert before is not None
    assert choose_slots(replace(tables, eyes=eyes), ERODED, "face", 0) == before


def test_the_slots_stand_at_the_stated_quantiles(tables: Tables) -> None:
    choice = choose_slots(tables, ERODED, "face", 0)
    assert choice is not None
    first = tables.eyes[(tables.eyes["generation"] == 0) & (tables.eyes["catchlight_state"] == "ok")]
    by_image = first.groupby("image")["catchlight_contrast_stops"].mean().sort_values()
    low, middle, high = (score for _, _, score in choice.slots)
    assert choice.n_slots == len(by_image)
    assert middle == by_image.median() if len(by_image) % 2 else low < middle < high
    assert [low, high] == [by_image.iloc[round(q * (len(by_image) - 1))] for q in (0.1, 0.9)]


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("skin_lightness", "eroded first"),
        ("finger_fused", "has the earliest onset"),
        ("", "has the earliest onset"),
        (None, "has the earliest onset; what eroded first could not be told"),
    ],
)
def test_the_first_of_the_page_chooses_and_eroded_first_only_where_the_verdict_names_it(
    tables: Tables, named: str | None, why: str
) -> None:
    table = erosion("skin_lightness", "catchlight_eccentricity")
    choice = choose_slots(tables, table, "face", 0, named)
    assert choice is not None
    assert (choice.trait.name, choice.why) == ("skin_lightness", why)
    held = choose_slots(tables, table.assign(verdict="held", rank=math.nan), "face", 0, named)
    assert held is not None
    assert (held.trait.name, held.why) == ("skin_lightness", "stands first in the page's order; none of them eroded")


@pytest.mark.parametrize(
    "trait", ["catchlight_presence", "catchlight_clock_spread", "catchlight_modal_cell_share", "face_pairwise_distance"]
)
def test_states_directions_words_and_vectors_can_choose(tables: Tables, trait: str) -> None:
    choice = choose_slots(tables, erosion(trait), "face", 0)
    assert choice is not None
    scores = [score for *_, score in choice.slots]
    assert scores == sorted(scores)
    assert np.isfinite(scores).all()


def test_directions_are_told_by_their_distance_from_the_common_one_across_12_o_clock(tables: Tables) -> None:
    faces = sorted(set(tables.images.loc[tables.images["image"].str.startswith("gen_00/face"), "image"]))
    clocks = dict(zip(faces, [340.0, 350.0, 20.0, 10.0, 1.0, 345.0, 15.0], strict=True))
    eyes = tables.eyes[tables.eyes["image"].isin(faces)].assign(catchlight_state="ok")
    eyes["catchlight_clock_deg"] = eyes["image"].map(clocks)
    choice = choose_slots(replace(tables, eyes=eyes), erosion("catchlight_clock_spread"), "face", 0)
    assert choice is not None
    # The common direction is 0.14 degrees; of seven the quantiles are the second, the fourth and the sixth.
    assert [slot for slot, *_ in choice.slots] == ["face_3", "face_6", "face_2"]
    assert [score for *_, score in choice.slots] == pytest.approx([9.86, 14.86, 19.86], abs=0.03)


def test_a_trait_that_too_few_slots_show_is_passed_over(run: Path, tables: Tables) -> None:
    few = replace(tables, hands=tables.hands.iloc[:2])
    assert choose_slots(few, ERODED, "hand", 0) is None
    section = open_strips(run, few, ERODED, seed=0)
    assert section.notes == ("No strip of hands: too few could be read in the first generation.",)


def test_a_picture_that_changed_or_went_is_never_shown_with_old_readings(
    run: Path, tables: Tables, strips: StripsSection, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    low, middle, high = (row.slot for row in strips.strips[0].rows)
    picture = copy / f"gen_01/{low}.png"
    write_png(picture, read_image(picture)[::-1].copy())
    (copy / f"gen_01/{middle}.png").unlink()
    outside = tmp_path / "elsewhere.png"
    shutil.move(copy / f"gen_01/{high}.png", outside)
    (copy / f"gen_01/{high}.png").symlink_to(outside)
    told = [row.cells[1].views for row in open_strips(copy, tables, ERODED, seed=0).strips[0].rows]
    assert [len(views) for views in told] == [1, 1, 1]
    assert all(views[0].crop is None and not views[0].irises for views in told)
    words = [views[0].words for views in told]
    assert words == ["picture changed since it was measured", "picture missing", "picture outside"]


def test_a_generation_where_the_face_is_lost_shows_the_whole_picture(
    run: Path, tables: Tables, strips: StripsSection
) -> None:
    faces, eyes = (table[table["generation"] == 0] for table in (tables.faces, tables.eyes))
    lost = open_strips(run, replace(tables, faces=faces, eyes=eyes), ERODED, seed=0)
    for row in lost.strips[0].rows:
        (view,) = row.cells[1].views
        assert (view.words, view.is_read) == ("no face found", False)
        assert view.crop is not None


def test_an_eye_without_iris_is_cut_where_its_slot_has_it_elsewhere(
    run: Path, tables: Tables, strips: StripsSection
) -> None:
    eyes = tables.eyes.copy()
    later = eyes["generation"] == 1
    eyes.loc[later, ["iris_x_px", "iris_y_px", "iris_radius_px"]] = math.nan
    eyes.loc[later, "catchlight_state"] = "no_limbus"
    unread = open_strips(run, replace(tables, eyes=eyes), ERODED, seed=0)
    for row in unread.strips[0].rows:
        before, after = (cell.views[1:] for cell in row.cells)
        for seen, eye in zip(before, after, strict=True):
            assert (eye.words, eye.is_read, len(eye.irises)) == ("no limbus", False, 0)
            assert np.abs(pixels(seen).mean() - pixels(eye).mean()) < 3  # the same place of the same picture
    assert ("no limbus", unread.strips[0].meanings[0][1]) in unread.strips[0].meanings


def test_a_long_run_shows_its_first_and_last_generation(run: Path, tables: Tables) -> None:
    first = tables.images[tables.images["generation"] == 0]
    later = [first.assign(generation=g, image=f"gen_{g:02d}/" + first["image"]) for g in range(1, 30)]
    images = pd.concat([first, *later], ignore_index=True)
    columns = open_strips(run, replace(tables, images=images), ERODED, seed=0).strips[0].columns
    assert (len(columns), columns[0], columns[-1]) == (12, "generation 0", "generation 29")


def test_damaged_boxes_and_tips_are_no_crash(run: Path, tables: Tables) -> None:
    faces, hands = tables.faces.assign(box="1,2,x"), tables.hands.assign(finger_tips="nan,1;3", box="0,0,1e300,5")
    section = open_strips(run, replace(tables, faces=faces, hands=hands), ERODED, seed=0)
    assert {view.words for view in views(section, "face")} == {"no face found"}
    assert all(not view.tips for view in views(section, "hand"))


def test_a_reference_outside_the_run_is_opened_where_it_lies(
    run: Path, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    elsewhere = shutil.copytree(run / "gen_00", tmp_path / "elsewhere")
    copy = tmp_path / "copy"
    shutil.copytree(run / "gen_00", copy / "gen_00")
    tables = load_tables(write_run(copy, elsewhere) / "measures")
    strip, *_ = open_strips(copy, tables, ERODED, seed=0, reference=elsewhere).strips
    assert strip.columns == ["reference", "generation 0"]
    for row in strip.rows:
        first, second = (cell.views for cell in row.cells)
        assert [view.crop for view in first] == [view.crop for view in second]
    blind, *_ = open_strips(copy, tables, ERODED, seed=0).strips
    assert {view.words for row in blind.rows for view in row.cells[0].views} == {"picture not at hand"}


# --------------------------------------------------------------------------- cutting


def test_a_place_in_the_picture_is_the_same_place_in_the_crop() -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[118:123, 248:253] = 255
    window = window_around(240.0, 110.0, 90.0, picture)
    crop = np.asarray(Image.open(io.BytesIO(cut(picture, window, 128).jpeg)).convert("L"), np.float64)
    rows, columns = np.indices(crop.shape)
    x, y = (100 * float(((at + 0.5) * crop).sum() / crop.sum()) / crop.shape[0] for at in (columns, rows))
    assert window.place(250.0, 120.0) == pytest.approx((x, y), abs=0.5)
    assert window.length(9.0) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("x", "y", "side"), [(0, 0, 50), (399, 299, 50), (200, 150, 900), (1e9, -1e9, 1e12), (5, 5, 0)]
)
def test_a_window_stays_in_the_picture_as_far_as_it_fits(x: float, y: float, side: float) -> None:
    picture = np.full((300, 400, 3), 9, np.uint8)
    window = window_around(x, y, side, picture)
    assert 2 <= window.side <= 400
    assert 0 <= window.x0 <= 400 - window.side
    if window.side <= 300:
        assert 0 <= window.y0 <= 300 - window.side
    crop = cut(picture, window, 64)
    assert crop.side_px == min(64, window.side)
    assert crop.uri.startswith("data:image/jpeg;base64,")


# --------------------------------------------------------------------------- which digit has fused


@pytest.mark.parametrize(
    ("pairs", "n_digits", "expected"),
    [
        ("", 5, {}),
        ("index-middle", 4, {1: ("index", "middle")}),
        ("ring-little", 4, {3: ("ring", "little")}),
        ("ring-little", 2, {1: ("ring", "little")}),
        ("thumb-index", 3, {0: ("thumb", "index")}),
        ("index-middle", 3, {}),  # thumb or not: the first or the second digit
        ("index-middle", 1, {0: ("index", "middle")}),
        ("index-middle,middle-ring,ring-little", 2, {1: ("index", "middle", "ring", "little")}),
        ("index-middle,ring-little", 3, {1: ("index", "middle"), 2: ("ring", "little")}),
        ("index-middle", 6, {}),  # more than there can be
        ("index-tail", 4, {}),
        ("index", 4, {}),
    ],
)
def test_a_fused_digit_is_told_only_where_no_other_order_fits(
    pairs: str, n_digits: int, expected: dict[int, tuple[str, ...]]
) -> None:
    assert fused_digits(pairs, n_digits) == expected
    assert all(set(names) <= set(FINGERS) for names in expected.values())
