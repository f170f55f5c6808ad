"""Which real pictures are slots, which are fresh, and what a run takes from its parent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decay.errors import DecayError
from decay.images import write_png
from decay.loop.parents import inherited, run_folder
from decay.loop.plan import plan_text
from decay.loop.protocol import HeldOut, Parent, Protocol, RealSet, Regime
from decay.loop.record import read_protocol_of, rows_in
from decay.loop.request import Request
from decay.loop.run import plan, run, slots_of
from decay.provenance import verify

FRESH = Regime(kind="fresh", synthetic=0.0)


def make_real(
    folder: Path, numbers: Sequence[int], prompts: Mapping[int, str] = {}, expects: object = None, size_px: int = 12
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
        write_png(folder / f"{number:02d}.png", pixels)
        rows.append({"file_name": f"{number:02d}.png", "text": prompts.get(number, "a face"), "expects": expects})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def protocol(folder: Path, n_slots: int | None = 3, **changes: object) -> Protocol:
    said: dict[str, object] = {"name": "t", "engine": "linear", "iterations": 1, "size_px": 12}
    return Protocol(**said | {"real": RealSet(folder, per_group=n_slots), "regimes": (FRESH,)} | changes)  # type: ignore[arg-type]


def originals(place: Path) -> list[str]:
    return [str(row["original"]) for row in rows_in(place)]


def test_fresh_pictures_are_fresh_across_regimes_parents_and_seeds(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(18))
    regimes = (FRESH, Regime(since=2), Regime(since=3, kind="fresh", synthetic=0.0))
    one = run(protocol(real, iterations=3, regimes=regimes), tmp_path / "one")
    two = run(protocol(real, iterations=2, seed=7, parent=Parent(one, 3)), tmp_path / "two")
    places = [one / "real", *sorted(one.glob("fresh/fit_*")), *sorted(two.glob("fresh/fit_*"))]
    used = [name for place in places for name in originals(place)]
    assert len(places) == 5
    assert len(used) == len(set(used)) == 15
    with pytest.raises(DecayError, match=r"needs 12 real pictures .* there are 9"):
        plan(protocol(real, iterations=4, seed=7, parent=Parent(one, 3)), tmp_path / "three")


def test_what_was_drawn_stays_when_the_folder_grows(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(9))
    wanted = protocol(real, iterations=2)
    out = run(wanted, tmp_path / "run")
    before = {name: originals(out / name) for name in ("real", "fresh/fit_01")}
    for gone in ("gen_02", "weights/fit_02", "fresh/fit_02"):
        (out / gone).rename(tmp_path / gone.replace("/", "_"))
    make_real(real, range(14))
    run(wanted, out)
    assert {name: originals(out / name) for name in before} == before
    assert not set(originals(out / "fresh/fit_02")) & {name for names in before.values() for name in names}


def test_a_held_out_prompt_in_the_reserve_is_refused(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(8), {number: f"cow {number}" for number in range(8)})
    bare = protocol(real)
    reserve = slots_of(bare, run_folder(bare, tmp_path / "run")).reserve[""]
    wanted = protocol(real, held_out=HeldOut((reserve[0].prompt,)))
    with pytest.raises(DecayError, match="never trained on"):
        slots_of(wanted, run_folder(wanted, tmp_path / "run"))


def test_what_a_parent_was_trained_on_cannot_be_held_out(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(8))
    bare = protocol(real, 4, regimes=(Regime(kind="fresh", synthetic=0.5),))
    slots = slots_of(bare, run_folder(bare, tmp_path / "parent")).slots
    chosen = {int(picture.record.path.stem) for picture in slots}
    make_real(real, range(8), {number: "a cow" if number in chosen else "a calf" for number in range(8)})
    parent = run(bare, tmp_path / "parent")
    assert {row["text"] for row in rows_in(parent / "fresh" / "fit_01")} == {"a calf"}
    for prompt in ("a cow", "a calf", "A calf.", "a \N{FULLWIDTH LATIN SMALL LETTER C}alf"):
        child = protocol(real, 4, regimes=(Regime(),), parent=Parent(parent, 1), held_out=HeldOut((prompt,)))
        with pytest.raises(DecayError, match=r"\[held_out\]: expected prompts that are never trained on"):
            slots_of(child, run_folder(child, tmp_path / "child"))
    child = protocol(real, 4, regimes=(Regime(),), parent=Parent(parent, 1), held_out=HeldOut(("calf",)))
    assert len(slots_of(child, run_folder(child, tmp_path / "child")).slots) == 4


def test_groups_that_only_some_pictures_have_are_refused(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(4))
    rows = rows_in(real)
    said = [{**row, "group": "a"} for row in rows[:3]] + rows[3:]
    (real / "metadata.jsonl").write_text("\n".join(map(json.dumps, said)))
    with pytest.raises(DecayError, match=r"'\{group\}' leaves it empty for 1 of 4, as 03.png"):
        run(protocol(real), tmp_path / "run")


ODD_METADATA: Mapping[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "no source": lambda rows: [{k: v for k, v in row.items() if k != "source"} for row in rows],
    "nothing but texts": lambda rows: [{k: row[k] for k in ("file_name", "text")} for row in rows],
    "numbers": lambda rows: [{**row, "group": 5, "text": 7} for row in rows],
    "a file that is not there": lambda rows: [*rows, {**rows[0], "file_name": "nothing.png"}],
    "a file elsewhere": lambda rows: [*rows, {**rows[0], "file_name": "../../../etc/hostname"}],
    "twice": lambda rows: [*rows, rows[0]],
}


@pytest.mark.parametrize("odd", ODD_METADATA)
def test_a_real_folder_that_somebody_made_is_taken_by_what_it_says(tmp_path: Path, odd: str) -> None:
    real = make_real(tmp_path / "photographs", range(3))
    bare = protocol(real, regimes=(Regime(),))
    place = run(bare, tmp_path / "first") / "real"
    rows = ODD_METADATA[odd](rows_in(place))
    out = tmp_path / "run"
    shutil.copytree(place, out / "real")
    (out / "real" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(bare, out)
    run(bare, out)
    lines = [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]
    told = [(line["path"], line["prompt"], line["group"]) for line in lines if line["kind"] == "real"]
    row = rows[0]
    expected = (str(row["text"]), str(row.get("group", "")))
    assert told == [(f"real/slot_{slot:04d}.png", *expected) for slot in range(3)]
    assert verify(out).ok


def test_a_real_folder_may_be_described_in_csv(tmp_path: Path) -> None:
    bare = protocol(make_real(tmp_path / "photographs", range(3)), regimes=(Regime(),))
    out = tmp_path / "run"
    shutil.copytree(run(bare, tmp_path / "first") / "real", out / "real")
    (out / "real" / "metadata.jsonl").unlink()
    lines = ["file_name,text", *(f"slot_{slot:04d}.png,a face" for slot in range(3))]
    (out / "real" / "metadata.csv").write_text("\n".join(lines))
    run(bare, out)
    run(bare, out)
    assert verify(out).ok


def test_a_hash_that_is_none_is_told_of(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(3))
    (real / "metadata.jsonl").write_text(
        "\n".join(json.dumps({**row, "original_sha256": "zz"}) for row in rows_in(real))
    )
    with pytest.raises(DecayError, match=r"00.png: expected 64 digits .* 'zz'"):
        run(protocol(real), tmp_path / "run")


def test_nothing_expected_stays_nothing_when_a_run_goes_on(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(3), expects=[])
    wanted = protocol(real, regimes=(Regime(),))
    for _ in range(2):
        out = run(wanted, tmp_path / "run")
        assert {slot.expects for slot in slots_of(wanted, run_folder(wanted, out)).slots} == {frozenset()}


def test_a_child_may_not_say_what_its_parent_decides(tmp_path: Path) -> None:
    real, other = (make_real(tmp_path / name, range(3)) for name in ("photographs", "others"))
    sick = run(protocol(real, regimes=(Regime(),)), tmp_path / "sick")
    mixed, parent = (Regime(kind="mix", synthetic=0.0),), Parent(sick, 1)
    for changed, message in (
        (protocol(real, regimes=mixed, parent=parent, size_px=16), "the same size_px"),
        (protocol(real, regimes=mixed, parent=parent, engine="stable-diffusion"), "the same engine"),
        (protocol(other, regimes=mixed, parent=parent), "with folder = "),
        (protocol(real, 2, regimes=mixed, parent=parent), "with per_group = 3"),
    ):
        with pytest.raises(DecayError, match=message):
            inherited(changed)
    with pytest.raises(DecayError, match="with folder = "):
        plan(protocol(other, regimes=mixed, parent=parent), tmp_path / "child")
    with pytest.raises(DecayError, match="either --real or --heal"):
        Request(tmp_path / "x", heal=f"{sick}@1", real=other).protocols()


def test_real_pictures_of_another_size_in_the_folder_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    make_real(out / "real", range(2), size_px=16)
    for number in range(2):
        (out / "real" / f"{number:02d}.png").rename(out / "real" / f"slot_{number:04d}.png")
    rows = [{"file_name": f"slot_{number:04d}.png", "text": "a face"} for number in range(2)]
    (out / "real" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for act in (run, plan):
        with pytest.raises(DecayError, match="expected 12 x 12 px"):
            act(protocol(out / "real", None, regimes=(Regime(),)), out)


def test_a_healed_run_is_healed_again_from_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(tmp_path / "photographs", range(3))
    monkeypatch.chdir(tmp_path)
    run(protocol(real, regimes=(Regime(),)), Path("sick"))
    (healed,) = Request(Path("healed"), heal="sick@1", iterations=1).protocols().items()
    run(healed[1], healed[0])
    assert json.loads(Path("healed/lineage.json").read_text())["protocol"]["parent"]["run"] == "../sick"
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    ((out, again),) = Request(Path("again"), heal="../healed@2", iterations=1).protocols().items()
    assert (run(again, out) / "gen_03").is_dir()
    parent = read_protocol_of(out).parent
    assert parent is not None
    assert parent.run == tmp_path / "healed"


def test_a_run_that_goes_on_from_itself_is_one_sentence(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(3))
    wanted = protocol(real, regimes=(Regime(),))
    sick = run(wanted, tmp_path / "sick")
    said = json.loads((sick / "lineage.json").read_text())
    said["protocol"]["parent"] = {"run": "../sick", "generation": 1}
    (sick / "lineage.json").write_text(json.dumps(said))
    with pytest.raises(DecayError, match="goes on from itself"):
        run_folder(protocol(real, regimes=(Regime(),), parent=Parent(sick, 1)), tmp_path / "child")


def test_weights_that_were_let_go_are_said_before_anything_is_made(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(3))
    sick = run(protocol(real, iterations=2, regimes=(Regime(),), keep_weights="last"), tmp_path / "sick")
    child = protocol(real, regimes=(Regime(),), parent=Parent(sick, 0), init="chain")
    with pytest.raises(DecayError, match=r"were let go .* the last generation that has any is 2"):
        run_folder(child, tmp_path / "child")


def test_small_pictures_are_counted_and_slivers_refused(tmp_path: Path) -> None:
    real = make_real(tmp_path / "photographs", range(3), size_px=9)
    wanted = protocol(real, regimes=(Regime(),))
    assert "are enlarged: 3." in plan_text(plan(wanted, tmp_path / "run"))
    write_png(real / "00.png", np.zeros((7, 90, 3), np.uint8))
    with pytest.raises(DecayError, match="8 px or more on its shorter side; found 7"):
        plan(wanted, tmp_path / "run")
