"""The maps: closed forms of what is drawn, the same bytes from the same tables, and a picture whatever is missing."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.charts import DATA
from reports.maps import (
    BANDWIDTH,
    FEWEST_FACES,
    FEWEST_FOR_DENSITY,
    FEWEST_HANDS,
    MAX_DOTS,
    MAX_PANELS,
    MOST_DIGITS,
    MapsSection,
    _spread,
    catchlight_map,
    density,
    digit_shares,
    embedding_map,
    finger_map,
    half_within,
    maps_section,
    principal_plane,
)
from reports.page import environment

REFERENCE = -1
EMBEDDER = "descriptor <b>not identity</b>"


def tables(generations: list[int], n: int = 24, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Glints that draw together, faces that do, and hands that lose digits, generation by generation."""
    rng = np.random.default_rng(seed)
    images, eyes, hands, faces = [], [], [], []
    for at, g in enumerate(generations):
        names = [f"gen_{g}/{i}.png" for i in range(n)]
        images.append(pd.DataFrame({"generation": g, "image": names}))
        u, v = 0.5 / (at + 1) * rng.standard_normal((2, n))
        eyes.append(pd.DataFrame({"generation": g, "catchlight_state": "ok", "catchlight_u": u, "catchlight_v": v}))
        n_digits = float(max(5 - at, 0))
        hands.append(
            pd.DataFrame(
                {"generation": [g] * n, "finger_state": "ok", "finger_count": n_digits, "finger_fused_pairs": float(at)}
            )
        )
        vectors = (1.0 / (at + 1)) * rng.standard_normal((n, 6)) * [4.0, 2.0, 1.0, 0.1, 0.1, 0.1]
        faces.append(
            pd.DataFrame({"generation": g, "embedder": EMBEDDER, "embedding": list(vectors.astype(np.float32))})
        )
    found = {"images": images, "eyes": eyes, "hands": hands, "embeddings": faces}
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


@pytest.fixture(scope="module")
def section() -> MapsSection:
    return maps_section(**tables([REFERENCE, 0, 1, 2]))


def test_there_is_a_panel_and_a_row_for_each_generation(section: MapsSection) -> None:
    assert [made.name for made in section.maps] == ["map-catchlights", "map-faces", "map-fingers"]
    for made in section.maps:
        assert made.table["generation"].tolist() == [REFERENCE, 0, 1, 2]
        for name in ("the reference", "generation 0", "generation 2"):
            assert name in made.files.svg
            assert name in made.alternative
        assert made.files.csv == made.table.to_csv(index=False)
        assert Image.open(io.BytesIO(made.files.png)).width > 1000
    assert not section.notes


def test_the_tables_say_what_draws_together(section: MapsSection) -> None:
    glints, faces, fingers = (made.table for made in section.maps)
    assert (np.diff(glints["half_within"]) < 0).all()
    assert faces["spread"].iloc[0] == pytest.approx(1.0)
    assert (np.diff(faces["spread"]) < 0).all()
    assert fingers["digits_5"].tolist() == [24, 0, 0, 0]
    assert fingers["digits_3"].tolist() == [0, 0, 24, 0]
    assert fingers["n_fused"].tolist() == [0, 24, 24, 24]
    assert "digits_6_or_more" in fingers


def test_the_same_tables_give_the_same_bytes(section: MapsSection) -> None:
    again = maps_section(**tables([REFERENCE, 0, 1, 2]))
    assert [made.files for made in again.maps] == [made.files for made in section.maps]


def test_a_long_run_keeps_its_first_and_last_generation() -> None:
    given = tables([REFERENCE, *range(40)], n=4)
    nothing = {name: given[name].iloc[:0] for name in ("eyes", "embeddings")}
    (made,) = maps_section(images=given["images"], hands=given["hands"], **nothing).maps
    numbers = made.table["generation"].tolist()
    assert (len(numbers), numbers[:2], numbers[-1]) == (MAX_PANELS, [REFERENCE, 0], 39)


@pytest.mark.parametrize("missing", ["eyes", "hands", "embeddings"])
def test_what_was_never_read_has_a_sentence_in_place_of_a_map(missing: str) -> None:
    given = tables([0, 1])
    given[missing] = given[missing].iloc[:0]
    found = maps_section(**given)
    assert len(found.maps) == 2
    assert len(found.notes) == 1
    assert found.notes[0].startswith("No map of ")


