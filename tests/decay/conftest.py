"""Measured runs that several tests read: real detectors on drawn faces, each picture read once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from decay.cloud import Cloud
from decay.conclude import conclude
from decay.images import write_png
from decay.journal import Journal
from decay.lineage import load_lineage, with_reference
from decay.models import list_models
from decay.phantom import Population, draw_face
from decay.read import hash_lineage, read_lineage
from decay.reader_version import reader_version
from decay.results import write_record, write_tables
from decay.settings import MeasureSettings
from decay.workers.here import Here
from decay.workers.job import ReaderSpec
from decay.workers.task import start_reader
from detectors.packs import embedder_name

N_SLOTS = 16
SMALL = MeasureSettings(n_resamples=60)


@pytest.fixture(scope="session")
def arms(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Mapping[str, Path]:
    """Three measured runs of the same sixteen drawn people, none of whom changes until all of them are the first one.

    That is from generation 1 on (``fed``), from 2 on (``mixed``), never (``real_data``).
    """
    root = tmp_path_factory.mktemp("arms")
    people = root / "people"
    people.mkdir()
    for slot in range(N_SLOTS):
        person = Population().sample_face(np.random.default_rng([3, slot]))
        write_png(people / f"{slot:03d}.png", draw_face(person, 256, np.random.default_rng(slot))[0])
    runs = {"fed": 1, "mixed": 2, "real_data": 3}
    return {name: write_run(lineage_of(people, root / name, collapse)) for name, collapse in runs.items()}


@pytest.fixture(scope="session")
def write_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(run, reference=None) -> the run, with every table and record under ``measures/``, but no chart and no page."""
    version = reader_version(list_models(None, None), embedder_name(None))
    known = tmp_path_factory.mktemp("journal") / "journal.sqlite"

    def write(run: Path, reference: Path | None = None) -> Path:
        lineage = load_lineage(run)
        lineage = with_reference(lineage, reference) if reference else lineage
        with Journal(known) as journal, Here(lambda: start_reader(ReaderSpec())) as workers:
            outcomes = read_lineage(hash_lineage(lineage), journal, version, workers)
        results = conclude(lineage, outcomes, SMALL)
        folder = run / "measures"
        folder.mkdir(exist_ok=True)
        write_tables(results, folder)
        write_record(folder / "run.json", {"reader": version, "settings": asdict(SMALL)})
        shutil.copy(known, folder)
        return run

    return write


@pytest.fixture(scope="session")
def a_cloud() -> Callable[..., Cloud]:
    """(vectors by generation, -1 for the reference; groups by slot) -> a slot and a file of its own for each vector."""

    def make(vectors: Mapping[int, np.ndarray], group_of: Mapping[int, str] | None = None) -> Cloud:
        rows = [
            {"generation": g, "image": f"{g}/{slot:03d}.png", "slot": f"{slot:03d}", "sha256": f"{g}-{slot}",
             "group": (group_of or {}).get(slot, ""), "vector": vector.astype(np.float32)}
            for g, own in vectors.items()
            for slot, vector in enumerate(own)
        ]  # fmt: skip
        frame = pd.DataFrame(rows)
        return Cloud("test", frame, frame.drop(columns="vector"), min(vectors))

    return make


def lineage_of(people: Path, root: Path, collapse: int, n_generations: int = 3) -> Path:
    """Generations of these pictures; from ``collapse`` on, every one of them is the first."""
    for generation in range(n_generations):
        folder = root / f"gen_{generation:02d}"
        folder.mkdir(parents=True)
        for slot in range(N_SLOTS):
            source = people / f"{0 if generation >= collapse else slot:03d}.png"
            shutil.copy(source, folder / f"{slot:03d}.png")
    return root


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of every network that sees whole pictures: theirs in shape, tiny, with random weights."""
    import torch
    from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.jit.script(_tiny_inception()).save(str(root / "inception-2015-12-05.pt"))
        layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        tokenizer = _tiny_tokenizer()
        text = layers | {"vocab_size": len(tokenizer), "max_position_embeddings": 24}
        ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        vision = layers | {"image_size": 32, "patch_size": 8}
        clip = CLIPConfig(text_config=text | ids, vision_config=vision, projection_dim=12)
        CLIPModel(clip).save_pretrained(root / "clip")
        tokenizer.save_pretrained(root / "clip")
        Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **layers)).save_pretrained(root / "dinov2")
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    (root / "clip" / "preprocessor_config.json").write_text(json.dumps(sizes))
    return root


def _tiny_inception() -> Any:
    """With the parts that are addressed in the published file: features before the first pooling, and of the whole."""
    import torch
    from torch import nn

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, stride=2)
            self.conv_1 = nn.Conv2d(4, 4, 3)
            self.conv_2 = nn.Conv2d(4, 6, 3)
            self.pool0 = nn.MaxPool2d(3, 2)
            self.conv_3 = nn.Conv2d(6, 8, 1)
            self.conv_4 = nn.Conv2d(8, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.conv_2(torch.relu(self.conv_1(torch.relu(self.conv(x))))))
            return torch.relu(self.conv_4(torch.relu(self.conv_3(self.pool0(x))))).mean(dim=(2, 3))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = Layers()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

    return Network().eval()


def _tiny_tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "a", "red", "green", "blue", "bright", "dark", "picture"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
