"""The words every detector speaks: what is looked at, what is read off it, what a generation's readings mean.

A *family* is one file in this folder that ends in ``FAMILY = Family(...)``. It declares its
*readings* (numbers with units read off one subject, or the state that says why not) and its
*traits* (a generation's statistic over those readings). Nothing else has to be edited to add one:
``detectors.registry`` finds it, and the tables, charts and documents pick it up.

Coordinates everywhere: pixels of the native image, origin at the centre of the top-left pixel,
x to the right, y downward. ``left`` and ``right`` are sides of the image, never of the person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Subject = Literal["image", "face", "eye", "hand"]
Side = Literal["image_left", "image_right"]
Group = Literal["eyes", "hands", "face", "light", "image"]
ReadingKind = Literal["number", "word", "vector"]
Direction = Literal["higher", "lower", "reference"]
"""Which way is healthy: ``reference`` means that departure from the reference, either way, is decay."""
TraitKind = Literal["level", "location"]
"""``level``: retention is (value - floor) / (reference - floor).
``location``: retention is 1 - |signed Wasserstein-1 shift of the first reading| in reference spreads."""
Resampling = Literal["bootstrap", "half"]
"""``bootstrap``: slots drawn with replacement. ``half``: half of the slots without replacement, for
statistics that duplicates would spoil (nearest neighbours, Vendi score); the spread of a half-sample
estimate about the full one equals the standard error at full size (Politis & Romano 1994)."""

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]
Vector = NDArray[np.float32]
Value = float | str | Vector

_S = TypeVar("_S")
_T = TypeVar("_T")

OK = "ok"
PAIRED = ("own", "other")
"""After an extractor's name: its vector of the reference's picture of the same slot, and of the next slot."""
NAME_PATTERN = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
FAMILY_PREFIXES = (
    "catchlight",
    "iris",
    "gaze",
    "hand",
    "finger",
    "face",
    "lighting",
    "expression",
    "skin",
    "image",
)


# --------------------------------------------------------------------------- what is looked at


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in pixels, edges inclusive of their half-pixel: x0 < x1, y0 < y1. May leave the image."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"a box needs x0 < x1 and y0 < y1, got {self}")

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0


@dataclass(frozen=True)
class Circle:
    """A circle in pixels; ``radius`` > 0."""

    x: float
    y: float
    radius: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y) and self.radius > 0):
            raise ValueError(f"a circle needs a finite centre and a positive radius, got {self}")


@dataclass(frozen=True)
class Eye:
    """One eye of one face.

    ``lid_px``: float64 (16, 2), the lid margin as a closed polygon. ``mesh_iris_px``: float64 (5, 2),
    the landmark model's iris centre and its four ring points, *before* refinement. ``limbus``: the
    iris circle refined on pixels, None unless ``limbus_state`` is ``ok``.
    """

    side: Side
    lid_px: Points
    mesh_iris_px: Points
    limbus: Circle | None
    limbus_state: str

    def __post_init__(self) -> None:
        _check_shape("lid_px", self.lid_px, (16, 2))
        _check_shape("mesh_iris_px", self.mesh_iris_px, (5, 2))
        if (self.limbus is None) == (self.limbus_state == OK):
            raise ValueError(f"limbus must be given exactly when its state is ok, got {self.limbus_state!r}")


@dataclass(frozen=True)
class Face:
    """One face. ``landmarks_px``: float64 (478, 3), MediaPipe's face mesh with irises; z in pixels, smaller is nearer.

    ``yaw_deg`` > 0: turned toward the image's right. ``pitch_deg`` > 0: looking up. ``roll_deg`` > 0:
    the eye axis rotated clockwise as seen in the image. ``eyes``: image-left first.
    ``embedding``: float32 (d,), unit length, or None; ``embedder``: who made it; ``same_person_cosine``: the similarity
    above which it takes two faces for one person, NaN where it cannot tell persons.
    ``quality``: 0..1, how face-like (detector score); ``state``: ``ok``, or why its readings are void.
    """

    box: Box
    landmarks_px: Points
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    quality: float
    eyes: tuple[Eye, Eye]
    embedding: Vector | None = None
    embedder: str = ""
    same_person_cosine: float = math.nan
    state: str = OK

    def __post_init__(self) -> None:
        _check_shape("landmarks_px", self.landmarks_px, (478, 3))
        if (self.eyes[0].side, self.eyes[1].side) != ("image_left", "image_right"):
            raise ValueError("eyes must be given image-left first")


@dataclass(frozen=True)
class Hand:
    """One hand. ``landmarks_px``: float64 (21, 3), z in pixels, or None where only the palm was found.

    ``palm_px``: float64 (7, 2), the palm detector's key points, or None where only landmarks are known.
    ``score``: 0..1 of whichever was found. ``side``: the hand's own ``left``/``right`` as the model says, or "".
    """

    box: Box
    landmarks_px: Points | None
    palm_px: Points | None
    score: float
    side: str

    def __post_init__(self) -> None:
        if self.landmarks_px is not None:
            _check_shape("landmarks_px", self.landmarks_px, (21, 3))
        if self.palm_px is not None:
            _check_shape("palm_px", self.palm_px, (7, 2))
        if self.landmarks_px is None and self.palm_px is None:
            raise ValueError("a hand needs landmarks or a palm")


@dataclass(frozen=True)
class View:
    """All that the detectors see of one image: sRGB uint8 (h, w, 3), RGB order, with everything found in it.

    ``features``: vectors that large networks made of the whole picture, by the extractor's name; empty where their
    weights are not at hand.
    """

    pixels: Pixels
    faces: tuple[Face, ...] = ()
    hands: tuple[Hand, ...] = ()
    features: Mapping[str, Vector] = field(default_factory=dict)
    _kept: dict[tuple[object, int], tuple[object, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"pixels must be uint8 (h, w, 3), got {self.pixels.dtype} {self.pixels.shape}")

    def once(self, make: Callable[[Pixels, _S], _T], subject: _S) -> _T:
        """``make(pixels, subject)``, made when a family first asks for it and kept for the others."""
        key = (make, id(subject))
        if key not in self._kept:
            self._kept[key] = (subject, make(self.pixels, subject))  # with the subject, whose id is its own while kept
        made: _T = self._kept[key][1]
        return made


# --------------------------------------------------------------------------- what is read


@dataclass(frozen=True)
class Reading:
    """Declaration of one column read off one subject. ``low``..``high`` is the closed range of an ``ok`` number."""

    name: str
    subject: Subject
    label: str
    unit: str
    kind: ReadingKind = "number"
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True)
class Measurement:
    """What one family read off one subject.

    ``values`` holds every reading declared for that subject when ``state`` is ``ok`` and is empty
    otherwise. A family of faces that also reads each eye puts those two in ``eyes``, image-left first.
    """

    state: str
    values: Mapping[str, Value] = field(default_factory=dict)
    eyes: tuple[Measurement, Measurement] | None = None

    def __post_init__(self) -> None:
        _check_name(self.state)
        if (self.state == OK) is False and self.values:
            raise ValueError(f"a measurement in state {self.state!r} carries no values, got {sorted(self.values)}")


# --------------------------------------------------------------------------- what a generation's readings mean


@dataclass(frozen=True)
class Sample:
    """The measured subjects of one generation: ``columns`` maps reading or ``<family>_state`` to (n,) or (n, d).

    Numbers are float64, words are object, vectors float32 (n, d). ``groups``: object (n,), the prompt group.
    """

    columns: Mapping[str, NDArray[np.generic]]
    groups: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers as float64 (n,)."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def vectors(self, name: str) -> NDArray[np.float32]:
        """A column of vectors as float32 (n, d)."""
        return np.asarray(self.columns[name], dtype=np.float32)

    def take(self, rows: NDArray[np.intp]) -> Sample:
        """The subjects at these positions, in this order, as often as they are named."""
        return Sample({name: column[rows] for name, column in self.columns.items()}, self.groups[rows])


Statistic = Callable[[Sample, Sample], float]
"""(generation, reference) -> value. NaN where the sample is too small to say."""
Counts = NDArray[np.float64]
"""(B, n): how often each of n subjects was drawn in each of B resamples."""


@dataclass(frozen=True)
class ResampledStatistic:
    """A statistic that can also tell its value in many resamples at once; plain functions are called once for each.

    ``over``: (sample, counts) -> (B,), what ``once`` gives with the subjects repeated as ``counts`` says.
    ``is_scale``: it grows in proportion with its readings, so that its error is a share of its value.
    """

    once: Callable[[Sample, Sample], float]
    over: Callable[[Sample, Counts], NDArray[np.float64]]
    is_scale: bool = False

    def __call__(self, sample: Sample, reference: Sample) -> float:
        """The value of one sample."""
        return self.once(sample, reference)


Rows = NDArray[np.intp]
"""(n,): positions of subjects within their sample; none of them twice, unless slots are drawn with replacement."""


@dataclass(frozen=True)
class PreparedStatistic:
    """A statistic of which much is the same in every resample of a generation, such as how alike its subjects are.

    ``prepare``: (generation, reference) -> what tells the value of some of their subjects: (rows of the generation,
    rows of the reference) -> value, as if the samples held no others.
    """

    prepare: Callable[[Sample, Sample], Callable[[Rows, Rows], float]]

    def __call__(self, sample: Sample, reference: Sample) -> float:
        """The value of one sample."""
        return self.prepare(sample, reference)(np.arange(len(sample)), np.arange(len(reference)))


@dataclass(frozen=True)
class Comparison:
    """A statistic that sets a generation beside the reference, and so means something only against what chance shows.

    ``once``: (generation, reference) -> value.
    ``over``: (generation, reference, counts (B, n), counts (B, m)) -> the value, and (B,) the value with the n subjects
    of the generation and the m of the reference drawn as often as the counts say, exactly or to first order.
    ``itself``: (reference, rng) -> what the reference is held to: the value that another sample of its own population,
    of its size, would show. Compared with itself a sample is nearer than any other can be.
    ``floor``: reference -> the value at which nothing is left; ``floor_in_words``: what that is.
    """

    once: Callable[[Sample, Sample], float]
    over: Callable[[Sample, Sample, Counts, Counts], tuple[float, NDArray[np.float64]]]
    itself: Callable[[Sample, np.random.Generator], float]
    floor: Callable[[Sample], float]
    floor_in_words: str

    def __call__(self, sample: Sample, reference: Sample) -> float:
        """The value of one generation against the reference."""
        return self.once(sample, reference)


@dataclass(frozen=True)
class ErrorRates:
    """How often a yes/no reading errs: counts on labelled material that the detector was not tuned on.

    Of ``n_positive`` true cases ``n_found`` were read as such; of ``n_negative`` true non-cases ``n_false`` were
    read as cases. A case is the event whose share the trait states: for "hands with the right count" it is the right
    hand, not the faulty one. ``source``: in words, what was counted. Raises ValueError for impossible counts.
    """

    n_positive: int
    n_found: int
    n_negative: int
    n_false: int
    source: str

    def __post_init__(self) -> None:
        if not (0 <= self.n_found <= self.n_positive and self.n_positive > 0):
            raise ValueError(f"expected 0 <= n_found <= n_positive, and n_positive > 0; got {self}")
        if not (0 <= self.n_false <= self.n_negative and self.n_negative > 0):
            raise ValueError(f"expected 0 <= n_false <= n_negative, and n_negative > 0; got {self}")
        if not self.source:
            raise ValueError("error rates name their source")

    @property
    def sensitivity(self) -> float:
        """Share of the true cases that are read as such, 0..1."""
        return self.n_found / self.n_positive

    @property
    def specificity(self) -> float:
        """Share of the true non-cases that are read as such, 0..1."""
        return 1.0 - self.n_false / self.n_negative


@dataclass(frozen=True)
class Trait:
    """A generation's statistic over the readings of its subjects.

    ``readings``: the columns the statistic uses (a ``<family>_state`` column is allowed).
    ``measured_states``: states that count as measured (``no_highlight`` is a measured zero).
    ``floor``: the value at which nothing is left (unused for ``location``; NaN for a ``Comparison``, which tells it
    from the reference). ``n_min``: below this many measured subjects no value is given. ``expects``: only images that
    are expected to show this subject count.
    ``equal_n``: the value depends on sample size; compare generations at the size of the smallest. A ``Comparison``
    brings the reference to that size too.
    ``n_most``: of a generation with more measured subjects so many stand for all, of slots drawn by chance, the same
    in all generations: for statistics of pairs, whose time and memory grow with the square of the number.
    ``resolution``: for ``location``, the error of one reading; a reference that varies by less is taken to vary by
    this much, so that noise is not counted in units of next to nothing.
    ``limits``: in words, where the trait stops meaning anything.
    ``errors``: how often the yes/no reading behind a share errs; the share is then corrected for it. Shares only.
    ``sided``: it means left against right, so that mirror images among the training pictures change it by themselves.
    ``is_share``: it is the share of its subjects that a yes/no reading says yes to, whatever its unit.
    """

    name: str
    subject: Subject
    label: str
    unit: str
    direction: Direction
    floor: float
    source: str
    readings: tuple[str, ...]
    statistic: Statistic
    kind: TraitKind = "level"
    measured_states: tuple[str, ...] = (OK,)
    n_min: int = 6
    expects: Literal["face", "hand"] | None = None
    equal_n: bool = False
    n_most: int | None = None
    resampling: Resampling = "bootstrap"
    bounds: tuple[float, float] = (-math.inf, math.inf)
    resolution: float = 0.0
    limits: str = ""
    errors: ErrorRates | None = None
    sided: bool = False
    is_share: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.readings:
            raise ValueError(f"{self.name}: a trait needs at least one reading")
        if not self.source:
            raise ValueError(f"{self.name}: a trait names its source")
        if self.kind == "location" and self.direction != "reference":
            raise ValueError(f"{self.name}: a location trait has direction 'reference'")
        if self.resolution and self.kind != "location":
            raise ValueError(f"{self.name}: only a location trait has a resolution")
        of_subjects = self.kind == "level" and self.resampling == "bootstrap" and not self.equal_n
        is_scale = isinstance(self.statistic, ResampledStatistic) and self.statistic.is_scale
        if self.is_share and (is_scale or not of_subjects or self.bounds != (0.0, 1.0)):
            raise ValueError(f"{self.name}: a share of subjects is a level within 0..1, resampled, and no spread")
        if isinstance(self.statistic, Comparison) and self.kind != "level":
            raise ValueError(f"{self.name}: a comparison is a level")
        if self.errors and not self.is_share:
            raise ValueError(f"{self.name}: error rates are for shares of a yes/no reading (see is_share)")

    @property
    def floor_in_words(self) -> str:
        """Where nothing is left: a number, or what it follows from."""
        if isinstance(self.statistic, Comparison):
            return self.statistic.floor_in_words
        return "1 spread away" if self.kind == "location" else f"{self.floor:g}"


Measure = Callable[[View, Face | Hand | None], Measurement]
"""(view, subject) -> measurement. The subject is a Face, a Hand, or None for families of the whole image."""


@dataclass(frozen=True)
class Family:
    """One file's worth of readings and traits.

    ``subject`` is what ``measure`` is called with, once each: ``image``, ``face`` or ``hand``. Eyes are
    measured with their face. ``states``: every state ``measure`` can return, each with its meaning.
    ``features``: the extractor whose vectors it reads in place of pixels, "" for none.
    ``lender``: the family of the same subject whose readings and states its traits use, "" for its own;
    ``borrowed``: those readings.
    """

    name: str
    group: Group
    subject: Literal["image", "face", "hand"]
    readings: tuple[Reading, ...]
    states: Mapping[str, str]
    measure: Measure
    traits: tuple[Trait, ...]
    features: str = ""
    lender: str = ""
    borrowed: tuple[Reading, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.group not in get_args(Group):
            raise ValueError(f"{self.name}: unknown group {self.group!r}")
        prefix = self.name.split("_")[0]
        if prefix not in FAMILY_PREFIXES:
            raise ValueError(f"{self.name}: a family's name begins with one of {', '.join(FAMILY_PREFIXES)}")
        known = {reading.name for reading in (*self.readings, *self.borrowed)} | {self.state_column}
        for trait in self.traits:
            if not trait.name.startswith(prefix + "_"):
                raise ValueError(f"{trait.name}: trait names of family {self.name} begin with {prefix}_")
            unknown = set(trait.readings) - known
            if unknown:
                raise ValueError(f"{trait.name}: reads undeclared columns {sorted(unknown)}")
        if OK not in self.states:
            raise ValueError(f"{self.name}: states must contain 'ok'")

    @property
    def state_column(self) -> str:
        """The column that holds what became of each subject."""
        return f"{self.lender or self.name}_state"

    @property
    def reads_eyes(self) -> bool:
        """Whether ``measure`` also reads both eyes of its face."""
        return any(reading.subject == "eye" for reading in self.readings)

    def readings_of(self, subject: Subject) -> tuple[Reading, ...]:
        """The readings declared for one kind of subject."""
        return tuple(reading for reading in self.readings if reading.subject == subject)


def _check_name(name: str) -> None:
    if not NAME_PATTERN.match(name):
        raise ValueError(f"names are lower case words joined by underscores, got {name!r}")


def _check_shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(np.asarray(array, dtype=np.float64)).all():
        raise ValueError(f"{name} must be finite")
