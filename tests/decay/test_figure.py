"""Who draws which point: every picture once, a run that goes on from another from that one's line on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from decay.arms import load_arms
from decay.cli import app
from decay.errors import DecayError
from decay.figure import FigureRun, check_published, figure_of, figure_table, usual_traits

TRAIT = "image_clip_score"


def table(first: int, values: Sequence[float], trait: str = TRAIT) -> pd.DataFrame:
    return pd.DataFrame(
        {"trait": trait, "label": "score", "unit": "", "direction": "higher", "reference": "real/",
         "reference_value": 35.0, "generation": range(first, first + len(values)), "value": values,
         "ci_low": [v - 1 for v in values], "ci_high": [v + 1 for v in values], "n_measured": 900}
    )  # fmt: skip


def run(
    name: str, values: Sequence[float], pictures: str, inherited: int = -1, parent: str = "", **of: str
) -> FigureRun:
    """``pictures``: a letter for each generation, the same where the pictures are."""
    return FigureRun(
        name=name,
        traits=table(0, values),
        held_out=None,
        pictures=dict(enumerate(pictures)),
        kind=of.get("kind", "mix"),
        synthetic=float(of.get("synthetic", "nan")),
        parent=parent,
        inherited=inherited,
        first_trait=of.get("first_trait", ""),
    )


def line(found: pd.DataFrame, arm: str) -> list[tuple[int, float, str]]:
    """(generation, value, joins) of one line."""
    own = found[found["arm"] == arm]
    return [(int(g), float(v), str(j)) for g, v, j in zip(own["generation"], own["value"], own["joins"], strict=True)]


SICK = run("mix-25", [35, 30, 20], "abc")


def test_a_healing_run_goes_on_where_its_parents_line_ends() -> None:
    healed = run("heal", [35, 30, 20, 26, 28], "abcde", inherited=2, parent="mix-25", kind="healing")
    for order in ([SICK, healed], [healed, SICK]):
        found = figure_table(order, [TRAIT])
        assert line(found, "mix-25") == [(0, 35, ""), (1, 30, ""), (2, 20, "")]
        assert line(found, "heal") == [(2, 20, "mix-25"), (3, 26, ""), (4, 28, "")]


def test_a_parent_that_is_not_given_is_drawn_once_for_all_its_children() -> None:
    children = [run(name, [35, v], f"a{name}", inherited=0, parent="mix-100") for name, v in (("x", 33.0), ("y", 31.0))]
    found = figure_table(children, [TRAIT])
    assert line(found, "mix-100") == [(0, 35, "")]
    assert list(found.loc[found["arm"] == "mix-100", "kind"]) == ["before"]
    assert line(found, "y") == [(0, 35, "mix-100"), (1, 31, "")]


def test_pictures_that_runs_share_are_one_point() -> None:
    found = figure_table(
        [run("one", [35, 30], "ab"), run("two", [35, 33], "ac"), run("alone", [36, 34], "xy")], [TRAIT]
    )
    assert line(found, "one")[0] == (0, 35, "")
    assert line(found, "two")[0] == (0, 35, "one")
    assert line(found, "alone")[0] == (0, 36, "")


def test_a_generation_that_was_not_measured_is_no_point() -> None:
    found = figure_table([run("one", [35, math.nan, 20], "abc")], [TRAIT])
    assert [g for g, _, _ in line(found, "one")] == [0, 2]


def test_what_the_paper_says_stands_on_its_own_trait_only() -> None:
    both = run("one", [35, 30], "ab")
    both = FigureRun(**{**both.__dict__, "traits": pd.concat([both.traits, table(0, [9, 8], "image_fid")])})
    found = figure_table([both], [TRAIT, "image_fid"], with_published=True)
    said = found[found["kind"] == "published"]
    assert list(said["trait"]) == [TRAIT, TRAIT]
    assert list(said["value"]) == [35.1, 27.3]
    assert said["ci_high"].iloc[0] - said["value"].iloc[0] == pytest.approx(2.8)
    assert "published" not in set(figure_table([both], [TRAIT])["kind"])


def test_the_usual_traits_are_the_papers_else_what_eroded_first() -> None:
    assert usual_traits([SICK]) == (TRAIT,)
    of_faces = FigureRun(**{**SICK.__dict__, "traits": table(0, [1, 0], "face_vendi"), "first_trait": "face_vendi"})
    still = FigureRun(**{**of_faces.__dict__, "first_trait": ""})
    assert usual_traits([still, of_faces]) == ("face_vendi",)
    assert usual_traits([still]) == ()


def test_a_trait_nobody_knows_or_measured_is_refused_with_a_way_on() -> None:
    with pytest.raises(DecayError, match="Did you mean image_clip_score"):
        figure_table([SICK], ["image_clip_scor"])
    with pytest.raises(DecayError, match="in none"):
        figure_table([run("one", [math.nan], "a")], [TRAIT])


def test_published_figures_without_their_trait_are_refused_with_a_way_on() -> None:
    other = FigureRun(**{**SICK.__dict__, "traits": pd.concat([SICK.traits, table(0, [9, 8], "image_fid")])})
    with pytest.raises(DecayError, match=r"got image_fid\. Add --figure image_clip_score"):
        check_published([other], ["image_fid"])
    with pytest.raises(DecayError, match=r"got nothing\. Measure the runs with CLIP's weights"):
        check_published([run("one", [math.nan], "a")], [])
    check_published([other], ["image_fid", TRAIT])


# --------------------------------------------------------------------------- measured runs


@pytest.fixture
def sweep(arms: Mapping[str, Path], tmp_path: Path) -> list[Path]:
    """Two mixes that share their generation 0, and a colour control."""
    said = {
        "fed": {"regime": [{"since": 1, "kind": "replace"}]},
        "mixed": {"regime": [{"since": 1, "kind": "mix", "synthetic": 0.25}]},
        "real_data": {"regime": [{"since": 1, "kind": "replace"}], "controls": {"colour": True, "quality": False}},
    }
    for name, protocol in said.items():
        shutil.copytree(arms[name], tmp_path / name)
        (tmp_path / name / "lineage.json").write_text(json.dumps({"protocol": protocol}))
    return [tmp_path / name for name in said]


def test_protocols_say_what_a_line_is(sweep: Sequence[Path]) -> None:
    found = figure_of(sweep, load_arms(sweep), ["face_vendi"])
    assert found is not None
    said = found.drop_duplicates("arm").set_index("arm")
    assert dict(said["kind"]) == {"fed": "mix", "mixed": "mix", "real_data": "control_colour"}
    assert dict(said["synthetic"]) == {"fed": 1.0, "mixed": 0.25, "real_data": 1.0}
    assert list(said["joins"]) == ["", "fed", "mixed"]
    assert list(said["generation"]) == [0, 0, 1]  # the last two have the first two generations in common
    own = pd.read_csv(sweep[0] / "measures" / "traits.csv", float_precision="round_trip").query("trait == 'face_vendi'")
    assert list(found.loc[found["arm"] == "fed", "value"]) == list(own["value"])


def test_compare_draws_it(sweep: Sequence[Path], tmp_path: Path) -> None:
    held_out = sweep[1] / "held_out"
    shutil.copytree(sweep[1] / "measures", held_out / "measures")
    out, runs = tmp_path / "out", [str(run) for run in sweep]
    result = CliRunner().invoke(app, ["compare", *runs, "--figure", "face_vendi", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert {"figure.csv", "figure.svg", "figure.png"} <= {path.name for path in out.iterdir()}
    assert set(pd.read_csv(out / "figure.csv")["panel"]) == {"prompts", "held_out"}
    assert "held-out prompts" in (out / "figure.svg").read_text()
    assert CliRunner().invoke(app, ["compare", *runs, "--figure", "face_vendi"]).exit_code == 1


def test_held_out_prompts_are_measured_by_themselves(tmp_path: Path) -> None:
    for place, shade in (("gen_00", 90), ("held_out/gen_00", 120), ("held_out/gen_01", 30)):
        (tmp_path / "run" / place).mkdir(parents=True)
        Image.new("RGB", (64, 64), (shade, shade, shade)).save(tmp_path / "run" / place / "slot_0000.png")
    measure = ["measure", str(tmp_path / "run"), "--held-out", "--workers", "1", "--resamples", "20"]
    result = CliRunner().invoke(app, [*measure, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    found = pd.read_csv(tmp_path / "out" / "held_out" / "measures" / "traits.csv")
    assert set(found["generation"]) == {0, 1}
    assert not (tmp_path / "run" / "measures").exists()
    shutil.rmtree(tmp_path / "run" / "held_out")
    refused = CliRunner().invoke(app, measure)
    assert refused.exit_code == 1
    assert "[held_out]" in refused.output