def test_a_generation_that_lost_everything_has_an_empty_panel() -> None:
    given = {name: table[table["generation"] < 1] for name, table in tables([0, 1]).items() if name != "images"}
    found = maps_section(images=tables([0, 1])["images"], **given)
    for made, nothing in zip(found.maps, ("0 glints", "0 faces", "0 hands"), strict=True):
        assert f"generation 1: {nothing}" in made.alternative
        assert made.table["generation"].tolist() == [0, 1]


def test_glints_all_in_one_place_and_equal_faces_can_be_drawn() -> None:
    given = tables([0, 1])
    given["eyes"] = given["eyes"].assign(catchlight_u=0.2, catchlight_v=-0.3)
    given["embeddings"] = given["embeddings"].assign(embedding=[np.ones(6, np.float32)] * len(given["embeddings"]))
    found = maps_section(**given)
    assert len(found.maps) == 3
    assert (found.maps[0].table["half_within"] == 0).all()
    assert found.maps[1].table["spread"].isna().all()


def test_only_faces_described_as_the_references_are_drawn() -> None:
    given = tables([0, 1])["embeddings"]
    other = given["generation"] == 1
    given.loc[other, "embedder"] = "another"
    given.loc[other, "embedding"] = pd.Series([np.ones(3, np.float32)] * int(other.sum()), index=given.index[other])
    made = embedding_map(given, [0, 1])
    assert made is not None
    assert made.table["n_faces"].tolist() == [24, 0]


def test_many_faces_are_a_sample_and_all_are_counted() -> None:
    made = embedding_map(tables([0, 1], n=2 * MAX_DOTS)["embeddings"], [0, 1])
    few = embedding_map(tables([0, 1], n=MAX_DOTS)["embeddings"], [0, 1])
    assert made is not None
    assert few is not None
    assert made.files.svg.count("<use") == few.files.svg.count("<use")
    assert f"{2 * MAX_DOTS} faces" in made.alternative


def test_few_faces_have_no_spread_and_few_of_the_reference_no_map() -> None:
    given = tables([0, 1])["embeddings"]
    few = pd.concat([given[given["generation"] == 0], given[given["generation"] == 1].head(FEWEST_FACES - 1)])
    made = embedding_map(few, [0, 1])
    assert made is not None
    assert made.table["spread"].isna().tolist() == [False, True]
    assert made.alternative.count("spread ") == 1
    assert embedding_map(few, [1, 0]) is None


def test_the_spread_of_few_faces_is_that_of_many() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        vectors = rng.standard_normal((400 + FEWEST_FACES, 4))
        index = np.repeat([0, 1], [400, FEWEST_FACES])
        ratios.append(_spread(vectors[index == 1]) ** 2 / _spread(vectors[index == 0]) ** 2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.045)  # 0.05 too low with n in place of n - 1
    assert _spread(np.array([[0.0], [2.0]] * 10)) == pytest.approx(math.sqrt(20 / 19))


def test_few_hands_have_no_bars_and_the_reference_line_only_where_both_have_enough() -> None:
    def bars(n_reference: int, n: int) -> tuple[int, str]:
        hands = tables([0, 1])["hands"]
        of = {g: hands[hands["generation"] == g] for g in (0, 1)}
        made = finger_map(pd.concat([of[0].head(n_reference), of[1].head(n)]), [0, 1])
        assert made is not None
        return made.files.svg.count(f"fill: {DATA}"), made.rule

    both, rule = bars(FEWEST_HANDS, FEWEST_HANDS)
    assert both == 2 * (MOST_DIGITS + 1)
    assert "The line: generation 0" in rule
    one, rule = bars(FEWEST_HANDS - 1, FEWEST_HANDS)
    assert one == MOST_DIGITS + 1
    assert "The line" not in rule
    assert bars(1, 1)[0] == 0


def test_few_glints_have_no_figure() -> None:
    for n, told in ((FEWEST_FOR_DENSITY - 1, False), (FEWEST_FOR_DENSITY, True)):
        made = catchlight_map(tables([0], n=n)["eyes"], [0])
        assert made is not None
        assert ("half within" in made.alternative) == told
        assert np.isfinite(made.table["half_within"]).tolist() == [told]


