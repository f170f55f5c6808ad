"""Verification: whatever was altered, taken away or added is named; nothing outside of the run is touched."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from decay import provenance
from decay.errors import LineageError
from decay.loop.checkpoint import let_go
from decay.provenance.chain import LOG_NAME
from decay.provenance.events import GENESIS, event_to_line
from decay.provenance.verify import MAX_NAMED


def sha(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def test_a_run_that_nobody_touched_is_whole(run: Path) -> None:
    found = provenance.verify(run)
    assert found.ok
    assert (found.n_events, found.n_pictures, found.n_fits) == (1 + 3 + 2 + 6, 9, 2)
    assert found.n_absent_weights == found.n_unrecorded == 0
    assert "12 events (chain whole, files compared with it), 9 pictures, 2 fits; nothing found" in (
        text := provenance.verification_text(found)
    )
    assert found.head in text


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _replace_by_link(path: Path) -> None:
    copy = path.parents[2] / "copy.png"
    path.rename(copy)
    path.symlink_to(copy)


@pytest.mark.parametrize(
    ("harm", "place", "said"),
    [
        (_alter, "gen_01/slot_0001.png", r"expected the sha256 \w+ that line 11 records; found \w+"),
        (_alter, "real/2.png", "line 4 records"),
        (_alter, "weights/fit_01/model.safetensors", "weights/fit_01.*damaged.*model.safetensors"),
        (_alter, "lineage.json", "altered or removed"),
        (_replace_by_link, "gen_00/slot_0000.png", "found a link"),
        (Path.unlink, "gen_01/slot_0002.png", "line 12 records; it is missing"),
        (Path.unlink, "weights/fit_00/second.bin", "nothing there"),
        (Path.unlink, "lineage.json", "altered or removed"),
    ],
)
def test_one_file_that_was_altered_or_is_missing_is_named(
    harm: Callable[[Path], object], place: str, said: str, run: Path
) -> None:
    harm(run / place)
    found = provenance.verify(run)
    assert found.n_problems == 1
    assert Path(place).parts[0] in found.problems[0]
    assert re.search(said, found.problems[0])


@pytest.mark.parametrize("place", ["gen_01/new.png", "gen_02/new.png", "gen_01/deep/new.JPG"])
def test_a_picture_that_the_log_does_not_know_is_named(place: str, run: Path) -> None:
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).write_bytes(b"x")
    assert provenance.verify(run).problems == (
        f"{place}: expected only what the log records; it knows no picture of this name.",
    )


@pytest.mark.parametrize(
    ("column", "value", "recorded"),
    [("text", "a hand", "a face"), ("seed", 7, "1"), ("slot", 2, "1"), ("group", "hand", "")],
)
def test_metadata_that_contradict_the_log_are_named(column: str, value: object, recorded: str, run: Path) -> None:
    row = {"file_name": "slot_0001.png", "text": "a face", "seed": 1, "slot": 1, "group": ""}
    table = run / "gen_00" / "metadata.jsonl"
    table.write_text(json.dumps(row) + "\n")
    assert provenance.verify(run).ok
    table.write_text(json.dumps(row | {column: value}) + "\n")
    if not recorded:  # the log says nothing of it
        assert provenance.verify(run).ok
        return
    assert provenance.verify(run).problems == (
        f"gen_00/metadata.jsonl: says of slot_0001.png that its {column} is {str(value)!r}; "
        f"line 7 records {recorded!r}.",
    )


def test_metadata_that_cannot_be_read_or_lead_elsewhere_are_named(run: Path, tmp_path: Path) -> None:
    (run / "gen_00" / "metadata.jsonl").write_text("{")
    (tmp_path / "secret.jsonl").write_text('{"file_name": "slot_0001.png", "text": "secret"}')
    (run / "gen_01" / "metadata.jsonl").symlink_to(tmp_path / "secret.jsonl")
    one, other = provenance.verify(run).problems
    assert "line 1: expected a JSON object" in one
    assert other.startswith("gen_01/metadata.jsonl: expected the table of the pictures here; found a link")


def test_weights_that_the_log_does_not_know_are_named(run: Path) -> None:
    (run / "weights" / "fit_01").rename(run / "weights" / "fit_09")
    found = provenance.verify(run)
    assert [problem.split(":")[0] for problem in found.problems] == ["weights/fit_09"]
    assert found.n_absent_weights == 1


def test_weights_that_were_let_go_are_counted(run: Path) -> None:
    let_go(run / "weights" / "fit_00")
    found = provenance.verify(run)
    assert found.ok
    assert found.n_absent_weights == 1
    assert "Weights no longer in the run, so not compared: 1." in provenance.verification_text(found)


def test_charts_and_half_way_states_are_nobody_s_business(run: Path) -> None:
    for place in ("measures/charts/a.png", ".work/gen_00/a.png", "sheet.png", "gen_00/.aside-12.png"):
        (run / place).parent.mkdir(parents=True, exist_ok=True)
        (run / place).write_bytes(b"x")
    assert provenance.verify(run).ok


def test_a_picture_that_was_made_again_counts_as_it_is_now(run: Path) -> None:
    path = run / "gen_01" / "slot_0000.png"
    with provenance.log(run) as p:
        path.write_bytes(b"better")
        p.record(path, generation=1, attempt=2)
    assert provenance.verify(run).ok


def test_many_problems_are_counted_and_the_first_named(run: Path) -> None:
    for index in range(100):
        (run / "gen_01" / f"x{index:03d}.png").write_bytes(b"x")
    found = provenance.verify(run)
    assert (found.n_problems, len(found.problems)) == (100, MAX_NAMED)
    assert f"and {100 - MAX_NAMED} more" in provenance.verification_text(found)


def test_a_tail_that_was_cut_off_shows_only_against_a_head_kept_elsewhere(run: Path) -> None:
    head = provenance.verify(run).head
    assert provenance.verify(run, head=head).ok
    with provenance.log(run) as p:
        p.note("more")
    assert provenance.verify(run, head=head).ok  # an older head is still in the chain
    log = run / LOG_NAME
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-3]))
    assert provenance.verify(run, files=False).ok
    with pytest.raises(LineageError, match=f"expected a line with the hash {head}"):
        provenance.verify(run, head=head)


def test_a_training_set_that_calls_a_generated_picture_real_is_named(run: Path) -> None:
    with provenance.log(run) as p:
        place = p.recorded("gen_00/slot_0001.png")
        assert place is not None
        members = [provenance.Member(place.sha256, "real"), provenance.Member(sha("unheard of"), "synthetic", 0)]
        p.record_many([provenance.Fit("weights/fit_02", sha("w"), tuple(members), generation=2)])
    found = provenance.verify(run)
    assert found.problems == (
        f"line 14: its training set holds {place.sha256} as real; line 7 records it as synthetic of generation 0.",
    )
    assert found.n_unrecorded == 2


def test_a_path_in_a_foreign_log_is_never_followed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    outside = ["../secret.png", str(secret), "gen_00/../../secret.png", "gen_00/\x00.png", "", "/", "."]
    with provenance.log(run) as p:
        p.record_many([provenance.Image(path, sha("secret"), generation=0) for path in outside])
    opened: list[str] = []
    real_open = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *rest, **more: (opened.append(os.path.normpath(self)), real_open(self, *rest, **more))[1],
    )
    found = provenance.verify(run)
    assert {problem.rsplit(": expected", 1)[0] for problem in found.problems} == set(outside)
    assert opened
    assert all(path.startswith(f"{run}{os.sep}") for path in opened)


@pytest.mark.parametrize("content", [None, b""])
def test_a_run_without_a_log_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / LOG_NAME).write_bytes(content)
    with pytest.raises(LineageError, match="expected a provenance log; found"):
        provenance.verify(tmp_path)


def test_what_is_known_to_be_synthetic_is_told_while_the_log_is_written(run: Path) -> None:
    with provenance.log(run) as p:
        made, real = p.recorded("gen_00/slot_0001.png"), p.recorded("real/0.png")
        assert made is not None
        assert real is not None
        matched = p.record_derived(
            _write(run / "gen_01" / "m.png"), provenance.Image(made.path, made.sha256), "histogram-matched"
        )
        p.record_many([provenance.Image("gen_01/same.png", real.sha256, generation=1)])  # bit for bit the photograph
        synthetic = provenance.synthetic_hashes(run)
    assert len(synthetic) == 6 + 1
    assert {made.sha256, matched.sha256} <= synthetic
    assert real.sha256 not in synthetic


def _write(path: Path) -> Path:
    path.write_bytes(b"matched")
    return path


def _write_log(run: Path, n_events: int) -> Path:
    run.mkdir()
    line, head = event_to_line(provenance.Begin({}), GENESIS, "")
    with (run / LOG_NAME).open("wb") as log:
        log.write(line)
        for index in range(n_events):
            made = provenance.Image(f"gen_00/{index}.png", sha(index), prompt="a photo of a face", seed=index)
            line, head = event_to_line(made, head, "")
            log.write(line)
    return run


def _growth_kb(run: Path) -> int:
    """By how much verifying raises the peak of this process's memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    provenance.verify(run, files=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # on fork, from Python 3.12 on
def test_verifying_is_flat_in_memory(tmp_path: Path) -> None:
    runs = [_write_log(tmp_path / str(n), n) for n in (10_000, 100_000)]
    with multiprocessing.get_context("fork").Pool(1) as fresh:  # the peak of this process would hide another
        _, kb_grown = fresh.map(_growth_kb, runs)
    assert kb_grown < 8_000  # the events kept would be 30,000 and more
