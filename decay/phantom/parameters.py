"""What a drawn face or hand is made of. Lengths in millimetres of the subject, angles in degrees, colours as sRGB hex.

Left and right are sides of the image. Clock positions: 0 = 12 o'clock, clockwise as seen in the image,
measured from the eye axis (so a tilted head does not move them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

GlintShape = Literal["disc", "window"]
FINGERS = ("thumb", "index", "middle", "ring", "little")
PAIRS = ("thumb-index", "index-middle", "middle-ring", "ring-little")
FingerPose = Literal["extended", "folded", "missing"]
Fusion = Literal["plain", "crease"]
HandView = Literal["palm", "back"]
HeldThing = Literal["stick", "ball"]
ExtraPlace = Literal["outer", "thumbside", "index", "middle", "ring", "little"]
BackdropKind = Literal["plain", "gradient", "edge", "stripes", "checks", "clutter", "blobs", "flesh"]


@dataclass(frozen=True)
class Glint:
    """One specular highlight on the cornea; ``rho`` and ``radius`` in iris radii.

    ``shape``: a disc, or a window: an upright square of the same area and centre.
    ``intensity``: 1 = the glint covers what is behind it with ``colour``; 0 = invisible.
    """

    clock_deg: float = 45.0
    rho: float = 0.35
    radius: float = 0.14
    intensity: float = 1.0
    colour: str = "#ffffff"
    shape: GlintShape = "disc"


@dataclass(frozen=True)
class EyeParameters:
    """One eye. Gaze moves the iris over an eyeball of 12 mm radius: x toward the image's right, y downward.

    ``openness``: 1 = relaxed (the upper lid covers the top of the iris), 0 = shut.
    """

    glints: tuple[Glint, ...] = (Glint(),)
    iris_radius_mm: float = 5.9
    iris_colour: str = "#6b4a2f"
    pupil_share: float = 0.4
    gaze_x_deg: float = 0.0
    gaze_y_deg: float = 0.0
    openness: float = 1.0


@dataclass(frozen=True)
class FaceShape:
    """Bone and flesh, in mm. The eyes lie on y = 0, y grows downward."""

    eye_distance_mm: float = 63.0
    eye_width_mm: float = 29.5
    eye_tilt_deg: float = 3.0
    cheek_half_width_mm: float = 69.0
    cheekbone_mm: float = 5.0
    jaw_half_width_mm: float = 52.0
    chin_y_mm: float = 112.0
    nose_length_mm: float = 43.0
    nose_half_width_mm: float = 16.5
    nose_projection_mm: float = 19.0
    mouth_y_mm: float = 69.0
    mouth_half_width_mm: float = 26.0
    lip_height_mm: float = 8.0
    brow_y_mm: float = -22.0
    brow_height_mm: float = 7.0
    hairline_y_mm: float = -64.0


@dataclass(frozen=True)
class Skin:
    """CIE L*, hue angle and chroma in the a*b* plane; ``texture``: amplitude of pores and blotches, 1 = natural."""

    lightness: float = 66.0
    hue_deg: float = 55.0
    chroma: float = 22.0
    texture: float = 1.0


@dataclass(frozen=True)
class Hair:
    """``length``: 0 = cropped, 1 = past the shoulders; ``volume_mm``: how far it stands off the skull."""

    colour: str = "#3a2a1e"
    length: float = 0.3
    volume_mm: float = 12.0
    parting_mm: float = 10.0


@dataclass(frozen=True)
class Lighting:
    """A key light and its mirrored fill. ``ratio_stops``: log2 of image-left over image-right cheek luminance.

    The key stands on the brighter side, ``azimuth_deg`` (0 to 80) away from the camera axis.
    A ratio that the key alone cannot reach is drawn as far as it goes; the truth tells what was drawn.
    """

    ratio_stops: float = 0.8
    azimuth_deg: float = 42.0
    elevation_deg: float = 32.0
    ambient: float = 0.25
    exposure: float = 1.0


@dataclass(frozen=True)
class Expression:
    """``smile``: -0.5 to 1, corners of the mouth; ``mouth_open_mm``; ``brow_raise_mm``."""

    smile: float = 0.2
    mouth_open_mm: float = 0.0
    brow_raise_mm: float = 0.0


@dataclass(frozen=True)
class Framing:
    """How the head sits in the square image. ``frame_mm``: width of the image in mm at the eyes.

    ``yaw_deg`` > 0: turned toward the image's right; ``roll_deg`` > 0: eye axis rotated clockwise as seen.
    ``shift_x``, ``shift_y``: of the point between the eyes, in image widths, from (0.5, 0.46).
    """

    frame_mm: float = 255.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Camera:
    """``blur_mm``: standard deviation of the lens's spread on the subject; ``noise``: sensor noise in sRGB codes.

    ``contrast`` and ``saturation``: 1 = as lit.
    """

    blur_mm: float = 0.22
    noise: float = 1.2
    contrast: float = 1.0
    saturation: float = 1.0


@dataclass(frozen=True)
class FaceParameters:
    """Everything that ``draw_face`` needs to know. ``eyes``: image-left first. ``texture_seed`` fixes the random detail
    of this person (iris fibres, pores, strands of hair)."""

    eyes: tuple[EyeParameters, EyeParameters] = (EyeParameters(), EyeParameters())
    shape: FaceShape = field(default_factory=FaceShape)
    skin: Skin = field(default_factory=Skin)
    hair: Hair = field(default_factory=Hair)
    lighting: Lighting = field(default_factory=Lighting)
    expression: Expression = field(default_factory=Expression)
    framing: Framing = field(default_factory=Framing)
    camera: Camera = field(default_factory=Camera)
    background: str = "#8a8f96"
    clothes: str = "#2f4558"
    texture_seed: int = 0


@dataclass(frozen=True)
class Backdrop:
    """What stands behind a hand. ``colour``, ``other``: its two colours. ``angle_deg``: of its edge or stripes.
    ``pattern_mm``: size of its stripes, spots or clutter. ``shade``: how unevenly it is lit, 1 = naturally.
    """

    kind: BackdropKind = "plain"
    colour: str = "#8a8f96"
    other: str = "#6d6a66"
    angle_deg: float = 20.0
    pattern_mm: float = 40.0
    shade: float = 1.0


@dataclass(frozen=True)
class HandLight:
    """``azimuth_deg``: from the camera axis toward the image's right; ``elevation_deg``: above it. ``ambient``: light
    from everywhere, of about 1 in all. ``shadow``: strength of cast shadows. ``colour``: cast of all the light.
    ``gloss``: of the skin, 1 = natural."""

    azimuth_deg: float = -35.0
    elevation_deg: float = 40.0
    ambient: float = 0.30
    shadow: float = 0.5
    colour: str = "#ffffff"
    exposure: float = 1.0
    gloss: float = 1.0


@dataclass(frozen=True)
class HandParameters:
    """One hand held up. ``fingers``, ``curl`` and ``PAIRS`` run from thumb to little finger.

    ``fused``: per pair None, ``plain`` (one surface, no valley) or ``crease`` (one surface with a faint line);
    ``fused_gap``: 0 = as close as held together, 1 = spread as they were, with a sheet of skin between.
    ``together``: per pair, held side by side with a dark line of strength ``touch_line`` between: not fused.
    ``curl``: 0 to 1; bends an extended finger a little and opens a folded one a little. ``thumb_deg``: how far the
    thumb stands off. ``n_extra``: additional digits, at ``extra_places``: ``outer`` (beside the little finger, where
    none are named), ``thumbside`` (between thumb and index finger) or a finger's name (beside it).

    ``view``: the side that the camera sees; ``mirrored``: thumb on the image's right, in either view.
    ``yaw_deg``, ``pitch_deg``: turned about the hand's long axis, tipped toward the camera.
    ``rotation_deg`` > 0: clockwise as seen. ``frame_mm``: width of the image in mm. Not ``present``: an empty sleeve.
    ``sleeve_mm``: where the sleeve begins below the wrist; None: a bare arm. ``arm_bend_deg``: of the forearm.
    ``unevenness``: of the skin's colour, 1 = natural. ``held``: something in the hand. ``behind``: another hand.
    """

    fingers: tuple[FingerPose, ...] = ("extended",) * 5
    fused: tuple[Fusion | None, ...] = (None,) * 4
    together: tuple[bool, ...] = (False,) * 4
    n_extra: int = 0
    extra_places: tuple[ExtraPlace, ...] = ()
    present: bool = True
    spread_deg: float = 9.0
    thumb_deg: float = 36.0
    curl: tuple[float, ...] = (0.0,) * 5
    fused_gap: float = 0.0
    touch_line: float = 0.6
    finger_length_mm: float = 78.0
    finger_radius_mm: float = 8.4
    palm_half_width_mm: float = 41.0
    view: HandView = "palm"
    mirrored: bool = False
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    rotation_deg: float = 0.0
    arm_bend_deg: float = 0.0
    frame_mm: float = 285.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    skin: Skin = field(default_factory=Skin)
    unevenness: float = 1.0
    light: HandLight = field(default_factory=HandLight)
    camera: Camera = field(default_factory=Camera)
    backdrop: Backdrop = field(default_factory=Backdrop)
    sleeve: str = "#2f4558"
    sleeve_mm: float | None = 30.0
    held: HeldThing | None = None
    behind: HandParameters | None = None
    texture_seed: int = 0

    def __post_init__(self) -> None:
        if len(self.fingers) != len(FINGERS):
            raise ValueError(f"fingers wants five poses, thumb first, got {self.fingers}")
        if len(self.curl) != len(FINGERS):
            raise ValueError(f"curl wants five numbers, thumb first, got {self.curl}")
        if len(self.fused) != len(PAIRS) or len(self.together) != len(PAIRS):
            raise ValueError(f"fused and together want one entry for each of {', '.join(PAIRS)}")
        for name, fusion, i in zip(PAIRS, self.fused, range(4), strict=True):
            if fusion is not None and self.fingers[i : i + 2] != ("extended", "extended"):
                raise ValueError(f"{name} can only be fused while both fingers are extended, got {self.fingers}")
