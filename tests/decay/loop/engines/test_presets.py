"""Every preset from end to end: its own file, every arm, on real classes at tiny size."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from decay.images import write_png
from decay.lineage import load_lineage
from decay.loop.engines.pretrained import tensors_sha256
from decay.loop.protocol import Experiment, HeldOut, Protocol
from decay.loop.reading import read_protocol
from decay.loop.run import run
from decay.phantom import Population, draw_face, draw_hand
from detectors.trait import Pixels

GROUPS = (("young", "asian", "man"), ("old", "white", "woman"))
PER_GROUP = 4
N_SLOTS = len(GROUPS) * PER_GROUP
MORE_PER_GROUP = {"mix-10": 5, "mix-3.3": 16}
"""The least of which these shares are a picture."""


def hashes(folder: Path, pattern: str = "*") -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and path.name not in ("provenance.jsonl", "lineage.json", ".lock")
    }


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of each of two of the paper's groups, 32 px."""
    folder = tmp_path_factory.mktemp("real") / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number, (age, race, gender) in enumerate(GROUPS * max(MORE_PER_GROUP.values())):
        write_png(folder / f"{number}.png", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        rows.append({"file_name": f"{number}.png", "age": age, "race": race, "gender": gender})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights in place of Inception's first layers, as TorchScript."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    path = tmp_path_factory.mktemp("inception") / "stem.pt"
    torch.jit.script(stem.eval()).save(str(path))  # type: ignore[no-untyped-call]
    return path


def tiny(experiment: Experiment, changes: Mapping[str, object], engine: Mapping[str, object]) -> dict[str, Protocol]:
    """The arms of a preset, cut down in size and in nothing else."""
    return {
        name: replace(arm, engine_settings={**arm.engine_settings, **engine, "revision": None}, **changes)  # type: ignore[arg-type]
        for name, arm in experiment.arms.items()
    }


@pytest.fixture(scope="module")
def paper(tiny_stable_diffusion: Path, faces: Path, inception: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every arm of the preset bohacek-farid: two iterations, four pictures or a few more in each of two groups."""
    out = tmp_path_factory.mktemp("paper")
    experiment = read_protocol("bohacek-farid").on_real(faces)
    engine = {"model": str(tiny_stable_diffusion), "epochs": 1, "batch_size": 4, "inference_steps": 2}
    held_out = HeldOut(experiment.base.held_out.prompts[:2], 1)
    arms = tiny(experiment, {"iterations": 2, "size_px": 32, "held_out": held_out}, engine)
    for name, arm in arms.items():
        real = replace(arm.real, per_group=MORE_PER_GROUP.get(name, PER_GROUP))
        controls = replace(arm.controls, quality_model=inception, quality_attempts=1) if arm.controls.quality else None
        made = replace(arm, real=real, controls=controls or arm.controls)
        if made.parent is not None:
            made = replace(made, parent=replace(made.parent, run=out / made.parent.run, generation=2), iterations=1)
        run(made, out / name)
    return out


SYNTHETIC = {"mix-100": 4, "mix-50": 2, "mix-25": 1, "mix-10": 1, "mix-3.3": 1, "mix-0": 0}
"""In each group: the nearest whole number, a half upward."""


@pytest.mark.parametrize("arm", SYNTHETIC)
def test_every_mix_is_counted_exactly_in_every_group(paper: Path, arm: str) -> None:
    origin = {
        event["sha256"]: (event["group"], event["kind"]) for k in ("real", "image") for event in events(paper / arm, k)
    }
    fits = events(paper / arm, "fit")
    assert fits[0]["training_set"] == [], "generation 0 is made by the pretrained model"
    for fit in fits[1:]:
        by_group = Counter(origin[member["sha256"]] for member in fit["training_set"])
        groups = {group for group, _ in by_group}
        assert len(groups) == len(GROUPS)
        assert {by_group[(group, "image")] for group in groups} == {SYNTHETIC[arm]}
        n_real = MORE_PER_GROUP.get(arm, PER_GROUP) - SYNTHETIC[arm]
        assert {by_group[(group, "real")] for group in groups} == {n_real}


def test_the_u_net_is_chained_and_everything_else_stays_as_it_was(paper: Path, tiny_stable_diffusion: Path) -> None:
    fits = events(paper / "mix-100", "fit")
    assert [fit["parent"] for fit in fits] == [None, fits[0]["sha256"], fits[1]["sha256"]]
    assert len({fit["sha256"] for fit in fits}) == 3
    origins = []
    for generation in range(3):
        folder = paper / "mix-100" / "weights" / f"fit_{generation:02d}"
        origins.append(json.loads((folder / "weights.json").read_text())["origin"])
        assert set(hashes(folder, "*.safetensors")) == {"unet/diffusion_pytorch_model.safetensors"}
    for part in ("vae", "text_encoder"):
        on_disk = load_file(next((tiny_stable_diffusion / part).glob("*.safetensors")))
        assert {origin[f"{part}_sha256"] for origin in origins} == {tensors_sha256(on_disk)}


def test_every_generation_is_there_with_its_held_out_prompts(paper: Path) -> None:
    for arm in SYNTHETIC:
        lineage = load_lineage(paper / arm)
        n_slots = len(GROUPS) * MORE_PER_GROUP.get(arm, PER_GROUP)
        assert [(g.index, len(g.images)) for g in lineage.generations] == [(0, n_slots), (1, n_slots), (2, n_slots)]
        assert lineage.notes == ()
        held_out = load_lineage(paper / arm / "held_out")
        assert [(g.index, len(g.images)) for g in held_out.generations] == [(0, 2), (1, 2), (2, 2)]


def test_generation_0_starts_from_the_real_pictures_and_later_ones_from_noise(paper: Path) -> None:
    real = {event["sha256"] for event in events(paper / "mix-50", "real")}
    for event in events(paper / "mix-50", "image"):
        expected = event["generation"] == 0 and not event["path"].startswith("held_out")
        assert bool(event["parents"]) == expected
        assert set(event["parents"]) <= real


def test_healing_goes_on_from_the_quarter_on_real_pictures_alone(paper: Path) -> None:
    (fit,) = events(paper / "heal-25", "fit")
    assert fit["parent"] == events(paper / "mix-25", "fit")[-1]["sha256"]
    assert {member["origin"] for member in fit["training_set"]} == {"real"}
    assert [generation.index for generation in load_lineage(paper / "heal-25").generations] == [3]


def test_both_controls_train_on_what_they_made(paper: Path) -> None:
    matched = set(hashes(paper / "control-colour" / "matched" / "gen_00", "*.png").values())
    assert {member["sha256"] for member in events(paper / "control-colour", "fit")[1]["training_set"]} == matched
    replaced = hashes(paper / "control-quality" / "replaced" / "gen_00", "*.png")
    assert 0 < len(replaced) < N_SLOTS
    trained = {member["sha256"] for member in events(paper / "control-quality", "fit")[1]["training_set"]}
    kept = hashes(paper / "control-quality" / "gen_00", "*.png")
    assert trained == set({**kept, **replaced}.values())


def test_the_forum_preset_paints_its_parts_anew_round_after_round(tiny_flux_fill: Path, tmp_path: Path) -> None:
    folder = tmp_path / "portraits"
    folder.mkdir()
    rows = []
    for slot, draw in enumerate((_drawn_face, _drawn_hand)):
        write_png(folder / f"{slot}.png", draw(np.random.default_rng(1)))
        rows.append({"file_name": f"{slot}.png", "text": "a portrait"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    experiment = read_protocol("forum").on_real(folder)
    engine = {"model": str(tiny_flux_fill), "epochs": 1, "batch_size": 2, "inference_steps": 1}
    for name, arm in tiny(experiment, {"size_px": 192}, engine).items():
        settings = dict(arm.engine_settings)
        if name in ("hands", "face"):  # random weights leave nothing there that a detector could find again
            settings["mask"] = "centre"
        # one iteration of each regime
        regimes = tuple(replace(regime, since=since) for since, regime in enumerate(arm.regimes, start=1))
        small = replace(arm, real=replace(arm.real, per_group=2), regimes=regimes, iterations=len(regimes))
        out = run(replace(small, engine_settings=settings), tmp_path / name)
        fits = events(out, "fit")
        assert [fit["parent"] for fit in fits] == [None, *(fit["sha256"] for fit in fits[:-1])]
        assert len(fits) == 1 + len(regimes)
        before = {folder: list(hashes(out / folder, "*.png").values()) for folder in ("real", "gen_00", "gen_01")}
        painted = [event for event in events(out, "image") if event["generation"] <= 2]
        starts = [before["real"], before["gen_00"], before["gen_01"]]
        assert all(event["parents"] == [starts[event["generation"]][int(event["slot"])]] for event in painted)
        if name == "eyes-interrupted":
            assert {member["sha256"] for member in fits[2]["training_set"]} <= set(before["real"])


def _drawn_face(rng: np.random.Generator) -> Pixels:
    return draw_face(Population().sample_face(rng), 192, rng)[0]


def _drawn_hand(rng: np.random.Generator) -> Pixels:
    return draw_hand(Population().sample_hand(rng), 192, rng)[0]


def test_two_processes_train_on_the_same_pictures_as_one(
    tiny_stable_diffusion: Path, faces: Path, tmp_path: Path
) -> None:
    """As accelerate starts them, with torchrun's environment, on CPUs."""
    protocol = tmp_path / "protocol.toml"
    protocol.write_text(
        f"""
        name = "two"
        iterations = 1
        size_px = 32
        real = {{ folder = "{faces}", prompt = "a {{gender}}", group = "{{gender}}", per_group = {PER_GROUP} }}
        engine.name = "stable-diffusion"
        engine.model = "{tiny_stable_diffusion}"
        engine.epochs = 1
        engine.batch_size = 4
        engine.inference_steps = 2
        engine.learning_rate = 1e-2
        regime = [{{ kind = "mix", synthetic = 0.5 }}]
        """
    )
    alone = run(read_protocol(protocol).base, tmp_path / "one")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "decay.cli", "run", str(protocol), "--out", str(tmp_path / "two")]
    finished = subprocess.run(
        command, env={**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    two = tmp_path / "two"
    assert hashes(two / "gen_00", "*.png") == hashes(alone / "gen_00", "*.png")
    assert [fit["training_set"] for fit in events(two, "fit")] == [fit["training_set"] for fit in events(alone, "fit")]
    fits = [alone / "weights" / "fit_00", alone / "weights" / "fit_01", two / "weights" / "fit_01"]
    tensors = Path("unet", "diffusion_pytorch_model.safetensors")
    start, one, both = (load_file(place / tensors) for place in fits)
    moved, apart = (sum(float(((one[name] - other[name]) ** 2).sum()) for name in one) for other in (start, both))
    assert moved > 0
    assert apart < 1e-4 * moved, "gradients are summed in another order, and nothing else differs"
    assert len(events(two, "image")) == 2 * N_SLOTS