def glint_svg(eyes: pd.DataFrame) -> str:
    made = catchlight_map(eyes, [0])
    assert made is not None
    return made.files.svg


def test_few_glints_are_dots_and_no_mountain() -> None:
    few, many = (glint_svg(tables([0], n=n)["eyes"]) for n in (FEWEST_FOR_DENSITY - 1, FEWEST_FOR_DENSITY))
    assert few.count("<use") == FEWEST_FOR_DENSITY - 1
    assert many.count("<use") == 0
    assert "fill-opacity" in many


def test_12_o_clock_is_up_and_3_o_clock_is_right() -> None:
    eyes = tables([0], n=FEWEST_FOR_DENSITY - 1)["eyes"]
    places = []
    for u, v in ((0.0, 0.0), (0.0, -0.8), (0.8, 0.0)):
        svg = glint_svg(eyes.assign(catchlight_u=u, catchlight_v=v))
        uses = [element for element in ET.fromstring(svg).iter() if element.tag.endswith("}use")]
        places.append((float(uses[0].get("x", "nan")), float(uses[0].get("y", "nan"))))
    centre, up, right = places
    assert up[0] == pytest.approx(centre[0], abs=0.02)
    assert up[1] < centre[1] - 5  # svg's y points down
    assert right[1] == pytest.approx(centre[1], abs=0.02)
    assert right[0] > centre[0] + 5


def test_the_page_shows_the_maps_and_keeps_foreign_text_inert(section: MapsSection) -> None:
    page = environment().from_string('{% include "maps.html.j2" %}').render(maps=section)
    assert page.count('role="img"') == 3
    assert "<b>not identity" not in page
    assert "&lt;b&gt;not identity" in page
    assert page.count('download="map-') == 9
    assert not environment().from_string('{% include "maps.html.j2" %}').render(maps=None).strip()


# --------------------------------------------------------------------------- closed forms


def test_the_density_of_one_glint_is_a_gaussian_and_integrates_to_the_discs_area() -> None:
    side = np.linspace(-1.5, 1.5, 301)
    at_place = density(np.array([[0.2, -0.4]]), side, side)
    assert at_place.sum() * (side[1] - side[0]) ** 2 == pytest.approx(math.pi, rel=1e-6)
    row, column = np.unravel_index(int(at_place.argmax()), at_place.shape)
    assert (side[column], side[row]) == pytest.approx((0.2, -0.4), abs=0.006)
    assert at_place.max() == pytest.approx(1 / (2 * BANDWIDTH**2))


def test_glints_spread_evenly_have_density_one_inside() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(-1, 1, (60_000, 2))
    disc = spread[np.hypot(*spread.T) < 1]
    assert density(disc, np.array([0.0]), np.array([0.0]))[0, 0] == pytest.approx(1.0, abs=0.15)


def test_half_of_the_glints_lie_within_their_median_distance() -> None:
    turn = np.radians(np.arange(0, 360, 10))
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    assert half_within(0.4 * ring + [0.1, 0.2]) == pytest.approx(0.4)
    assert half_within(np.zeros((5, 2))) == 0.0
    assert math.isnan(half_within(np.empty((0, 2))))


def test_the_plane_is_that_of_the_largest_variance() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((4000, 4)) * [1.0, 5.0, 0.1, 3.0] + [9.0, 0.0, 0.0, 0.0]
    centre, axes, share = principal_plane(vectors)
    assert centre == pytest.approx(vectors.mean(axis=0))
    assert axes == pytest.approx(np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]), abs=0.1)
    assert share == pytest.approx(34 / 35.01, abs=0.01)


def test_the_shares_of_hands_sum_to_one_and_many_digits_share_a_bar() -> None:
    shares = digit_shares(np.array([5.0, 5.0, 4.0, 9.0, 6.0]))
    assert shares == pytest.approx([0, 0, 0, 0, 0.2, 0.4, 0.4])
    assert len(shares) == MOST_DIGITS + 1
    assert digit_shares(np.empty(0)).sum() == 0
