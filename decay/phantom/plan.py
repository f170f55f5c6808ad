"""Which traits decay, from which generation on, how fast and how far: plans, and how a plan changes one subject.

A *channel* is one trait that can decay. Its *kept share* is 1 before the onset and halves every ``half_life``
generations from then on, toward a floor::

    kept(g) = 1                                                     for g < onset
    kept(g) = floor + (1 - floor) * 2 ** (-(g - onset + 1) / half_life)   from the onset on

so that the onset is the first generation in which anything has changed. What a kept share of 0 looks like
is said by each channel's description in ``CHANNELS``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from decay.errors import DecayError
from decay.phantom.parameters import (
    FINGERS,
    EyeParameters,
    FaceParameters,
    FingerPose,
    Fusion,
    Glint,
    HandParameters,
)
from decay.phantom.population import Population, glint_offset, offset_to_glint
from decay.toml import parse_toml, read_toml_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COMMITTEE = FaceParameters()
"""The one face on which a collapsing population converges: every parameter at its default."""

Draws = np.random.Generator
"""Random numbers that belong to one slot and channel: the same in every generation, so that loss is never undone."""


@dataclass(frozen=True)
class Decay:
    """How one channel decays: ``onset`` (generation, 1 or later), ``half_life`` in generations, ``floor`` 0 to 1."""

    onset: int
    half_life: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not self.onset >= 1 or not self.half_life > 0 or not 0.0 <= self.floor < 1.0:
            raise DecayError(
                "A decay wants onset >= 1 (generation 0 is the reference), half_life > 0 and 0 <= floor < 1; "
                f"got onset {self.onset}, half_life {self.half_life}, floor {self.floor}. Correct the plan."
            )

    def kept(self, generation: int) -> float:
        """Share of the trait that is left in ``generation``, 1 to floor."""
        if generation < self.onset:
            return 1.0
        return self.floor + (1.0 - self.floor) * float(0.5 ** ((generation - self.onset + 1) / self.half_life))


@dataclass(frozen=True)
class Plan:
    """A lineage's fate. ``frac_hands``: share of the slots that show a hand instead of a face.

    ``same_people``: a slot shows the same person in every generation; otherwise each generation draws new people.
    """

    name: str
    description: str
    decays: Mapping[str, Decay] = field(default_factory=dict)
    population: Population = field(default_factory=Population)
    frac_hands: float = 0.35
    same_people: bool = True

    def __post_init__(self) -> None:
        unknown = sorted(set(self.decays) - set(CHANNELS))
        if unknown:
            raise DecayError(
                f"plan {self.name}: no channel is called {', '.join(unknown)}. Channels: {', '.join(sorted(CHANNELS))}."
            )
        if not 0.0 <= self.frac_hands <= 1.0:
            raise DecayError(f"plan {self.name}: frac_hands is a share from 0 to 1, got {self.frac_hands}. Correct it.")

    def kept(self, generation: int) -> dict[str, float]:
        """Kept share of every planned channel in ``generation``."""
        return {name: decay.kept(generation) for name, decay in self.decays.items()}

    def decay_face(self, face: FaceParameters, generation: int, seed: int, slot: int) -> FaceParameters:
        """``face`` as this plan leaves it in ``generation``."""
        for name, kept in self.kept(generation).items():
            change = CHANNELS[name].face
            if change is not None and kept < 1.0:
                face = change(face, kept, _draws(seed, slot, name))
        return face

    def decay_hand(self, hand: HandParameters, generation: int, seed: int, slot: int) -> HandParameters:
        """``hand`` as this plan leaves it in ``generation``."""
        for name, kept in self.kept(generation).items():
            change = CHANNELS[name].hand
            if change is not None and kept < 1.0:
                hand = change(hand, kept, _draws(seed, slot, name))
        return hand

    def to_json(self) -> dict[str, Any]:
        """The plan as it is written into lineage.json."""
        decays = {
            name: {"onset": d.onset, "half_life": d.half_life, "floor": d.floor} for name, d in self.decays.items()
        }
        return {
            "name": self.name,
            "description": self.description,
            "frac_hands": self.frac_hands,
            "same_people": self.same_people,
            "population": asdict(self.population),
            "decay": decays,
        }


@dataclass(frozen=True)
class Channel:
    """One trait that can decay. ``description``: what is left at a kept share of 0."""

    description: str
    face: Callable[[FaceParameters, float, Draws], FaceParameters] | None = None
    hand: Callable[[HandParameters, float, Draws], HandParameters] | None = None


def _draws(seed: int, slot: int, channel: str) -> Draws:
    return np.random.default_rng([seed, slot, zlib.crc32(channel.encode())])


Part = TypeVar("Part", bound="DataclassInstance")


def _toward(part: Part, goal: Part, kept: float, names: tuple[str, ...] = ()) -> Part:
    """Move the numbers ``names`` (default: all) of a dataclass toward ``goal``, keeping a share of the distance."""
    chosen = names or tuple(name for name, value in vars(part).items() if isinstance(value, float))
    moved = {name: getattr(goal, name) + kept * (getattr(part, name) - getattr(goal, name)) for name in chosen}
    return replace(part, **moved)


def _mix_hex(colour: str, goal: str, kept: float) -> str:
    mixed = [
        round(int(goal[i : i + 2], 16) + kept * (int(colour[i : i + 2], 16) - int(goal[i : i + 2], 16)))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{code:02x}" for code in mixed)


# --------------------------------------------------------------------------- eyes


def _each_glint(face: FaceParameters, change: Callable[[Glint], Glint]) -> FaceParameters:
    left, right = (replace(eye, glints=tuple(change(glint) for glint in eye.glints)) for eye in face.eyes)
    return replace(face, eyes=(left, right))


def _each_eye(face: FaceParameters, change: Callable[[EyeParameters, EyeParameters], EyeParameters]) -> FaceParameters:
    left, right = (change(eye, goal) for eye, goal in zip(face.eyes, COMMITTEE.eyes, strict=True))
    return replace(face, eyes=(left, right))


def _glint_presence(face: FaceParameters, kept: float, draws: Draws) -> FaceParameters:
    return _each_eye(face, lambda eye, _: replace(eye, glints=())) if draws.uniform() >= kept else face


def _glint_count(face: FaceParameters, kept: float, draws: Draws) -> FaceParameters:
    return _each_eye(face, lambda eye, _: replace(eye, glints=eye.glints[:1])) if draws.uniform() >= kept else face


def _glint_asymmetry(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    left, right = face.eyes
    pairs = [
        ((a, b), 0.5 * (glint_offset(a) + glint_offset(b))) for a, b in zip(left.glints, right.glints, strict=False)
    ]

    def moved(side: int) -> tuple[Glint, ...]:
        glints = ((pair[side], middle) for pair, middle in pairs)
        return tuple(offset_to_glint(glint, middle + kept * (glint_offset(glint) - middle)) for glint, middle in glints)

    return replace(
        face,
        eyes=(
            replace(left, glints=moved(0) + left.glints[len(pairs) :]),
            replace(right, glints=moved(1) + right.glints[len(pairs) :]),
        ),
    )


def _glint_clock(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    def turn(glint: Glint) -> Glint:
        from_top = (glint.clock_deg + 180.0) % 360.0 - 180.0
        return replace(glint, clock_deg=(kept * from_top) % 360.0)

    return _each_glint(face, turn)


def _glint_eccentricity(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_glint(face, lambda glint: replace(glint, rho=kept * glint.rho))


def _glint_contrast(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_glint(face, lambda glint: replace(glint, intensity=kept * glint.intensity))


def _glint_colour(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_glint(face, lambda glint: replace(glint, colour=_mix_hex(glint.colour, "#ffffff", kept)))


def _glint_size(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_glint(face, lambda glint: _toward(glint, Glint(), kept, ("radius",)))


def _iris_colour(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_eye(
        face, lambda eye, goal: replace(eye, iris_colour=_mix_hex(eye.iris_colour, goal.iris_colour, kept))
    )


def _iris_size(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_eye(face, lambda eye, goal: _toward(eye, goal, kept, ("iris_radius_mm", "pupil_share")))


def _gaze(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return _each_eye(face, lambda eye, goal: _toward(eye, goal, kept, ("gaze_x_deg", "gaze_y_deg")))


# --------------------------------------------------------------------------- face, light, image


def _face_shape(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, shape=_toward(face.shape, COMMITTEE.shape, kept))


def _face_identity(face: FaceParameters, kept: float, draws: Draws) -> FaceParameters:
    face = _iris_colour(_face_shape(face, kept, draws), kept, draws)
    hair = replace(
        _toward(face.hair, COMMITTEE.hair, kept), colour=_mix_hex(face.hair.colour, COMMITTEE.hair.colour, kept)
    )
    same = draws.uniform() >= kept
    return replace(face, hair=hair, texture_seed=COMMITTEE.texture_seed if same else face.texture_seed)


def _lighting(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, lighting=_toward(face.lighting, COMMITTEE.lighting, kept))


def _expression(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, expression=_toward(face.expression, COMMITTEE.expression, kept))


def _pose(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, framing=_toward(face.framing, COMMITTEE.framing, kept, ("yaw_deg", "roll_deg", "frame_mm")))


def _skin_tone(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, skin=_toward(face.skin, COMMITTEE.skin, kept, ("lightness", "hue_deg", "chroma")))


def _skin_texture(face: FaceParameters, kept: float, _: Draws) -> FaceParameters:
    return replace(face, skin=replace(face.skin, texture=kept * face.skin.texture))


AnySubject = TypeVar("AnySubject", FaceParameters, HandParameters)


def _contrast(subject: AnySubject, kept: float, _: Draws) -> AnySubject:
    return replace(subject, camera=replace(subject.camera, contrast=kept * subject.camera.contrast))


def _saturation(subject: AnySubject, kept: float, _: Draws) -> AnySubject:
    return replace(subject, camera=replace(subject.camera, saturation=kept * subject.camera.saturation))


def _sharpness(subject: AnySubject, kept: float, _: Draws) -> AnySubject:
    return replace(subject, camera=replace(subject.camera, blur_mm=subject.camera.blur_mm / max(kept, 0.05)))


# --------------------------------------------------------------------------- hands


def _finger_fusion(hand: HandParameters, kept: float, draws: Draws) -> HandParameters:
    lost, creased = draws.uniform(size=4) >= kept, draws.uniform(size=4) < 0.25
    fused: list[Fusion | None] = []
    for i, before in enumerate(hand.fused):
        both = hand.fingers[i] == hand.fingers[i + 1] == "extended"
        fused.append(("crease" if creased[i] else "plain") if lost[i] and both else before)
    return replace(hand, fused=tuple(fused))


def _finger_missing(hand: HandParameters, kept: float, draws: Draws) -> HandParameters:
    lost = draws.uniform(size=len(FINGERS)) >= kept
    fingers: tuple[FingerPose, ...] = tuple(
        "missing" if gone else pose for pose, gone in zip(hand.fingers, lost, strict=True)
    )
    fused = tuple(f if fingers[i] == fingers[i + 1] == "extended" else None for i, f in enumerate(hand.fused))
    return replace(hand, fingers=fingers, fused=fused)


def _finger_extra(hand: HandParameters, kept: float, draws: Draws) -> HandParameters:
    return replace(hand, n_extra=hand.n_extra + int((draws.uniform(size=2) >= kept).sum()))


def _hand_presence(hand: HandParameters, kept: float, draws: Draws) -> HandParameters:
    return replace(hand, present=False) if draws.uniform() >= kept else hand


def _hand_pose(hand: HandParameters, kept: float, _: Draws) -> HandParameters:
    return _toward(hand, HandParameters(), kept, ("rotation_deg", "yaw_deg", "pitch_deg", "spread_deg", "frame_mm"))


CHANNELS: dict[str, Channel] = {
    "catchlight_presence": Channel("no face has a glint", _glint_presence),
    "catchlight_count": Channel("second and third glints are gone", _glint_count),
    "catchlight_asymmetry": Channel("a glint sits at the same place in both eyes", _glint_asymmetry),
    "catchlight_clock_spread": Channel("every glint stands at 12 o'clock", _glint_clock),
    "catchlight_eccentricity": Channel("every glint sits dead centre", _glint_eccentricity),
    "catchlight_contrast": Channel("glints have faded into the iris", _glint_contrast),
    "catchlight_colour": Channel("every glint is #ffffff", _glint_colour),
    "catchlight_size": Channel("every glint is equally large", _glint_size),
    "iris_colour_spread": Channel("one colour of eyes", _iris_colour),
    "iris_size_spread": Channel("one size of iris and pupil", _iris_size),
    "gaze_spread": Channel("everyone looks straight ahead, without vergence", _gaze),
    "face_shape_spread": Channel("one bone structure", _face_shape),
    "face_identity_spread": Channel("one person: bones, hair, eyes, skin detail", _face_identity),
    "face_pose_spread": Channel("every head upright, frontal, equally large", _pose),
    "lighting_spread": Channel("one lighting ratio from one side", _lighting),
    "expression_spread": Channel("one mild expression", _expression),
    "skin_tone_spread": Channel("one skin tone", _skin_tone),
    "skin_texture": Channel("skin without texture", _skin_texture),
    "image_contrast": Channel("grey", _contrast, _contrast),
    "image_saturation": Channel("without colour", _saturation, _saturation),
    "image_sharpness": Channel("blurred twentyfold", _sharpness, _sharpness),
    "finger_fusion": Channel("all neighbouring extended fingers fused, a quarter with a crease", None, _finger_fusion),
    "finger_missing": Channel("no fingers", None, _finger_missing),
    "finger_extra": Channel("two digits too many", None, _finger_extra),
    "hand_presence": Channel("an empty sleeve", None, _hand_presence),
    "hand_pose_spread": Channel("every hand upright, equally large and spread", None, _hand_pose),
}

PRESETS: dict[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("healthy", "Nothing decays: the same people a moment later."),
        Plan(
            "null",
            "Generation 0 drawn anew each time, from the same population: no trait may be called eroded.",
            same_people=False,
        ),
        Plan(
            "essay",
            "Asymmetry of the glints goes at 2, by 4 both sit dead centre in one colour; faces, light and expression "
            "converge from 4 on; fingers fuse at 6.",
            {
                "catchlight_asymmetry": Decay(2, 0.6),
                "catchlight_eccentricity": Decay(2, 0.9),
                "catchlight_colour": Decay(3, 0.5),
                "catchlight_size": Decay(3, 0.7),
                "face_shape_spread": Decay(4, 1.2),
                "lighting_spread": Decay(4, 1.5),
                "expression_spread": Decay(4, 1.5),
                "skin_texture": Decay(5, 1.5, 0.2),
                "finger_fusion": Decay(6, 0.5),
            },
        ),
        Plan(
            "hands_first",
            "Fingers fuse from 1 on; the glints follow at 4.",
            {"finger_fusion": Decay(1, 1.0), "catchlight_eccentricity": Decay(4, 1.0)},
        ),
    )
}


def load_plan(name_or_path: str) -> Plan:
    """A preset by name, or a TOML file::

        name = "eyes_only"
        description = "what this is for"
        frac_hands = 0.2
        same_people = true
        [decay.catchlight_eccentricity]
        onset = 2
        half_life = 1.0
        floor = 0.0

    Raises DecayError when there is neither, or when the file says something that a plan cannot.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if not os.path.isfile(path):  # noqa: PTH113  Path.is_file raises for a name that no file can have
        raise DecayError(
            f"A plan is one of {', '.join(PRESETS)} or a TOML file; {name_or_path} is neither. "
            "Name a preset, or check the path."
        )
    return _plan_of(parse_toml(str(path), read_toml_text(path)), path)


def _plan_of(table: Mapping[str, Any], path: Path) -> Plan:
    known = {"name", "description", "frac_hands", "same_people", "decay"}
    if unknown := sorted(set(table) - known):
        raise DecayError(f"{path}: a plan has {', '.join(sorted(known))}; got {', '.join(unknown)}. Remove those keys.")
    try:
        return Plan(
            name=str(table.get("name", path.stem)),
            description=str(table.get("description", "")),
            decays={name: Decay(**entry) for name, entry in table.get("decay", {}).items()},
            frac_hands=float(table.get("frac_hands", 0.35)),
            same_people=bool(table.get("same_people", True)),
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DecayError(
            f"{path}: [decay.NAME] tables hold onset, half_life and floor as numbers, but {error}. Correct the file."
        ) from error
