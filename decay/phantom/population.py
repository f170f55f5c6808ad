"""Who the drawn people are: distributions of every parameter, and how one person varies between pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decay.phantom.canvas import lch_to_linear, linear_to_srgb
from decay.phantom.parameters import (
    FINGERS,
    PAIRS,
    Backdrop,
    BackdropKind,
    Camera,
    Expression,
    ExtraPlace,
    EyeParameters,
    FaceParameters,
    FaceShape,
    FingerPose,
    Framing,
    Fusion,
    Glint,
    GlintShape,
    Hair,
    HandLight,
    HandParameters,
    Lighting,
    Skin,
)

CORNEA_RADIUS_MM = 7.8
"""Radius of curvature of the front of the cornea, which mirrors the lamp (Gullstrand's schematic eye)."""


@dataclass(frozen=True)
class Spread:
    """A normal distribution kept within low..high by redrawing."""

    mean: float
    sd: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One value; the nearest bound after 100 misses."""
        for _ in range(100):
            value = float(rng.normal(self.mean, self.sd))
            if self.low <= value <= self.high:
                return value
        return float(np.clip(self.mean, self.low, self.high))


SHAPES: dict[str, Spread] = {
    "eye_distance_mm": Spread(63.0, 3.0, 55.0, 72.0),
    "eye_width_mm": Spread(29.5, 1.3, 26.0, 33.0),
    "eye_tilt_deg": Spread(3.0, 2.2, -3.0, 8.0),
    "cheek_half_width_mm": Spread(69.0, 3.5, 60.0, 78.0),
    "cheekbone_mm": Spread(5.0, 1.8, 0.5, 10.0),
    "jaw_half_width_mm": Spread(53.0, 3.5, 44.0, 62.0),
    "chin_y_mm": Spread(112.0, 4.5, 101.0, 123.0),
    "nose_length_mm": Spread(43.0, 2.8, 36.0, 50.0),
    "nose_half_width_mm": Spread(16.8, 1.9, 13.0, 22.0),
    "nose_projection_mm": Spread(18.5, 2.6, 12.0, 25.0),
    "mouth_y_mm": Spread(69.0, 2.2, 63.0, 75.0),
    "mouth_half_width_mm": Spread(25.5, 2.2, 20.0, 31.0),
    "lip_height_mm": Spread(7.6, 1.7, 3.5, 12.0),
    "brow_y_mm": Spread(-21.0, 1.8, -26.0, -17.0),
    "brow_height_mm": Spread(7.0, 1.5, 3.5, 11.0),
    "hairline_y_mm": Spread(-64.0, 5.0, -78.0, -52.0),
}
"""Adult means and spreads after published anthropometry (Farkas 1994), rounded."""

IRIS_COLOURS = (
    ("#3b2416", 0.30),
    ("#5a3a22", 0.26),
    ("#7a5532", 0.14),
    ("#6e6040", 0.10),
    ("#54604f", 0.06),
    ("#4f6779", 0.08),
    ("#677884", 0.06),
)
HAIR_COLOURS = (
    ("#15100d", 0.30),
    ("#2c1d14", 0.26),
    ("#4a3020", 0.18),
    ("#7a5535", 0.10),
    ("#b08a56", 0.07),
    ("#8c3b1d", 0.03),
    ("#8f8b86", 0.06),
)
HAND_POSES: tuple[tuple[str, float], ...] = (
    ("five", 0.46),
    ("four", 0.16),
    ("three", 0.12),
    ("two", 0.12),
    ("one", 0.07),
    ("fist", 0.07),
)
EXTENDED: dict[str, tuple[str, ...]] = {
    "five": ("thumb", "index", "middle", "ring", "little"),
    "four": ("index", "middle", "ring", "little"),
    "three": ("index", "middle", "ring"),
    "two": ("index", "middle"),
    "one": ("index",),
    "fist": (),
    "thumb_up": ("thumb",),
    "thumb_index": ("thumb", "index"),
    "thumb_three": ("thumb", "index", "middle"),
    "ok": ("middle", "ring", "little"),
    "rock": ("index", "little"),
    "love": ("thumb", "index", "little"),
    "call": ("thumb", "little"),
    "little": ("little",),
}
VARIED_POSES: tuple[tuple[str, float], ...] = (
    ("five", 0.36),
    ("four", 0.14),
    ("three", 0.07),
    ("two", 0.09),
    ("one", 0.07),
    ("fist", 0.07),
    ("thumb_up", 0.03),
    ("thumb_index", 0.03),
    ("thumb_three", 0.05),
    ("ok", 0.03),
    ("rock", 0.02),
    ("love", 0.01),
    ("call", 0.02),
    ("little", 0.01),
)
FAULTS: tuple[tuple[str, float], ...] = (
    ("none", 0.55),
    ("fused", 0.20),
    ("mitten", 0.06),
    ("missing", 0.10),
    ("extra", 0.09),
)
BACKDROPS: tuple[tuple[str, float], ...] = (
    ("plain", 0.24),
    ("gradient", 0.12),
    ("edge", 0.18),
    ("stripes", 0.07),
    ("checks", 0.06),
    ("clutter", 0.12),
    ("blobs", 0.10),
    ("flesh", 0.11),
)


@dataclass(frozen=True)
class Population:
    """The people of a lineage. ``frac_no_glint``: share of faces lit so softly that no glint shows.
    ``frac_window``: share of main glints that are square, as of a window or a softbox.
    ``nuisance``: how much one person varies from picture to picture (0 = not at all).
    """

    frac_no_glint: float = 0.04
    frac_second_glint: float = 0.18
    frac_window: float = 0.25
    yaw: Spread = Spread(0.0, 4.0, -11.0, 11.0)
    roll: Spread = Spread(0.0, 3.0, -9.0, 9.0)
    frame: Spread = Spread(262.0, 14.0, 235.0, 300.0)
    lightness: Spread = Spread(59.0, 10.0, 34.0, 75.0)
    ratio_stops: Spread = Spread(0.8, 0.45, 0.05, 1.9)
    smile: Spread = Spread(0.25, 0.35, -0.35, 1.0)
    nuisance: float = 1.0

    def sample_face(self, rng: np.random.Generator) -> FaceParameters:
        """One person in one light."""
        yaw = self.yaw.draw(rng)
        side = float(rng.choice([-1.0, 1.0]))
        azimuth, elevation = Spread(36.0, 14.0, 8.0, 65.0).draw(rng), Spread(26.0, 13.0, 0.0, 52.0).draw(rng)
        lightness = self.lightness.draw(rng)
        lighting = Lighting(
            ratio_stops=-side * self.ratio_stops.draw(rng),
            azimuth_deg=azimuth,
            elevation_deg=elevation,
            ambient=float(rng.uniform(0.15, 0.35)),
            exposure=Spread(1.0, 0.08, 0.8, 1.2).draw(rng),
        )
        return FaceParameters(
            eyes=self._eyes(rng, yaw, side * azimuth, elevation),
            shape=FaceShape(**{name: spread.draw(rng) for name, spread in SHAPES.items()}),
            skin=Skin(
                lightness=lightness,
                hue_deg=Spread(57.0, 5.0, 44.0, 70.0).draw(rng),
                chroma=Spread(21.0, 2.5, 14.0, 28.0).draw(rng),
                texture=Spread(1.0, 0.25, 0.4, 1.8).draw(rng),
            ),
            hair=Hair(
                colour=_pick(HAIR_COLOURS if lightness > 56.0 else HAIR_COLOURS[:3], rng),
                length=float(rng.beta(0.7, 0.7)),
                volume_mm=Spread(11.0, 4.0, 4.0, 22.0).draw(rng),
                parting_mm=float(rng.uniform(-28.0, 28.0)),
            ),
            lighting=lighting,
            expression=Expression(
                smile=self.smile.draw(rng),
                mouth_open_mm=0.0,
                brow_raise_mm=Spread(0.0, 1.6, -3.5, 4.5).draw(rng),
            ),
            framing=Framing(
                frame_mm=self.frame.draw(rng),
                yaw_deg=yaw,
                roll_deg=self.roll.draw(rng),
                shift_x=float(rng.normal(0.0, 0.015)),
                shift_y=float(rng.normal(0.0, 0.015)),
            ),
            camera=Camera(blur_mm=float(rng.uniform(0.15, 0.32)), noise=float(rng.uniform(0.6, 2.0))),
            background=_muted(rng, 0.15, 0.8),
            clothes=_muted(rng, 0.08, 0.75),
            texture_seed=int(rng.integers(2**31)),
        )

    def _eyes(
        self, rng: np.random.Generator, yaw_deg: float, azimuth_deg: float, elevation_deg: float
    ) -> tuple[EyeParameters, EyeParameters]:
        """Both eyes look nearly at the camera and mirror the same far light."""
        colour, radius = _pick(IRIS_COLOURS, rng), Spread(5.9, 0.22, 5.3, 6.5).draw(rng)
        pupil = Spread(0.38, 0.07, 0.22, 0.58).draw(rng)
        gaze_x, gaze_y = -0.8 * yaw_deg + rng.normal(0.0, 2.5), rng.normal(0.3, 1.5)
        verge, openness = rng.normal(0.8, 0.5), Spread(1.0, 0.09, 0.78, 1.2).draw(rng)
        shared = self._glints(rng, azimuth_deg, elevation_deg, radius)
        eyes = [
            EyeParameters(
                glints=tuple(_parallax(glint, rng) for glint in shared),
                iris_radius_mm=radius,
                iris_colour=colour,
                pupil_share=pupil,
                gaze_x_deg=float(gaze_x - sign * verge),
                gaze_y_deg=float(gaze_y),
                openness=float(openness + rng.normal(0.0, 0.02)),
            )
            for sign in (-1.0, 1.0)
        ]
        return eyes[0], eyes[1]

    def _glints(
        self, rng: np.random.Generator, azimuth_deg: float, elevation_deg: float, iris_radius_mm: float
    ) -> tuple[Glint, ...]:
        present, second = rng.uniform() >= self.frac_no_glint, rng.uniform() < self.frac_second_glint
        colour = _hex(np.clip(np.array([255.0, rng.normal(250, 4), rng.normal(244, 9)]), 0, 255))
        radius, dimness = Spread(0.145, 0.035, 0.08, 0.24).draw(rng), float(rng.uniform(0.0, 0.12))
        clock, rho = lamp_to_glint(azimuth_deg, elevation_deg, iris_radius_mm)
        other_clock = (360.0 - clock + rng.normal(0.0, 18.0)) % 360.0
        other = Glint(other_clock, float(rng.uniform(0.3, 0.55)), 0.5 * radius, float(rng.uniform(0.45, 0.8)), colour)
        shape: GlintShape = "window" if rng.uniform() < self.frac_window else "disc"
        if not present:
            return ()
        main = Glint(clock, rho, radius, 1.0 - dimness, colour, shape)
        apart = np.hypot(*(glint_offset(main) - glint_offset(other))) > main.radius + other.radius + 0.2
        return (main, other) if second and apart else (main,)

    def vary_face(self, face: FaceParameters, rng: np.random.Generator) -> FaceParameters:
        """The same person a moment later: small changes of pose, gaze, light and parallax."""
        n = self.nuisance
        shift = rng.normal(0.0, n, 8)
        eyes = tuple(
            replace(
                eye,
                gaze_x_deg=eye.gaze_x_deg + 0.4 * float(shift[0]),
                gaze_y_deg=eye.gaze_y_deg + 0.3 * float(shift[1]),
                glints=tuple(_parallax(glint, rng, 0.4 * n) for glint in eye.glints),
            )
            for eye in face.eyes
        )
        return replace(
            face,
            eyes=(eyes[0], eyes[1]),
            framing=replace(
                face.framing,
                yaw_deg=face.framing.yaw_deg + 0.5 * float(shift[2]),
                roll_deg=face.framing.roll_deg + 0.4 * float(shift[3]),
                shift_x=face.framing.shift_x + 0.003 * float(shift[4]),
                shift_y=face.framing.shift_y + 0.003 * float(shift[5]),
            ),
            lighting=replace(face.lighting, ratio_stops=face.lighting.ratio_stops + 0.03 * float(shift[6])),
            expression=replace(face.expression, smile=face.expression.smile + 0.02 * float(shift[7])),
        )

    def sample_hand(self, rng: np.random.Generator) -> HandParameters:
        """One hand showing its palm, held up."""
        pose = _pick(HAND_POSES, rng)
        extended = EXTENDED[pose]
        fingers: tuple[FingerPose, ...] = tuple(
            "extended" if name in extended else "folded" for name in ("thumb", "index", "middle", "ring", "little")
        )
        return HandParameters(
            fingers=fingers,
            spread_deg=Spread(9.0, 2.0, 6.0, 13.0).draw(rng),
            together=tuple(False for _ in PAIRS),
            finger_length_mm=Spread(78.0, 4.0, 68.0, 88.0).draw(rng),
            finger_radius_mm=Spread(8.4, 0.5, 7.2, 9.6).draw(rng),
            palm_half_width_mm=Spread(41.0, 2.5, 35.0, 47.0).draw(rng),
            mirrored=bool(rng.uniform() < 0.5),
            rotation_deg=Spread(0.0, 10.0, -28.0, 28.0).draw(rng),
            frame_mm=Spread(285.0, 22.0, 250.0, 340.0).draw(rng),
            shift_x=float(rng.normal(0.0, 0.02)),
            shift_y=float(rng.normal(0.0, 0.02)),
            skin=Skin(self.lightness.draw(rng), Spread(55.0, 5.0, 44.0, 68.0).draw(rng), 21.0, 1.0),
            light=HandLight(azimuth_deg=float(rng.uniform(-50.0, 50.0))),
            camera=Camera(blur_mm=float(rng.uniform(0.15, 0.35)), noise=float(rng.uniform(0.6, 2.0))),
            backdrop=Backdrop(colour=_muted(rng, 0.1, 0.85)),
            sleeve=_muted(rng, 0.08, 0.75),
            texture_seed=int(rng.integers(2**31)),
        )

    def sample_varied_hand(self, rng: np.random.Generator) -> HandParameters:
        """One hand from all that can be drawn: either side, any pose, turned, fused, with digits too many or missing,
        any skin, light and background, at times holding something or before another hand."""
        hand = replace(_varied_pose(rng), **_varied_build(rng), **_varied_scene(rng))
        if rng.uniform() < 0.04:
            other = replace(hand, **_varied_build(rng), n_extra=0, held=None)
            away = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.12, 0.3)
            turned = hand.rotation_deg + float(rng.normal(0.0, 35.0))
            shift_y = hand.shift_y + float(rng.normal(0.0, 0.08))
            behind = replace(
                other, shift_x=hand.shift_x + away, shift_y=shift_y, rotation_deg=turned, mirrored=not hand.mirrored
            )
            return replace(hand, behind=behind)
        return hand

    def vary_hand(self, hand: HandParameters, rng: np.random.Generator) -> HandParameters:
        """The same hand a moment later."""
        shift = self.nuisance * rng.normal(0.0, 1.0, 4)
        return replace(
            hand,
            rotation_deg=hand.rotation_deg + float(shift[0]),
            spread_deg=hand.spread_deg + 0.2 * float(shift[1]),
            shift_x=hand.shift_x + 0.003 * float(shift[2]),
            shift_y=hand.shift_y + 0.003 * float(shift[3]),
        )


def _varied_pose(rng: np.random.Generator) -> HandParameters:
    """Which digits are shown and how, and what is wrong with them."""
    pose = _pick(VARIED_POSES, rng)
    shown = EXTENDED[pose]
    fingers: list[FingerPose] = ["extended" if name in shown else "folded" for name in FINGERS]
    fault = _pick(FAULTS, rng)
    if fault == "missing":
        fingers[int(rng.integers(5))] = "missing"
        if rng.uniform() < 0.2:
            fingers[int(rng.integers(5))] = "missing"
    fused = _varied_fusion(rng, fingers) if fault in ("fused", "mitten") else [None] * 4
    if fault == "mitten" and pose in ("five", "four"):
        kind: Fusion = "crease" if rng.uniform() < 0.3 else "plain"
        fused = [kind if i and fingers[i] == fingers[i + 1] == "extended" else None for i in range(4)]
    closed = rng.uniform() < 0.3
    together = tuple(
        bool(fusion is None and (rng.uniform() < (0.75 if closed else 0.06)) and (i > 0 or rng.uniform() < 0.4))
        for i, fusion in enumerate(fused)
    )
    n_extra = 0 if fault != "extra" else (2 if rng.uniform() < 0.12 else 1)
    view_back = rng.uniform() < 0.35
    places: tuple[ExtraPlace, ...] = ("outer", "thumbside", "index", "middle", "ring", "little")
    return HandParameters(
        fingers=tuple(fingers),
        fused=tuple(fused),
        together=together,
        n_extra=n_extra,
        extra_places=tuple(places[int(rng.choice(6, p=[0.35, 0.25, 0.1, 0.1, 0.1, 0.1]))] for _ in range(n_extra)),
        fused_gap=float(rng.uniform(0.0, 0.9)) if rng.uniform() < 0.5 else 0.0,
        touch_line=float(rng.uniform(0.35, 0.85)),
        spread_deg=Spread(8.0, 3.5, 2.5, 16.0).draw(rng),
        thumb_deg=Spread(34.0, 12.0, 8.0, 62.0).draw(rng),
        curl=tuple(float(c) for c in np.clip(rng.beta(0.9, 3.0, 5) * rng.uniform(0.2, 1.4), 0.0, 1.0)),
        view="back" if view_back else "palm",
        held=None if rng.uniform() > 0.03 else ("ball" if rng.uniform() < 0.4 else "stick"),
    )


def _varied_fusion(rng: np.random.Generator, fingers: list[FingerPose]) -> list[Fusion | None]:
    """One or two neighbouring pairs fused, wherever both are extended; the thumb seldom."""
    able = [i for i in range(4) if fingers[i] == fingers[i + 1] == "extended"]
    fused: list[Fusion | None] = [None] * 4
    if not able:
        return fused
    weights = np.array([0.15 if i == 0 else 1.0 for i in able])
    n = 2 if len(able) > 1 and rng.uniform() < 0.25 else 1
    for i in rng.choice(able, n, replace=False, p=weights / weights.sum()):
        fused[int(i)] = "crease" if rng.uniform() < 0.35 else "plain"
    return fused


def _varied_build(rng: np.random.Generator) -> dict[str, Any]:
    """The shape of the hand, and how it is turned to the camera."""
    turned = rng.uniform()
    yaw_sd, pitch_sd = (10.0, 9.0) if turned < 0.75 else ((28.0, 22.0) if turned < 0.96 else (75.0, 25.0))
    return {
        "finger_length_mm": Spread(78.0, 6.0, 60.0, 95.0).draw(rng),
        "finger_radius_mm": Spread(8.2, 0.8, 6.4, 10.4).draw(rng),
        "palm_half_width_mm": Spread(40.5, 3.2, 33.0, 49.0).draw(rng),
        "mirrored": bool(rng.uniform() < 0.5),
        "yaw_deg": Spread(0.0, yaw_sd, -85.0, 85.0).draw(rng),
        "pitch_deg": Spread(0.0, pitch_sd, -55.0, 55.0).draw(rng),
        "rotation_deg": Spread(0.0, 18.0, -90.0, 90.0).draw(rng) if rng.uniform() < 0.9 else rng.uniform(-180.0, 180.0),
        "arm_bend_deg": Spread(0.0, 12.0, -35.0, 35.0).draw(rng),
        "sleeve_mm": None if rng.uniform() < 0.55 else Spread(35.0, 45.0, -4.0, 170.0).draw(rng),
    }


def _varied_scene(rng: np.random.Generator) -> dict[str, Any]:
    """Skin, light, camera and what stands behind."""
    skin = Skin(
        lightness=float(rng.uniform(24.0, 84.0)),
        hue_deg=float(rng.uniform(36.0, 74.0)),
        chroma=float(rng.uniform(11.0, 30.0)),
        texture=float(rng.uniform(0.3, 2.2)),
    )
    flesh = _hex(255.0 * linear_to_srgb(lch_to_linear(skin.lightness, skin.chroma, skin.hue_deg)).astype(np.float64))
    near_skin = np.array([int(flesh[i : i + 2], 16) for i in (1, 3, 5)]) * rng.uniform(0.75, 1.35) + rng.normal(
        0, 12, 3
    )
    walls = (_muted(rng, 0.03, 0.97), _muted(rng, 0.6, 0.98), _hex(np.clip(near_skin, 0.0, 255.0)), _vivid(rng))
    warm = rng.normal(0.0, 0.07)
    cast = np.clip([255.0 * (1.0 + min(warm, 0.0)), 250.0, 255.0 * (1.0 - max(warm, 0.0))], 120.0, 255.0)
    kind = _pick(BACKDROPS, rng)
    kinds: dict[str, BackdropKind] = {
        name: name for name in ("plain", "gradient", "edge", "stripes", "checks", "clutter", "blobs", "flesh")
    }
    return {
        "skin": skin,
        "unevenness": float(rng.uniform(0.2, 2.5)),
        "light": HandLight(
            azimuth_deg=float(rng.uniform(-75.0, 75.0)),
            elevation_deg=float(rng.uniform(-15.0, 70.0)),
            ambient=float(rng.uniform(0.12, 0.75)),
            shadow=float(rng.uniform(0.1, 0.95)),
            colour=_hex(cast),
            exposure=float(np.exp(rng.normal(0.0, 0.25))),
            gloss=float(rng.uniform(0.0, 2.5)),
        ),
        "camera": Camera(
            blur_mm=float(rng.uniform(0.1, 0.9) if rng.uniform() < 0.8 else rng.uniform(0.9, 2.2)),
            noise=float(rng.gamma(1.5, 1.6)),
            contrast=float(rng.uniform(0.75, 1.2)),
            saturation=float(rng.uniform(0.55, 1.3)),
        ),
        "backdrop": Backdrop(
            kind=kinds[kind],
            colour=walls[int(rng.choice(4, p=[0.35, 0.25, 0.25, 0.15]))],
            other=flesh if kind == "flesh" else (walls[0] if rng.uniform() < 0.4 else _vivid(rng)),
            angle_deg=float(rng.uniform(-90.0, 90.0)),
            pattern_mm=float(np.exp(rng.uniform(np.log(8.0), np.log(70.0)))),
            shade=float(rng.uniform(0.2, 1.8)),
        ),
        "sleeve": _muted(rng, 0.02, 0.9),
        "frame_mm": Spread(290.0, 30.0, 235.0, 400.0).draw(rng),
        "shift_x": float(rng.normal(0.0, 0.02)),
        "shift_y": float(rng.normal(0.0, 0.02)),
        "texture_seed": int(rng.integers(2**31)),
    }


def _vivid(rng: np.random.Generator) -> str:
    return _hex(np.clip(255.0 * rng.beta(1.0, 1.3, 3), 0.0, 255.0))


def lamp_to_glint(azimuth_deg: float, elevation_deg: float, iris_radius_mm: float) -> tuple[float, float]:
    """Clock position and rho at which the cornea mirrors a far lamp to the camera: its normal halves the angle."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    right, up = np.sin(azimuth) * np.cos(elevation), np.sin(elevation)
    half = 0.5 * np.arccos(np.clip(np.cos(azimuth) * np.cos(elevation), -1.0, 1.0))
    rho = CORNEA_RADIUS_MM * np.sin(half) / iris_radius_mm
    return float(np.degrees(np.arctan2(right, up)) % 360.0), float(np.clip(rho, 0.0, 0.55))


def glint_offset(glint: Glint) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Offset (x, y) of a glint from the iris centre in iris radii, y downward."""
    clock = np.radians(glint.clock_deg)
    return np.array([glint.rho * np.sin(clock), -glint.rho * np.cos(clock)])


def offset_to_glint(glint: Glint, offset: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Glint:
    """The same glint at another offset (x, y), in iris radii, y downward."""
    clock = float(np.degrees(np.arctan2(offset[0], -offset[1])) % 360.0)
    return replace(glint, clock_deg=clock, rho=float(np.hypot(offset[0], offset[1])))


def _parallax(glint: Glint, rng: np.random.Generator, amount: float = 1.0) -> Glint:
    moved = offset_to_glint(glint, glint_offset(glint) + amount * rng.normal(0.0, 0.022, 2))
    return replace(moved, radius=glint.radius * float(np.exp(amount * rng.normal(0.0, 0.05))))


def _pick(choices: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in choices])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0]


def _muted(rng: np.random.Generator, low: float, high: float) -> str:
    grey = rng.uniform(low, high)
    return _hex(np.clip(255.0 * (grey + rng.normal(0.0, 0.06, 3)), 0, 255))


def _hex(codes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    red, green, blue = (round(float(code)) for code in codes)
    return f"#{red:02x}{green:02x}{blue:02x}"
