"""The command line: every command explains itself, the documents made by it are up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from decay.catalogue import traits_markdown
from decay.cli import app
from decay.images import write_png
from detectors.registry import traits

ROOT = Path(__file__).parents[2]
RUNNER = CliRunner()
COMMANDS = ("measure", "demo", "phantom", "traits", "calibrate", "models")


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


def test_wrong_usage_exits_with_2() -> None:
    assert RUNNER.invoke(app, ["measure"]).exit_code == 2
    assert RUNNER.invoke(app, ["measure", "somewhere", "--resamples", "3"]).exit_code == 2


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
