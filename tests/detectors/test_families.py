"""The shared contract: every family that the scan finds keeps what detectors/trait.py promises."""

from __future__ import annotations

import ast
import inspect
import math
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from detectors import reader, registry
from detectors.trait import (
    OK,
    Box,
    Circle,
    Comparison,
    Eye,
    Face,
    Family,
    Hand,
    Measurement,
    Reading,
    Sample,
    Trait,
    Value,
    View,
)

FAMILIES = registry.families()
MODULES = [sys.modules[family.measure.__module__] for family in FAMILIES]
TRAITS = registry.traits()


def grid_face(size: float, corner: float = 60.0) -> Face:
    """A face whose landmarks lie on a smooth grid: enough for every family to answer in some declared state."""
    side = np.linspace(0, size, 22)
    x, y = np.meshgrid(side, side)
    landmarks = np.zeros((478, 3))
    landmarks[:, 0] = corner + x.ravel()[:478]
    landmarks[:, 1] = corner + y.ravel()[:478]
    turns = np.linspace(0, 2 * math.pi, 16, endpoint=False)
    eyes = []
    for place, side_name in ((0.3, "image_left"), (0.7, "image_right")):
        centre = np.array([corner + place * size, corner + 0.4 * size])
        lid = centre + np.stack([0.12 * size * np.cos(turns), 0.05 * size * np.sin(turns)], axis=1)
        ring = centre + 0.05 * size * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
        circle = Circle(float(centre[0]), float(centre[1]), 0.05 * size)
        eyes.append(Eye(side_name, lid, ring, circle, OK))  # type: ignore[arg-type]
    embedding = np.ones(8, np.float32) / math.sqrt(8)
    box = Box(corner, corner, corner + size, corner + size)
    return Face(box, landmarks, 0.0, 0.0, 0.0, 0.9, (eyes[0], eyes[1]), embedding, "test")


def hand(size: float) -> Hand:
    landmarks = np.zeros((21, 3))
    landmarks[:, 0] = 100 + np.tile(np.linspace(0, size, 7), 3)
    landmarks[:, 1] = 100 + np.repeat(np.linspace(0, size, 3), 7)
    return Hand(Box(100, 100, 100 + size, 100 + size), landmarks, None, 0.9, "left")


@pytest.mark.parametrize("kind", ["noise", "black", "white"])
@pytest.mark.parametrize("size", [6.0, 200.0])
def test_every_family_answers_any_picture_in_a_declared_state(kind: str, size: float) -> None:
    pixels = {
        "noise": np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8),
        "black": np.zeros((320, 320, 3), np.uint8),
        "white": np.full((320, 320, 3), 255, np.uint8),
    }[kind]
    view = View(pixels, (grid_face(size),), (hand(size),))
    readings = reader.view_to_readings(view, FAMILIES)  # raises where a family breaks its declaration
    assert len(readings.faces) == 1
    assert len(readings.eyes) == 2
    assert len(readings.hands) == 1


def test_subjects_that_leave_the_image_are_answered_too() -> None:
    pixels = np.full((90, 90, 3), 90, np.uint8)
    readings = reader.view_to_readings(View(pixels, (grid_face(200.0),), (hand(200.0),)), FAMILIES)
    assert len(readings.eyes) == 2


def test_a_face_that_is_not_readable_is_not_measured() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8)
    face = grid_face(200.0)
    ruined = Face(**{**vars(face), "state": "unreadable"})
    readings = reader.view_to_readings(View(pixels, (ruined,)), FAMILIES)
    for family in FAMILIES:
        if family.subject == "face" and family.readings_of("face"):
            assert readings.faces[0][family.state_column] != OK, family.name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_family_imports_the_words_and_the_geometry_only(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    own = {name for name in imported if name and name.split(".")[0] in ("detectors", "decay", "reports")}
    # Counting digits takes several cues, and distances of vectors much arithmetic: they have rooms of their own.
    digits = {name for name in own if name.startswith("detectors.digits")}
    distances = {name for name in own if name.startswith("detectors.distances.")}
    assert own - digits - distances <= {"detectors.trait", "detectors.geometry"}
    assert not digits or module.__name__ == "detectors.fingers"


@pytest.mark.parametrize("trait", TRAITS, ids=lambda trait: trait.name)
def test_a_trait_says_all_that_a_reader_needs(trait: Trait) -> None:
    assert trait.label
    assert len(trait.source) > 5
    is_comparison = isinstance(trait.statistic, Comparison)
    assert is_comparison or trait.kind == "location" or math.isfinite(trait.floor)
    assert not is_comparison or math.isnan(trait.floor)  # it follows from the reference
    assert trait.floor_in_words
    assert trait.bounds[0] < trait.bounds[1]
    states = family_of(trait).states
    assert set(trait.measured_states) <= set(states)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_states_and_readings_of_a_family_are_explained(family: Family) -> None:
    assert all(meaning for meaning in family.states.values())
    assert all(reading.label for reading in family.readings)


@pytest.mark.parametrize("trait", [t for t in TRAITS if t.kind == "level"], ids=lambda trait: trait.name)
def test_a_statistic_survives_small_and_constant_samples(trait: Trait) -> None:
    """A collapsed generation, every subject alike, gives a number or NaN, never an exception or infinity."""
    family = family_of(trait)
    kinds = {reading.name: reading for reading in (*family.readings, *family.borrowed)}
    for n in (trait.n_min, 30):
        sample = Sample({name: column(kinds.get(name), n) for name in trait.readings}, np.full(n, "g", dtype=object))
        value = trait.statistic(sample, sample)
        assert not math.isinf(value)
        low, high = trait.bounds
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9


def column(reading: Reading | None, n: int) -> np.ndarray:
    if reading is None:
        return np.full(n, OK, dtype=object)
    if reading.kind == "word":
        return np.full(n, "word", dtype=object)
    if reading.kind == "vector":
        return np.tile(np.array([1.0, 0, 0, 0], np.float32), (n, 1))
    inside = min(max(0.5, reading.low), reading.high)
    return np.full(n, inside)


def family_of(trait: Trait) -> Family:
    return next(family for family in FAMILIES if trait in family.traits)


def toy_family(values: dict[str, Value], state: str = OK) -> Family:
    def measure(view: View, subject: Face | Hand | None) -> Measurement:
        return Measurement(state, values)

    return Family(
        name="image_toy",
        group="image",
        subject="image",
        readings=(Reading("image_toy", "image", "Toy", "", low=0, high=1),),
        states={OK: "measured"},
        measure=measure,
        traits=(),
    )


BLANK = View(np.zeros((8, 8, 3), np.uint8))


def test_a_reading_outside_its_declared_range_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        reader.view_to_readings(BLANK, [toy_family({"image_toy": 1.5})])


def test_an_undeclared_state_or_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="undeclared state"):
        reader.view_to_readings(BLANK, [toy_family({}, "odd")])
    with pytest.raises(ValueError, match="declared"):
        reader.view_to_readings(BLANK, [toy_family({"image_other": 0.5})])


def test_no_value_is_kept_in_a_state_that_is_not_ok() -> None:
    with pytest.raises(ValueError, match="carries no values"):
        Measurement("pose", {"image_toy": 0.5})


def test_a_name_declared_twice_is_fatal() -> None:
    toy = toy_family({})
    with pytest.raises(ValueError, match="declared twice"):
        registry.check_unique([toy, toy])


def test_families_load_nothing_slow() -> None:
    script = "import sys; from detectors.registry import families; families(); print(sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"scipy.signal", "scipy.stats", "scipy.optimize"} & set(ast.literal_eval(ended.stdout))
