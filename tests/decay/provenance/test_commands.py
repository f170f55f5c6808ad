"""``decay provenance ...``: what is printed, the exit codes, and the example in the document."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decay import provenance
from decay.cli import app
from decay.provenance.chain import LOG_NAME

DOCUMENT = (Path(__file__).parents[3] / "docs" / "provenance.md").read_text(encoding="utf-8")
RUNNER = CliRunner()


@pytest.mark.parametrize("command", ["verify", "trace", "export", "sign"])
def test_every_command_has_help_and_is_documented(command: str) -> None:
    result = RUNNER.invoke(app, ["provenance", command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5
    assert f"decay provenance {command}" in DOCUMENT


def test_verify_says_what_was_checked_and_exits_with_1_on_a_finding(run: Path) -> None:
    whole = RUNNER.invoke(app, ["provenance", "verify", str(run)])
    assert whole.exit_code == 0
    assert "nothing found" in whole.output
    head = re.search(r"Head: (\w{64})", whole.output)
    assert head is not None
    assert RUNNER.invoke(app, ["provenance", "verify", str(run), "--head", head[1]]).exit_code == 0
    assert RUNNER.invoke(app, ["provenance", "verify", str(run), "--head", "0" * 64]).exit_code == 1
    (run / "gen_01" / "slot_0001.png").write_bytes(b"other")
    altered = RUNNER.invoke(app, ["provenance", "verify", str(run)])
    assert altered.exit_code == 1
    assert altered.output.startswith("gen_01/slot_0001.png: expected the sha256")
    assert RUNNER.invoke(app, ["provenance", "verify", str(run), "--log-only"]).exit_code == 0


def test_every_run_of_a_folder_is_verified_by_itself(run: Path, tmp_path: Path) -> None:
    for name in ("mix-2", "mix-10", "mix-20"):
        shutil.copytree(run, tmp_path / "sweep" / name)
    (tmp_path / "sweep" / "figures").mkdir()
    folder = tmp_path / "sweep"
    whole = RUNNER.invoke(app, ["provenance", "verify", str(folder)])
    assert whole.exit_code == 0
    assert re.findall(r"^\S+/(\S+):$", whole.output, re.MULTILINE) == ["mix-2", "mix-10", "mix-20"]
    assert whole.output.endswith("3 runs; not as logged: none.\n")
    log = folder / "mix-2" / LOG_NAME
    log.write_bytes(log.read_bytes().replace(b'"seed":1', b'"seed":2', 1))
    (folder / "mix-20" / LOG_NAME).unlink()
    broken = RUNNER.invoke(app, ["provenance", "verify", str(folder)])
    assert broken.exit_code == 1
    assert "expected content with the hash" in broken.output
    assert "nothing found" in broken.output.partition("mix-10:")[2]
    assert broken.output.endswith("3 runs; not as logged: mix-2, mix-20.\n")
    with_head = RUNNER.invoke(app, ["provenance", "verify", str(folder), "--head", "0" * 64])
    assert with_head.exit_code == 1
    assert "--head is of one run; found a folder of runs (mix-2, mix-10, mix-20)" in with_head.stderr


def test_a_broken_chain_is_one_message(run: Path) -> None:
    log = run / LOG_NAME
    log.write_bytes(log.read_bytes().replace(b'"seed":1', b'"seed":2', 1))
    for command in (["verify", str(run)], ["trace", str(run / "gen_01" / "slot_0001.png")]):
        result = RUNNER.invoke(app, ["provenance", *command])
        assert result.exit_code == 1
        assert re.search(r"provenance\.jsonl, line \d+: expected content with the hash", result.stderr)


def test_trace_and_export(run: Path, tmp_path: Path) -> None:
    traced = RUNNER.invoke(app, ["provenance", "trace", str(run / "gen_01" / "slot_0001.png"), "--depth", "3"])
    assert traced.exit_code == 0
    assert "Synthetic ancestry: 50.0 %" in traced.output
    out = tmp_path / "crate.zip"
    written = RUNNER.invoke(app, ["provenance", "export", str(run), "--out", str(out), "--license", "CC0-1.0"])
    assert written.exit_code == 0
    assert "9 pictures" in written.output
    with zipfile.ZipFile(out) as packed:
        graph = json.loads(packed.read("ro-crate-metadata.json"))["@graph"]
    assert next(each for each in graph if each["@id"] == "./")["license"] == "CC0-1.0"


def test_the_example_in_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    for name in ("real/a.png", "real/b.png", "gen_00/0.png", "gen_00/1.png", "model.safetensors"):
        path = tmp_path / "runs" / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "example", "exec"), {})
    found = provenance.verify(Path("runs/mine"))
    assert found.ok
    assert (found.n_pictures, found.n_fits, found.n_unrecorded) == (4, 1, 0)
    traced = provenance.trace(Path("runs/mine/gen_00/1.png"))
    assert (traced.n_training, traced.frac_synthetic) == (2, 0.0)


def test_every_kind_of_event_and_every_field_is_in_the_document(run: Path) -> None:
    with provenance.log(run) as p:
        made = p.record(run / "gen_01" / "slot_0000.png", generation=1)
        p.record_derived(run / "gen_01" / "slot_0000.png", made, "matched")
        p.note("done")
    for line in (run / LOG_NAME).read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        assert f"| `{said['kind']}` |" in DOCUMENT
        for name in said:
            assert f"`{name}" in DOCUMENT or f"`{{{name}" in DOCUMENT, name


@pytest.mark.skipif(not Path("/bin/sed").exists(), reason="no sed")
def test_the_check_by_hand_in_the_document_works(run: Path) -> None:
    import subprocess

    (command,) = (line.strip() for line in DOCUMENT.splitlines() if "sha256sum" in line and "sed -n" in line)
    ended = subprocess.run(command, shell=True, cwd=run, capture_output=True, text=True, check=True)
    line = (run / LOG_NAME).read_text(encoding="utf-8").splitlines()[6]
    assert ended.stdout.split()[0] == json.loads(line)["hash"]
