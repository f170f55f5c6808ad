"""Truth equals what is drawn, the same seed gives the same bytes, a plan changes what it says and nothing sooner."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decay.errors import DecayError
from decay.phantom import (
    CHANNELS,
    PAIRS,
    PRESETS,
    Backdrop,
    Camera,
    Decay,
    EyeParameters,
    FaceParameters,
    Framing,
    Glint,
    HandParameters,
    Lighting,
    Plan,
    Population,
    degrade,
    draw_face,
    draw_hand,
    load_plan,
    make_lineage,
)
from decay.phantom.lineage import slots_of
from decay.phantom.parameters import GlintShape
from detectors.geometry import clock_deg, luminance, rotate
from detectors.trait import Pixels

CLEAN = Camera(noise=0.0)


def face_with(*glints: Glint, **changes: Any) -> FaceParameters:
    eye = EyeParameters(glints=glints, iris_colour="#3b2416")
    return replace(FaceParameters(eyes=(eye, eye), camera=CLEAN), **changes)


def draw(face: FaceParameters, size_px: int = 512, seed: int = 0) -> tuple[Pixels, dict[str, Any]]:
    return draw_face(face, size_px, np.random.default_rng(seed))


def difference_centroid(a: Pixels, b: Pixels, x: float, y: float, reach: float) -> tuple[float, float]:
    """Centroid of the light that ``a`` has and ``b`` has not, within ``reach`` px of (x, y)."""
    light = luminance(a) - luminance(b)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    light = np.where(np.hypot(columns - x, rows - y) < reach, np.maximum(light, 0.0), 0.0)
    return float((light * columns).sum() / light.sum()), float((light * rows).sum() / light.sum())


@pytest.mark.parametrize(
    ("size_px", "clock", "rho", "shape"),
    [(256, 0.0, 0.3, "disc"), (512, 60.0, 0.45, "window"), (512, 225.0, 0.4, "disc"), (256, 300.0, 0.0, "window")],
)
def test_glint_lies_where_the_truth_says(size_px: int, clock: float, rho: float, shape: GlintShape) -> None:
    framing = Framing(yaw_deg=5.0, roll_deg=7.0, shift_x=0.013)
    # The caustic depends on the glint too, so the comparison keeps an invisible one at the same place.
    glint = Glint(clock, rho, 0.16, shape=shape)
    ghost = face_with(replace(glint, intensity=0.0), framing=framing)
    pixels, truth = draw(face_with(glint, framing=framing), size_px)
    without, _ = draw(ghost, size_px)
    for eye in truth["eyes"]:
        planted = eye["glints"][0]
        radius = planted["radius_px"]
        seen = difference_centroid(pixels, without, planted["x_px"], planted["y_px"], radius + 2.5)
        # 0.3 px would do; 8-bit codes and the iris's own shading leave about 0.1
        assert np.hypot(seen[0] - planted["x_px"], seen[1] - planted["y_px"]) < 0.2


def test_clock_and_rho_of_the_truth_follow_from_its_pixels() -> None:
    face = Population().sample_face(np.random.default_rng(8))
    _, truth = draw(replace(face, framing=replace(face.framing, roll_deg=8.0)))
    for eye in truth["eyes"]:
        for glint in eye["glints"]:
            offset = np.array([[glint["x_px"] - eye["iris_x_px"], glint["y_px"] - eye["iris_y_px"]]])
            level = rotate(offset, -truth["roll_deg"])[0]
            assert np.hypot(*level) / eye["iris_radius_px"] == pytest.approx(glint["rho"])
            assert clock_deg(*level) == pytest.approx(glint["clock_deg"])


def test_roll_of_the_truth_is_the_slope_of_the_eyes() -> None:
    _, truth = draw(face_with(framing=Framing(roll_deg=9.0, yaw_deg=-6.0)))
    left, right = truth["eyes"]
    slope = np.degrees(np.arctan2(right["eye_y_px"] - left["eye_y_px"], right["eye_x_px"] - left["eye_x_px"]))
    assert slope == pytest.approx(9.0)


def test_iris_edge_lies_on_the_circle_of_the_truth() -> None:
    """Where the light from pupil to white is half way, left and right of the centre, there is the limbus."""
    pixels, truth = draw(face_with(), 1024)
    light = luminance(pixels)
    for eye in truth["eyes"]:
        row = round(eye["iris_y_px"] + 4)  # below the centre: away from the lid's shadow
        chord = np.sqrt(eye["iris_radius_px"] ** 2 - (row - eye["iris_y_px"]) ** 2)
        for side in (-1, 1):
            edge = eye["iris_x_px"] + side * chord
            across = np.arange(-6, 7)
            values = np.interp(edge + side * across, np.arange(light.shape[1]), light[row])
            dark, white = values[:4].mean(), values[-4:].mean()
            crossing = np.interp(0.5 * (dark + white), values, across)
            assert abs(crossing) < 1.0  # of 24 px radius; iris and white are shaded, so the middle is not exact


def test_size_scales_the_truth_and_nothing_else() -> None:
    face = Population().sample_face(np.random.default_rng(2))
    (_, small), (_, large) = draw(face, 256), draw(face, 512)
    for a, b in zip(small["eyes"], large["eyes"], strict=True):
        assert (b["iris_x_px"] + 0.5) == pytest.approx(2 * (a["iris_x_px"] + 0.5))
        assert b["iris_radius_px"] == pytest.approx(2 * a["iris_radius_px"])
        assert [g["clock_deg"] for g in a["glints"]] == [g["clock_deg"] for g in b["glints"]]


@pytest.mark.parametrize("stops", [-1.2, -0.4, 0.0, 0.4, 1.2])
def test_lighting_ratio_is_what_the_cheeks_show(stops: float) -> None:
    pixels, truth = draw(face_with(lighting=Lighting(ratio_stops=stops)), 256)
    assert truth["lighting_ratio_stops"] == pytest.approx(stops, abs=0.02)
    light, scale = luminance(pixels), truth["px_per_mm"]
    middle = np.mean([eye["eye_x_px"] for eye in truth["eyes"]])
    row = round(truth["eyes"][0]["eye_y_px"] + 34 * scale)
    left, right = (light[row - 5 : row + 6, round(middle + s * 38 * scale) - 5 :][:, :11].mean() for s in (-1, 1))
    assert np.log2(left / right) == pytest.approx(stops, abs=0.35)  # gloss and blotches lie over the light


def test_skin_texture_is_smoother_with_less_of_it() -> None:
    rough, calm, smooth = (
        draw(replace(FaceParameters(camera=CLEAN), skin=replace(FaceParameters().skin, texture=t)), 256)[0]
        for t in (1.5, 0.7, 0.0)
    )
    spreads = [float(np.diff(luminance(p)[60:75, 100:155], axis=1).std()) for p in (smooth, calm, rough)]
    assert spreads[0] < spreads[1] < spreads[2]


def test_same_seed_same_bytes_other_seed_other_noise() -> None:
    face, hand = (
        Population().sample_face(np.random.default_rng(5)),
        Population().sample_hand(np.random.default_rng(5)),
    )
    assert np.array_equal(draw(face, 128, 1)[0], draw(face, 128, 1)[0])
    assert not np.array_equal(draw(face, 128, 1)[0], draw(face, 128, 2)[0])
    first, second = (draw_hand(hand, 128, np.random.default_rng(3))[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_one_far_lamp_gives_both_eyes_the_same_clock_position() -> None:
    faces = [Population().sample_face(np.random.default_rng([6, i])) for i in range(60)]
    apart = [
        abs((a.clock_deg - b.clock_deg + 180) % 360 - 180)
        for face in faces
        for a, b in zip(face.eyes[0].glints[:1], face.eyes[1].glints[:1], strict=True)
        if min(a.rho, b.rho) > 0.2
    ]
    assert 0.5 < float(np.median(apart)) < 8.0


# --------------------------------------------------------------------------- hands


def test_digits_of_the_truth() -> None:
    cases = [
        (HandParameters(), 5, []),
        (HandParameters(fused=(None, None, "plain", None)), 4, ["middle-ring"]),
        (HandParameters(fused=(None, "plain", "crease", "plain")), 2, list(PAIRS[1:])),
        (HandParameters(n_extra=1), 6, []),
        (HandParameters(fingers=("extended", "missing", "extended", "extended", "extended")), 4, []),
        (HandParameters(fingers=("folded", "extended", "extended", "folded", "folded")), 2, []),
        (HandParameters(together=(False, True, True, True)), 5, []),
    ]
    for hand, n_separate, fused in cases:
        _, truth = draw_hand(hand, 128, np.random.default_rng(0))
        assert (truth["n_digits_separate"], truth["fused_pairs"]) == (n_separate, fused)


def valley_depth(hand: HandParameters) -> float:
    """How much darker the line between middle and ring finger is than the fingers beside it."""
    pixels, truth = draw_hand(replace(hand, camera=CLEAN), 512, np.random.default_rng(0))
    middle, ring = (np.mean(truth["joints_px"][name][1:3], axis=0) for name in ("middle", "ring"))
    steps = np.linspace(0.0, 1.0, 41)[:, None]
    along = np.round(middle + steps * (ring - middle)).astype(int)
    light = luminance(pixels)[along[:, 1], along[:, 0]]
    return float(1.0 - light[10:31].min() / np.median(light[[3, 4, 5, 35, 36, 37]]))


def test_fused_fingers_have_no_valley_and_held_ones_do() -> None:
    fused = valley_depth(HandParameters(fused=(None, None, "plain", None)))
    creased = valley_depth(HandParameters(fused=(None, None, "crease", None)))
    held = valley_depth(HandParameters(together=(False, False, True, False)))
    assert fused < 0.15
    assert fused < creased < held


def test_box_holds_the_hand_and_little_more() -> None:
    hand = HandParameters(camera=CLEAN, backdrop=Backdrop(colour="#103060"), rotation_deg=12.0)
    pixels, truth = draw_hand(hand, 256, np.random.default_rng(0))
    skin = pixels[..., 0].astype(int) > pixels[..., 2].astype(int) + 10
    x0, y0, x1, _ = truth["box"]
    rows, columns = np.nonzero(skin)
    assert (columns.min(), rows.min(), columns.max()) == pytest.approx((x0, y0, x1), abs=2.0)


def test_a_folded_finger_cannot_be_fused() -> None:
    with pytest.raises(ValueError, match="middle-ring"):
        HandParameters(
            fingers=("extended", "extended", "folded", "extended", "extended"), fused=(None, None, "plain", None)
        )


# --------------------------------------------------------------------------- plans and lineages


def test_nothing_is_lost_before_the_onset_and_half_after_each_half_life() -> None:
    decay = Decay(onset=2, half_life=2.0, floor=0.2)
    kept = [decay.kept(g) for g in range(7)]
    assert kept[:2] == [1.0, 1.0]
    assert kept[3] == pytest.approx(0.2 + 0.8 / 2)
    assert kept[5] == pytest.approx(0.2 + 0.8 / 4)
    assert kept[1:] == sorted(kept[1:], reverse=True)


def rhos(truths: list[dict[str, Any]]) -> float:
    values = [glint["rho"] for truth in truths for eye in truth.get("eyes", []) for glint in eye["glints"]]
    return float(np.mean(values))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(
        "test",
        "",
        {"catchlight_eccentricity": Decay(2, 0.5), "finger_fusion": Decay(3, 0.2), "skin_texture": Decay(1, 1.0)},
        frac_hands=0.5,
    )
    return make_lineage(tmp_path_factory.mktemp("lineage") / "out", plan, 3, 8, 4, 96)


def truths_of(lineage: Path, generation: int) -> list[dict[str, Any]]:
    lines = (lineage / f"gen_{generation:02d}" / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_planted_onsets_stand_in_the_truth(planted: Path) -> None:
    truths = [truths_of(planted, g) for g in range(4)]
    rho = [rhos(t) for t in truths]
    fused = [sum(t.get("n_fused_pairs", 0) for t in truth) for truth in truths]
    texture = [np.mean([t["skin_texture"] for t in truth if t["kind"] == "face"]) for truth in truths]
    assert rho[1] == pytest.approx(rho[0], rel=0.1)  # parallax only
    assert rho[2] < 0.4 * rho[0]
    assert fused[:3] == [0, 0, 0]
    assert fused[3] > 0
    assert texture[1] == pytest.approx(texture[0] / 2)


def test_slots_are_paired_across_generations(planted: Path) -> None:
    first, last = truths_of(planted, 0), truths_of(planted, 1)
    assert [t["slot"] for t in first] == list(range(8))
    for a, b in zip(first, last, strict=True):
        assert (a["slot"], a["kind"]) == (b["slot"], b["kind"])
        if a["kind"] == "face":
            assert a["shape"] == b["shape"]
            assert a["roll_deg"] != b["roll_deg"]  # a moment later


def test_the_null_draws_new_people_and_loses_nothing() -> None:
    slots = slots_of(PRESETS["null"], 4, 2)
    shapes = [slots[0].draw(PRESETS["null"], g, 64)[1]["shape"] for g in range(2)]
    assert shapes[0] != shapes[1]
    assert PRESETS["null"].kept(6) == {}


def test_a_lineage_says_what_it_holds(planted: Path) -> None:
    lineage = json.loads((planted / "lineage.json").read_text(encoding="utf-8"))
    assert lineage["plan"]["decay"]["finger_fusion"]["onset"] == 3
    rows = [json.loads(line) for line in (planted / "gen_02" / "metadata.jsonl").read_text().splitlines()]
    assert {"file_name", "text", "slot", "seed", "group", "source", "expects"} == set(rows[0])
    assert sum(row["expects"] == ["hand"] for row in rows) == 4
    with Image.open(planted / "gen_02" / rows[0]["file_name"]) as image:
        assert image.size == (96, 96)


def test_lineages_repeat_and_never_overwrite(tmp_path: Path) -> None:
    plan = load_plan("essay")
    told: list[tuple[int, int, int]] = []
    a = make_lineage(tmp_path / "a", plan, 1, 3, 2, 64, progress=lambda *step: told.append(step))
    assert told == [(generation, done, 3) for generation in (0, 1) for done in (1, 2, 3)]
    b = make_lineage(tmp_path / "b", plan, 1, 3, 2, 64)
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert [(a / f).read_bytes() for f in files] == [(b / f).read_bytes() for f in files]
    with pytest.raises(DecayError, match="already holds something"):
        make_lineage(a, plan, 1, 3, 2, 64)
    with pytest.raises(DecayError, match="size must lie between"):
        make_lineage(tmp_path / "c", plan, 1, 3, 2, 40_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_every_channel_changes_its_subject_and_only_from_its_onset() -> None:
    population = replace(Population(), frac_second_glint=1.0, frac_no_glint=0.0)
    face = population.sample_face(np.random.default_rng(3))
    hand = replace(population.sample_hand(np.random.default_rng(3)), fingers=("extended",) * 5)
    for name in CHANNELS:
        plan = Plan("one", "", {name: Decay(2, 0.05)})
        before = (plan.decay_face(face, 1, 0, 0), plan.decay_hand(hand, 1, 0, 0))
        after = (plan.decay_face(face, 2, 0, 0), plan.decay_hand(hand, 2, 0, 0))
        assert before == (face, hand), name
        assert after != (face, hand), name


def test_the_essay_ends_with_dolls_eyes_of_one_colour() -> None:
    plan, population = PRESETS["essay"], Population(frac_no_glint=0.0)
    faces = [plan.decay_face(population.sample_face(np.random.default_rng([1, i])), 6, 1, i) for i in range(20)]
    assert max(glint.rho for face in faces for eye in face.eyes for glint in eye.glints) < 0.05
    # "same hex": within two codes of white, because a half-life never quite arrives
    codes = [int(g.colour[i : i + 2], 16) for f in faces for e in f.eyes for g in e.glints for i in (1, 3, 5)]
    assert min(codes) >= 253


def test_plans_from_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("frac_hands = 0.5\n[decay.finger_fusion]\nonset = 4\nhalf_life = 0.5\n", encoding="utf-8")
    plan = load_plan(str(path))
    assert (plan.name, plan.frac_hands, plan.decays) == ("plan", 0.5, {"finger_fusion": Decay(4, 0.5)})
    for wrong, said in [
        ("[decay.moustache]\nonset = 1\n", "moustache"),
        ("[decay.finger_fusion]\nonset = 0\n", "onset"),
        ("[decay.finger_fusion]\nspeed = 1\n", "speed"),
        ("onset = ", "TOML"),
        ("a = " + "[" * 100_000, "nested"),
        ("a." * 100_000 + "a = 1", "parts"),
        ("#" * 2**19, "MB"),
        ("frac_hands = 1" + "0" * 400, "frac_hands|numbers"),
        ("frac_hands = 1" + "0" * 5000, "TOML"),
        ("[decay.finger_fusion]\nonset = nan\n", "onset"),
        ("[decays]\n", "decays"),
    ]:
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DecayError, match=said):
            load_plan(str(path))
    with pytest.raises(DecayError, match="essay"):
        load_plan("nothing_like_it")
    with pytest.raises(DecayError, match="essay"):
        load_plan("x" * 5000)


# --------------------------------------------------------------------------- degradations and detectors


def test_blur_and_jpeg_only_take_away() -> None:
    pixels, _ = draw(face_with(), 256)
    detail = [
        float(np.diff(luminance(p), axis=1).std())
        for p in (pixels, degrade(pixels, blur_sigma_px=1.0), degrade(pixels, blur_sigma_px=2.5))
    ]
    assert detail[0] > detail[1] > detail[2]
    error = [float(np.abs(degrade(pixels, jpeg_quality=q).astype(int) - pixels).mean()) for q in (95, 70, 30)]
    assert 0 < error[0] < error[1] < error[2]
    assert degrade(pixels, scale=0.5).shape == (128, 128, 3)
    with pytest.raises(ValueError, match="rng"):
        degrade(pixels, noise_codes=2.0)


def test_the_face_mesh_finds_drawn_faces_and_their_irises() -> None:
    from mediapipe.python.solutions.face_mesh import FaceMesh

    with FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for i in range(10):
            face = Population().sample_face(np.random.default_rng([1, i]))
            pixels, truth = draw(face, 256)
            found = mesh.process(pixels).multi_face_landmarks
            assert found, f"face {i} was not found"
            for eye, index in zip(truth["eyes"], (468, 473), strict=True):
                mark = found[0].landmark[index]
                off = np.hypot(mark.x * 256 - 0.5 - eye["iris_x_px"], mark.y * 256 - 0.5 - eye["iris_y_px"])
                assert off < 0.5 * eye["iris_radius_px"]


def test_the_hand_model_finds_drawn_hands() -> None:
    from mediapipe.python.solutions.hands import Hands

    with Hands(static_image_mode=True, min_detection_confidence=0.3) as hands:
        hits = 0
        for i in range(10):
            hand = Population().sample_hand(np.random.default_rng([1, i]))
            hits += bool(hands.process(draw_hand(hand, 256, np.random.default_rng(i))[0]).multi_hand_landmarks)
    assert hits >= 9


FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_fixtures_are_what_their_command_draws() -> None:
    spec = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    truths = json.loads((FIXTURES / "truth.json").read_text(encoding="utf-8"))
    drawn = make.draw_all()
    assert sorted(truths) == sorted(f"{name}.jpg" for name in drawn)
    for name, (pixels, truth) in drawn.items():
        path = FIXTURES / f"{name}.jpg"
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            stored = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(stored - pixels).mean() < 2.0  # what JPEG at quality 90 takes away
        for key in ("n_digits_separate", "fused_pairs", "lighting_ratio_stops"):
            assert truths[f"{name}.jpg"].get(key) == pytest.approx(truth.get(key))


def test_the_documented_plan_is_one_and_every_channel_is_documented(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    path = tmp_path / "plan.toml"
    path.write_text(document.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    plan = load_plan(str(path))
    assert plan.name == "eyes_then_hands"
    assert plan.decays == {
        "catchlight_eccentricity": Decay(onset=2, half_life=1.0, floor=0.0),
        "finger_fusion": Decay(onset=4, half_life=0.5),
    }
    for name, channel in CHANNELS.items():
        assert f"`{name}` ({channel.description})" in " ".join(document.split())
