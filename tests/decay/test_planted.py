"""The study of planted lineages: what counts as right, and where its section goes. (That a planted decay is found at
all is tested in test_measure.py.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from decay.calibrate import planted
from decay.calibrate.planted import TITLE, Answer, Planted, section_in, tell_planted, with_section, write_planted
from decay.phantom import CHANNELS
from decay.settings import MeasureSettings

GLINTS = Planted("catchlight_eccentricity", "eyes", ("catchlight_",), "")


def answer(case: Planted, group: str, *leaders: str) -> Answer:
    return Answer(case, group, leaders, (("iris_toy", "eyes", 1.0),), "A sentence.")


def test_right_wrong_and_cannot_tell() -> None:
    nothing = Planted("", None, (), "")
    assert answer(GLINTS, "eyes", "catchlight_rho").finding == "right"
    assert answer(GLINTS, "face", "face_toy").finding == "wrong"
    assert answer(GLINTS, "").finding == "cannot tell"
    assert answer(nothing, "").finding == "right (nothing)"
    assert answer(nothing, "eyes", "iris_toy").finding == "wrong"
    assert answer(GLINTS, "eyes", "catchlight_rho", "catchlight_toy").trait_finding == "right"
    assert answer(GLINTS, "eyes", "iris_toy", "catchlight_rho").trait_finding == "1 of 2"
    assert answer(GLINTS, "eyes").trait_finding == "cannot tell"
    assert not answer(GLINTS, "eyes").order_is_right  # the toy that eroded is no catchlight


def test_every_lineage_plants_channels_that_exist_and_the_first_before_the_second() -> None:
    for case in planted.PLANTED:
        assert {case.first, case.second} - {""} <= set(CHANNELS)
        onsets = {name: decay.onset for name, decay in case.plan.decays.items()}
        assert onsets.get(case.first, 1) < onsets.get(case.second, 3)


def test_the_section_replaces_an_earlier_one_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accuracy_statistics.md"
    path.write_text(with_section("# Report\n\nold text\n", f"{TITLE}\n\nold section\n"), encoding="utf-8")
    monkeypatch.setattr(planted, "tell_planted", lambda *_: [answer(GLINTS, "eyes", "catchlight_rho")])
    assert write_planted(tmp_path / "accuracy.md") == path
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Report\n\nold text\n\n" + TITLE)
    assert "old section" not in text
    assert "right family in 1, a wrong one in 0, and could not tell in 0." in text
    assert "possible leaders read the planted channel in 1." in text
    assert "named or not, reads it in 0." in text
    assert section_in(path) == text.removeprefix("# Report\n\nold text\n\n")
    assert section_in(tmp_path / "none.md") == ""


def test_of_two_slots_read_for_real_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "N_GENERATIONS", 2)
    monkeypatch.setattr(planted, "SIZE_PX", 128)
    monkeypatch.setattr(planted, "SETTINGS", MeasureSettings(n_resamples=20))
    seen: list[tuple[int, int, int]] = []
    (told,) = tell_planted([GLINTS], 2, 1, tmp_path, lambda *step: seen.append(step))
    assert told.finding == "cannot tell"
    assert told.eroded == ()
    assert told.sentence.startswith("Cannot tell what erodes")
    assert seen[-1] == (0, 4, 4)
