"""The command line: every command explains itself, the documents made by it are up to date."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from decay.catalogue import traits_markdown
from decay.cli import app
from decay.images import write_png
from detectors.registry import traits

ROOT = Path(__file__).parents[2]
RUNNER = CliRunner()
COMMANDS = (
    "measure", "verdict", "report", "compare", "demo", "phantom", "run", "seed-set", "provenance", "traits",
    "calibrate", "models",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_documented(command: str) -> None:
    result = RUNNER.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5
    assert f"decay {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_traits_lists_every_trait() -> None:
    result = RUNNER.invoke(app, ["traits"])
    assert all(trait.name in result.output for trait in traits())


def test_the_document_of_traits_is_up_to_date() -> None:
    assert (ROOT / "docs" / "traits.md").read_text(encoding="utf-8") == traits_markdown(), (
        "run: decay traits --markdown > docs/traits.md"
    )


def test_models_lists_path_hash_and_licence() -> None:
    result = RUNNER.invoke(app, ["models"])
    assert result.exit_code == 0
    assert result.output.count("sha256:") >= 4
    assert "Apache-2.0" in result.output


def test_models_says_how_to_have_what_is_missing(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["models", "--features-root", str(tmp_path)])
    assert f"to have it: decay models fetch inception --root {tmp_path}\n" in result.output
    assert f"to have it: decay models fetch clip --root {tmp_path} --sha256" in result.output
    assert result.output.count("inception-2015-12-05.pt  (") == 1


def test_wrong_usage_exits_with_2() -> None:
    assert RUNNER.invoke(app, ["measure"]).exit_code == 2
    assert RUNNER.invoke(app, ["measure", "somewhere", "--resamples", "3"]).exit_code == 2
    result = RUNNER.invoke(app, ["measure", "somewhere", "--rule", "foo"])
    assert result.exit_code == 2
    assert all(word in result.stderr for word in ("'foo'", "'interval'", "'threshold'"))
    assert "Traceback" not in result.stderr


def test_a_fault_of_the_input_exits_with_1_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "loose.png").write_bytes(b"x")
    result = RUNNER.invoke(app, ["measure", str(tmp_path)])
    assert result.exit_code == 1
    assert "gen_00" in result.stderr


def test_a_name_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    missing = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\x1b[31m\nred\xff"))
    ended = subprocess.run(
        [sys.executable, "-m", "decay.cli", "measure", missing], capture_output=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 1
    assert b"\x1b" not in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert b"\\x1b[31m\\nred\\udcff" in ended.stderr


def test_a_terminal_that_is_not_utf_8_is_no_fault() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "decay.cli", "traits"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 0, ended.stderr
    assert b"catchlight_presence" in ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_message() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "decay.cli", "traits"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
        )
    assert ended.returncode == 1
    assert b"No space left" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_what_was_passed_over_is_said(tmp_path: Path) -> None:
    for name in ("gen_00", "gen_01", "two"):
        (tmp_path / name).mkdir()
    write_png(tmp_path / "gen_00" / "a.png", np.zeros((32, 32, 3), np.uint8))
    result = RUNNER.invoke(app, ["measure", str(tmp_path), "--resamples", "20"])
    assert result.exit_code == 0, result.output
    assert "Note: Folders that are no generation, ignored: two." in result.output
    assert "Note: gen_01: holds no image." in result.output


def test_several_runs_are_measured_one_after_another(tmp_path: Path) -> None:
    for name in ("one/run", "two/run", "two/other"):
        (tmp_path / name / "gen_00").mkdir(parents=True)
        write_png(tmp_path / name / "gen_00" / "a.png", np.zeros((32, 32, 3), np.uint8))
    options = ["--resamples", "20", "--workers", "0", "--out", str(tmp_path / "out")]
    two = [str(tmp_path / "two" / name) for name in ("other", "run")]
    result = RUNNER.invoke(app, ["measure", *two, *options])
    assert result.exit_code == 0, result.output
    assert [f"{run}:" in result.output for run in two] == [True, True]
    for name in ("other", "run"):
        assert (tmp_path / "out" / name / "measures" / "report.html").is_file()
    alike = RUNNER.invoke(app, ["measure", two[1], str(tmp_path / "one" / "run"), *options])
    assert alike.exit_code == 1
    assert "two are 'run'" in alike.output


def test_phantom_and_measure_join(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--plan", "null", "--per-generation", "3", "--generations", "1", "--size", "128"]
    drawn = RUNNER.invoke(app, ["phantom", str(run), *options])
    assert drawn.exit_code == 0, drawn.output
    measured = RUNNER.invoke(app, ["measure", str(run), "--resamples", "20"])
    assert measured.exit_code == 0, measured.output
    assert "Cannot tell" in measured.output
    assert (run / "measures" / "report.html").is_file()
    again = RUNNER.invoke(app, ["phantom", str(run), *options])
    assert again.exit_code == 1


def test_help_imports_nothing_slow() -> None:
    script = "import sys, decay.cli; print({'numpy', 'scipy', 'pandas', 'matplotlib', 'mediapipe'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "set()"


def test_verdict_says_it_again_without_a_model(arms: Mapping[str, Path]) -> None:
    script = (
        "import sys; from decay.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "slow = {'scipy', 'matplotlib', 'mediapipe', 'onnxruntime', 'cv2', 'pyarrow.parquet'} & set(sys.modules)\n"
        "print(f'slow: {slow}')"
    )
    command = [sys.executable, "-c", script, "verdict", str(arms["fed"])]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    verdict = json.loads((arms["fed"] / "measures" / "verdict.json").read_text())
    assert verdict["sentence"] in ended.stdout
    assert "as in generation 0" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "slow: set()"


def test_verdict_as_json_is_the_record(arms: Mapping[str, Path]) -> None:
    result = RUNNER.invoke(app, ["verdict", str(arms["fed"]), "--json"])
    assert json.loads(result.stdout) == json.loads((arms["fed"] / "measures" / "verdict.json").read_text())


def test_verdict_needs_a_measured_run(arms: Mapping[str, Path], tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["verdict", str(tmp_path)])
    assert result.exit_code == 1
    assert f"decay measure {tmp_path}" in result.stderr
    loose = tmp_path / "loose.png"
    loose.write_bytes(b"x")
    for wrong, said in (
        (tmp_path / "nowhere", "no such folder. Check the path"),
        (loose, "found a file. Give the folder"),
    ):
        result = RUNNER.invoke(app, ["verdict", str(wrong)])
        assert result.exit_code == 1
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    damaged = tmp_path / "damaged"
    shutil.copytree(arms["fed"] / "measures", damaged / "measures")
    (damaged / "measures" / "traits.csv").write_text("trait\nx\n")
    result = RUNNER.invoke(app, ["verdict", str(damaged)])
    assert result.exit_code == 1
    assert "traits.csv has no column generation" in result.stderr
    (damaged / "measures" / "eyes.parquet").write_text("no table")
    (damaged / "measures" / "traits.csv").write_bytes((arms["fed"] / "measures" / "traits.csv").read_bytes())
    result = RUNNER.invoke(app, ["verdict", str(damaged), str(arms["fed"])])
    assert result.exit_code == 1
    assert "could not be read" in result.stderr


def test_several_runs_are_replicates(arms: Mapping[str, Path]) -> None:
    result = RUNNER.invoke(app, ["verdict", str(arms["fed"]), str(arms["mixed"])])
    assert result.exit_code == 0, result.output
    assert "Only 2 lineages were taken together" in result.stdout


def test_runs_of_different_plans_are_refused_as_replicates(arms: Mapping[str, Path], tmp_path: Path) -> None:
    for name, regime in (("fed", "replace"), ("mixed", "accumulate")):
        shutil.copytree(arms[name], tmp_path / name)
        (tmp_path / name / "lineage.json").write_text(json.dumps({"regime": regime, "seed": 1}))
    runs = [str(tmp_path / name) for name in ("fed", "mixed")]
    result = RUNNER.invoke(app, ["verdict", *runs])
    assert result.exit_code == 1
    assert "fed and mixed were made by different plans (regime is replace, not accumulate)" in result.stderr
    assert RUNNER.invoke(app, ["compare", *runs]).exit_code == 0


def test_compare_prints_and_writes(arms: Mapping[str, Path], tmp_path: Path) -> None:
    runs = [str(arms[name]) for name in ("mixed", "fed", "real_data")]
    result = RUNNER.invoke(app, ["compare", *runs, "--baseline", "fed", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Compared with fed, generations 0 to 2" in result.stdout
    assert "Image: stopped in real_data" in result.stdout
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert result.stdout.splitlines()[-1] == f"Written to {tmp_path / 'out'}: {', '.join(written)}"
    assert "compare_courses.csv" in written


def test_where_a_comparison_goes_is_checked_before_the_work(arms: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    result = RUNNER.invoke(app, ["compare", str(arms["fed"]), str(arms["mixed"]), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "expected a folder to write to; found a file" in result.stderr


def test_a_reference_elsewhere_and_a_control_are_said_in_every_output(
    arms: Mapping[str, Path], write_run: Callable[..., Path], tmp_path: Path
) -> None:
    """Both runs against pictures elsewhere; the control collapses a generation later than the run."""
    people, run, control = tmp_path / "museum", tmp_path / "run", tmp_path / "control"
    shutil.copytree(arms["real_data"] / "gen_00", people)
    for folder, source in ((run, "fed"), (control, "mixed")):
        shutil.copytree(arms[source], folder)
    write_run(control, people)
    options = ["--reference", str(people), "--resamples", "20", "--control", str(control)]
    options += ["--rule", "threshold", "--drop", "0.1", "--margin", "0.3"]
    result = RUNNER.invoke(app, ["measure", str(run), *options])
    assert result.exit_code == 0, result.output
    assert "as in museum/" in result.stdout
    assert "The drift of the control arm control is taken off." in result.stdout
    assert "By the flat rule (first value below 0.9 x generation 0; it has no interval" in result.stdout
    fell = re.search(r"traits fell, first at generation (\d): ([^.]+)\.", result.stdout)
    first = pd.read_csv(run / "measures" / "erosion.csv").sort_values(["onset_flat", "trait"]).iloc[0]
    assert fell
    assert int(fell[1]) == first["onset_flat"]
    assert fell[2].startswith(first["label"])
    record = json.loads((run / "measures" / "verdict.json").read_text())
    assert record["reference"] == "museum/"
    assert record["control"] == {"name": "control", "generations": [0, 1, 2]}
    assert record["rule"]["margin"] == 0.3
    settings = json.loads((run / "measures" / "run.json").read_text())["settings"]
    assert (settings["reference"], settings["control"]) == (str(people), str(control))
    page = (run / "measures" / "report.html").read_text()
    assert "museum/" in page
    assert "control arm control" in page
    images = pd.read_parquet(run / "measures" / "images.parquet")
    assert images["image"].iloc[0] == "reference:000.png"
    assert (
        images.loc[images["generation"] == -1, "slot"] == images.loc[images["generation"] == 0, "slot"].values
    ).all()
    rows = pd.read_csv(run / "measures" / "traits.csv").set_index(["trait", "generation"])
    np.testing.assert_allclose(rows.loc["face_pairwise_distance", "retention"], [1, 0, 1], atol=0.03)
    assert "From its retention the drift" in rows.loc[("face_asymmetry", 1), "limits"]
    flat = pd.read_csv(run / "measures" / "erosion.csv").set_index("trait")["onset_flat"]
    assert flat["face_pairwise_distance"] == 1  # by its value, the control notwithstanding
    assert np.isnan(flat["lighting_ratio"])  # it can only drift


def test_a_control_must_be_read_alike(arms: Mapping[str, Path], tmp_path: Path) -> None:
    control = tmp_path / "control"
    shutil.copytree(arms["mixed"], control)
    record = control / "measures" / "run.json"
    record.write_text(record.read_text().replace('"reader": "', '"reader": "0'))
    result = RUNNER.invoke(app, ["measure", str(arms["fed"]), "--control", str(control)])
    assert result.exit_code == 1
    assert "different versions of the detectors" in result.stderr
    result = RUNNER.invoke(app, ["measure", str(arms["fed"]), "--control", str(arms["fed"])])
    assert "this is the run itself" in result.stderr
    result = RUNNER.invoke(app, ["measure", str(arms["fed"]), "--control", str(tmp_path)])
    assert "expected a measured run" in result.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    result = RUNNER.invoke(app, ["measure", str(arms["fed"]), "--reference", str(empty)])
    assert "expected images" in result.stderr


def test_what_means_left_against_right_warns_without_a_control(arms: Mapping[str, Path]) -> None:
    limits = pd.read_csv(arms["fed"] / "measures" / "traits.csv").groupby("trait")["limits"].first()
    sided = {trait.name for trait in traits() if trait.sided}
    assert {"lighting_ratio", "face_asymmetry", "catchlight_mirror_disparity"} <= sided
    for name, text in limits.items():
        assert ("Without a control arm" in str(text)) == (name in sided), name
