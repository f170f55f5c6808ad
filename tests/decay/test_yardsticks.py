"""From pictures and weights to FID, CLIP score and their like among the traits; and what happens without weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from decay.arms import check_comparable, load_arm
from decay.errors import DecayError
from decay.features import NETWORKS, open_network, versions_at_hand
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage
from decay.measure import measure
from decay.models import list_models
from decay.outcome import Outcome
from decay.read import hash_lineage, read_lineage
from decay.read_features import notes_on_rank, with_features
from decay.reader_version import reader_version
from decay.settings import MeasureSettings
from decay.tables import build_tables, load_tables
from decay.vectors import VectorStore
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors.distances.frechet import frechet_distance
from detectors.distances.kernel import kernel_distance
from detectors.packs import embedder_name
from detectors.trait import OK

N_SLOTS = 26
WORDS = ("red", "green", "blue")
TRAITS = {
    "image_fid",
    "image_kid",
    "image_precision",
    "image_recall",
    "image_density",
    "image_coverage",
    "image_clip_score",
    "image_fd_dinov2",
    "image_sifid",
}


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blurred noise of three colours: other pictures of the same kind, then pictures that come to be all one."""
    root = tmp_path_factory.mktemp("yardsticks") / "run"
    everyone = {name: [drawn(seed, slot) for slot in range(N_SLOTS)] for seed, name in enumerate(("real", "gen_00"))}
    for generation, share in ((1, 0.5), (2, 0.97)):
        first = everyone["gen_00"]
        everyone[f"gen_{generation:02d}"] = [blend(pixels, first[0], share) for pixels in first]
    for name, pictures in everyone.items():
        folder = root / name
        folder.mkdir(parents=True)
        rows = []
        for slot, pixels in enumerate(pictures):
            write_png(folder / f"{slot:03d}.png", pixels)
            rows.append({"file_name": f"{slot:03d}.png", "text": f"a {WORDS[slot % 3]} picture", "expects": []})
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def drawn(seed: int, slot: int) -> np.ndarray:
    rng = np.random.default_rng([seed, slot])
    coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    coarse[..., slot % 3] = np.maximum(coarse[..., slot % 3], 180)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def blend(pixels: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return np.round((1 - share) * pixels + share * other.astype(np.float64)).astype(np.uint8)


@pytest.fixture(scope="session")
def measured(small_run: Path, tiny_weights: Path) -> Path:
    measure(small_run, settings_with(tiny_weights))
    return small_run


def settings_with(root: Path) -> MeasureSettings:
    return MeasureSettings(n_resamples=60, features_root=root)


def rows_of(run: Path, trait: str) -> pd.DataFrame:
    table = pd.read_csv(run / "measures" / "traits.csv")
    return table[table["trait"] == trait].set_index("generation")


def by_hand(run: Path, root: Path, network: str) -> dict[str, np.ndarray]:
    extractor = open_network(network, root)
    return {
        folder.name: np.stack([extractor.of_picture(np.asarray(Image.open(p))) for p in sorted(folder.glob("*.png"))])
        for folder in sorted(run.iterdir())
        if folder.name != "measures"
    }


def test_fid_kid_and_fd_are_those_of_the_features_computed_by_hand(measured: Path, tiny_weights: Path) -> None:
    inception = by_hand(measured, tiny_weights, "inception")
    dinov2 = by_hand(measured, tiny_weights, "dinov2")
    for generation in range(3):
        name = f"gen_{generation:02d}"
        for trait, distance, features in (
            ("image_fid", frechet_distance, inception),
            ("image_kid", kernel_distance, inception),
            ("image_fd_dinov2", frechet_distance, dinov2),
        ):
            expected = distance(features[name], features["real"])
            assert rows_of(measured, trait).loc[generation, "value"] == pytest.approx(expected, rel=1e-4)


def test_the_clip_score_is_the_mean_of_a_hundred_cosines(measured: Path, tiny_weights: Path) -> None:
    extractor = open_network("clip", tiny_weights)
    pictures = by_hand(measured, tiny_weights, "clip")["gen_01"]
    texts = np.stack([extractor.of_text(f"a {WORDS[slot % 3]} picture") for slot in range(N_SLOTS)])  # type: ignore[attr-defined]
    found = rows_of(measured, "image_clip_score")
    assert found.loc[1, "value"] == pytest.approx(100 * float((pictures * texts).sum(axis=1).mean()), abs=1e-4)
    cosines = 100 * by_hand(measured, tiny_weights, "clip")["real"] @ texts.T
    words = np.arange(N_SLOTS) % 3
    elsewhere = [cosines[slot, words != words[slot]].mean() for slot in range(N_SLOTS)]
    assert found.loc[1, "floor"] == pytest.approx(float(np.mean(elsewhere)), abs=1e-4)


def test_each_yardstick_has_a_row_with_its_interval_and_its_retention(measured: Path) -> None:
    for trait in TRAITS:
        found = rows_of(measured, trait)
        assert len(found) == 3
        assert np.isfinite(found[["value", "ci_low", "ci_high", "retention", "floor"]].to_numpy()).all(), trait
        assert (found["ci_low"] <= found["value"] + 1e-9).all()
        assert (found["value"] <= found["ci_high"] + 1e-9).all()
        assert (measured / "measures" / "charts" / f"{trait}.svg").is_file()
    for trait in ("image_fid", "image_kid", "image_fd_dinov2", "image_sifid"):
        retention = rows_of(measured, trait)["retention"]
        assert retention[0] > retention[1] > retention[2], trait
    # Another sample of the same kind of pictures is as good as the reference itself, for what has no pairs.
    assert rows_of(measured, "image_fid")["retention"][0] == pytest.approx(1.0, abs=0.25)
    assert rows_of(measured, "image_kid")["retention"][0] == pytest.approx(1.0, abs=0.25)
    erosion = pd.read_csv(measured / "measures" / "erosion.csv").set_index("trait")
    assert erosion.loc["image_fid", "verdict"] == "eroded"
    assert erosion.loc["image_coverage", "verdict"] == "eroded"


def test_the_vectors_stand_in_files_of_their_own_and_are_read_back(measured: Path) -> None:
    images = pd.read_parquet(measured / "measures" / "images.parquet")
    assert "image_inception" not in images
    assert (images["image_inception_state"] == "ok").all()
    kept = np.load(measured / "measures" / "features" / "image_inception.npy")
    assert kept.shape == (len(images), 10)
    again = load_tables(measured / "measures").images["image_inception"]
    np.testing.assert_array_equal(np.stack(list(again)), kept)


@dataclass(frozen=True)
class Look:
    """A run read without charts and page, with the weights below ``root`` and a journal that stays."""

    run: Path
    root: Path
    journal: Path

    def __call__(self, n_workers: int = 0) -> Mapping[str, Outcome]:
        images = hash_lineage(load_lineage(self.run))
        version = reader_version(list_models(None, None), embedder_name(None))
        settings = MeasureSettings(features_root=self.root, workers=n_workers)
        with Journal(self.journal) as journal:
            with Here(lambda: start_reader(ReaderSpec())) as workers:
                outcomes = read_lineage(images, journal, version, workers)
            versions = versions_at_hand(self.root)
            return with_features(images, outcomes, versions, settings, journal, VectorStore(self.journal.parent))


def test_weights_that_come_later_read_no_face_anew(tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for slot in range(2):
        (run / "gen_00").mkdir(parents=True, exist_ok=True)
        write_png(run / "gen_00" / f"{slot}.png", drawn(0, slot))
    look = Look(run, tmp_path / "weights", tmp_path / "journal.sqlite")
    look.root.mkdir()
    first = look()
    assert any(outcome.fresh for outcome in first.values())
    tables = build_tables(load_lineage(run), first)
    assert set(tables.images["image_inception_state"]) == {"no_weights"}
    assert not any(len(vector) for vector in tables.images["image_inception"])
    shutil.copy(tiny_weights / NETWORKS["inception"].files[0], look.root)
    second = look()
    assert not any(outcome.fresh for outcome in second.values())
    tables = build_tables(load_lineage(run), second)
    assert set(tables.images["image_inception_state"]) == {OK}
    assert set(tables.images["image_clip_state"]) == {"no_weights"}
    in_a_pool = replace(look, journal=tmp_path / "pool" / "journal.sqlite")(n_workers=1)
    for name, outcome in second.items():
        assert outcome.readings is not None
        assert in_a_pool[name].readings is not None
        assert set(outcome.readings.image) == set(in_a_pool[name].readings.image)
        for column in ("image_inception", "image_sifid"):
            np.testing.assert_array_equal(outcome.readings.image[column], in_a_pool[name].readings.image[column])


def test_without_weights_the_traits_are_listed_as_not_measured(
    arms: Mapping[str, Path],
) -> None:
    found = rows_of(arms["fed"], "image_fid")
    assert found["value"].isna().all()
    assert (found["n_measured"] == 0).all()
    erosion = pd.read_csv(arms["fed"] / "measures" / "erosion.csv").set_index("trait")
    assert set(erosion.loc[sorted(TRAITS), "verdict"]) == {"not_measured"}
    assert not (arms["fed"] / "measures" / "features").exists()
    assert all(len(vector) == 0 for vector in load_tables(arms["fed"] / "measures").images["image_inception"])


def test_the_same_command_again_reads_nothing_and_other_weights_count_as_a_change(
    measured: Path, tiny_weights: Path
) -> None:
    assert measure(measured, settings_with(tiny_weights)).n_read == 0
    record = json.loads((measured / "measures" / "run.json").read_text())
    assert set(record["networks"]) == set(NETWORKS)
    # Tiny vectors of 10 numbers have full rank with 26 pictures; those of DINOv2, of 16, too.
    assert not [note for note in record["notes"] if "rank" in note]
    few = load_tables(measured / "measures").images.groupby("generation").head(10)
    assert [note.partition(":")[0] for note in notes_on_rank(few)] == ["FID", "FD on DINOv2"]
    weights = [model for model in record["models"] if model["purpose"] == "yardstick"]
    assert all(len(model["sha256"]) == 64 and model["licence"] for model in weights)


def test_runs_measured_with_other_weights_are_not_compared(measured: Path) -> None:
    arm = load_arm(measured, "one")
    assert set(arm.networks) == set(NETWORKS)
    check_comparable([arm, replace(arm, name="two", networks={})])  # there the traits are simply not measured
    with pytest.raises(DecayError, match="different weights or versions of clip"):
        check_comparable([arm, replace(arm, name="two", networks=dict(arm.networks) | {"clip": "other"})])


def test_a_picture_that_a_network_cannot_take_costs_that_picture_alone(tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for generation in range(2):
        (run / f"gen_{generation:02d}").mkdir(parents=True)
        for slot in range(3):
            pixels = drawn(generation, slot)
            shown = pixels[:1, :1] if (generation, slot) == (0, 1) else pixels  # one pixel: no map before the pooling
            write_png(run / f"gen_{generation:02d}" / f"{slot}.png", shown)
    look = Look(run, tmp_path / "weights", tmp_path / "journal.sqlite")
    look.root.mkdir()
    shutil.copy(tiny_weights / NETWORKS["sifid"].files[0], look.root)
    images = build_tables(load_lineage(run), look()).images.set_index("image")
    assert images.loc["gen_00/1.png", "image_sifid_state"] == "failed"
    assert images.loc["gen_01/1.png", "image_sifid_state"] == "no_pair"
    assert (
        images.loc[["gen_00/0.png", "gen_00/2.png", "gen_01/0.png", "gen_01/2.png"], "image_sifid_state"] == OK
    ).all()
    assert (images.loc[["gen_00/0.png", "gen_00/2.png"], "image_sifid_apart"] > 0).all()
