"""Catchlights: where the light mirrors in the cornea, how many, how strong, and whether both eyes agree.

A catchlight is a compact spot inside the visible iris that is brighter than the iris in all three channels of
linear light. Its position is given in iris radii from the iris centre, with the head's roll taken out: offsets
are turned back by ``face.roll_deg`` (the angle of the line through the eyes), so that v points from brow to
chin along the face and u along the line of the eyes toward the image's right. When there are several, the
main one is the one with the largest integrated excess of light over the iris.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.geometry import (
    EYE_STATES,
    IrisPatch,
    angle_difference_deg,
    clock_deg,
    eye_gate,
    iris_patch_of,
    lab,
    mean_of,
    median,
    median_of,
    quantile,
    resultant_length,
    resultants,
    rotate,
    share_in_state,
    spread_of,
    srgb_to_linear,
)
from detectors.trait import (
    OK,
    Circle,
    Counts,
    Eye,
    Face,
    Family,
    Hand,
    Measurement,
    Pixels,
    Reading,
    ResampledStatistic,
    Sample,
    Statistic,
    Trait,
    Value,
    View,
)

YAW_LIMIT_DEG = 40.0
"""Beyond, the far iris is an ellipse so narrow that radii in both directions differ by more than 1.3."""
PITCH_LIMITS_DEG = (-40.0, 30.0)
"""Not symmetric about 0: a sitter who looks into the camera reads about -9 degrees."""
NO_CLOCK_RHO = 0.1
"""Nearer to the centre than this the clock angle is mostly noise; angle differences and spreads leave it out."""
IOU_RADIUS_PX = 3.0
"""Overlaps are given for glints at least this large; two identical glints of 1 px score 0.5 for their pixels alone."""
CELL = 0.2
"""Side of a position cell, in iris radii."""
COLOUR_CELL = 10.0
"""Side of a colour cell in CIELAB; colours 10 apart are told apart at a glance."""

# Thresholds in linear light (1 = white); excess is over the median of the visible iris, least channel.
# Dark irises are judged by the ratio as well; on pale ones white is less than two stops away, so excess decides.
_CLEAR = ((0.13, 2.3), (0.22, 2.1), (0.35, 0.0))  # least excess with least stops; any pair will do
_LEAST = ((0.08, 2.2), (0.15, 1.8), (0.28, 0.0))  # between least and clear: ambiguous
_FLARE = 0.005  # added to both sides of a ratio: black is never quite black
_SATURATED_FRAC = 0.35
# Light is scaled up to this level of the white of the eye, at or above which most portraits have it, so that an
# underexposed picture is judged like the same picture exposed well. Below the least, an iris has a handful of codes.
_WHITE, _LEAST_WHITE = 0.3, 0.02
# The picture's blur (standard deviation, iris radii) beyond which glints melt into the iris. Real ones have radii from
# 0.1: at 0.06 to 0.07 one in ten is lost, at 0.09 half. Undamaged portraits of 512 and 1024 px stay below 0.06.
_BLURRED = 0.07
_GRID_BLUR_PX = 0.7  # what sharp edges measure, from the pixel grid and the gradient's own width
_LEAST_GRADIENT = 0.5  # sRGB codes a pixel; flat parts have no edges
_STRONG_EDGES, _SHARP_EDGES = 0.85, 0.25  # quantiles: blur is read off the strongest, and of these the sharpest, edges

# Shape, in iris radii.
_RIM = 0.92  # the visible iris ends here: sclera must not leak in
_LID_MARGIN = 0.04
_TEAR_LINE = 0.12  # spots this near to the lower lid are its wet margin
_TEAR_REACH = 0.30
_LASH_GAP_DEPTH, _LASH_GAP_ASPECT = 0.12, 3.0
_LARGEST_FRAC = 0.25  # of the visible iris; more is haze or a bright iris
_LEAST_INSIDE = 0.6
_LEAST_DARK_RING = 0.82
_LEAST_ENERGY_SHARE = 0.05  # of the main glint, to be counted beside it
_FEWEST_PIXELS = 12
_SQUARE = np.ones((3, 3), dtype=np.uint8)  # a pixel and its neighbours
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)


@dataclass(frozen=True)
class _Glint:
    """One bright spot: mask on the patch, centroid and area in pixels, excess light, and its peak."""

    mask: NDArray[np.bool_]
    x: float
    y: float
    energy: float
    excess: float
    stops: float

    @property
    def area_px(self) -> float:
        return float(self.mask.sum())

    def passes(self, pairs: tuple[tuple[float, float], ...]) -> bool:
        """Whether it is bright enough by any pair of (excess, stops)."""
        return any(self.excess >= excess and self.stops >= stops for excess, stops in pairs)


@dataclass(frozen=True)
class _Reading:
    """One eye's glints beside its measurement; the pair readings need their masks."""

    measurement: Measurement
    mask: NDArray[np.bool_] | None = None
    radius_px: float = 0.0


def measure(view: View, subject: Face | Hand | None) -> Measurement:
    """Read the catchlights of both eyes and how they agree. TypeError if not given a face.

    The face's state is ``ok`` where both eyes' are; otherwise the first state that is not, image-left first.
    """
    if not isinstance(subject, Face):
        raise TypeError(f"catchlight reads a face, got {type(subject).__name__}")
    left, right = (_read_eye(view, subject, eye) for eye in subject.eyes)
    eyes = (left.measurement, right.measurement)
    state = next((eye.state for eye in eyes if eye.state != OK), OK)
    return Measurement(state, _pair_values(left, right) if state == OK else {}, eyes)


# --------------------------------------------------------------------------- one eye


def _read_eye(view: View, face: Face, eye: Eye) -> _Reading:
    state = eye_gate(face, eye, YAW_LIMIT_DEG, PITCH_LIMITS_DEG)
    if state != OK or eye.limbus is None:
        return _Reading(Measurement(state))
    patch = iris_patch_of(view, eye)
    visible = (patch.rho <= _RIM) & (patch.depth >= _LID_MARGIN)
    state = _gate(patch, visible, eye.limbus.radius)
    if state != OK:
        return _Reading(Measurement(state))
    gain = max(1.0, _WHITE / _white(patch))
    glints = _find_glints(patch, visible, eye.limbus, face.roll_deg, gain)
    if not glints:
        return _Reading(Measurement("no_highlight"))
    clear = sorted((glint for glint in glints if glint.passes(_CLEAR)), key=lambda glint: -glint.energy)
    if not clear:
        return _Reading(Measurement("ambiguous"))
    counted = [glint for glint in clear if glint.energy >= _LEAST_ENERGY_SHARE * clear[0].energy]
    values = _eye_values(patch, visible, eye.limbus, face.roll_deg, counted)
    mask = np.any([glint.mask for glint in counted], axis=0)
    return _Reading(Measurement(OK, values), mask, math.sqrt(counted[0].area_px / math.pi))


def _gate(patch: IrisPatch, visible: NDArray[np.bool_], radius_px: float) -> str:
    """``ok``, or why neither a catchlight nor its absence could be told, whichever is the case."""
    if visible.sum() < _FEWEST_PIXELS:
        return "occluded"
    if (patch.rgb[visible].min(axis=1) >= 250).mean() > _SATURATED_FRAC:
        return "saturated"
    if _white(patch) < _LEAST_WHITE:
        return "too_dark"
    if blur_px(patch.rgb, patch.rho > _RIM) > _BLURRED * radius_px:
        return "blurred"
    return OK


def _white(patch: IrisPatch) -> float:
    """Luminance of the white of the eye; where none shows, of what surrounds the iris."""
    around = patch.rho > 1.12
    white = around & (patch.rho < 1.45) & (patch.depth > 0.05)
    return quantile(patch.light[white if white.sum() >= 4 else around], 0.75)


def blur_px(rgb: Pixels, where: NDArray[np.bool_]) -> float:
    """Standard deviation of the blur that a picture's sharpest edges show, in pixels: 0 if sharp, infinite if none.

    An edge blurred once more by a known width loses the less gradient the softer it was (Zhuo & Sim 2011,
    doi:10.1016/j.patcog.2011.03.009, eq. 6). ``rgb``: sRGB uint8 (h, w, 3). ``where``: bool (h, w), the part to look
    at: outside the iris, lids and lashes count like the limbus, which alone may be soft by nature or worn away in a
    sharp picture, and glints do not count, so that the answer does not depend on whether there are any.
    """
    red, green, blue = rgb.astype(np.float64).transpose(2, 0, 1)
    codes = (red + green + blue) / 3
    once = _gradient(codes)[where]
    twice = _gradient(np.asarray(cv2.GaussianBlur(codes, (0, 0), 1.0), dtype=np.float64))[where]
    strong = once >= max(quantile(once, _STRONG_EDGES), _LEAST_GRADIENT)
    if not strong.any():
        return math.inf
    ratio = np.maximum(once[strong] / np.maximum(twice[strong], 1e-6), 1.0 + 1e-6)
    total = quantile(1.0 / np.sqrt(ratio**2 - 1.0), _SHARP_EDGES)
    return math.sqrt(max(0.0, total**2 - _GRID_BLUR_PX**2))


def _gradient(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    gx, gy = (cv2.Sobel(codes, cv2.CV_64F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return np.asarray(np.hypot(gx, gy), dtype=np.float64)


def _find_glints(
    patch: IrisPatch, visible: NDArray[np.bool_], iris: Circle, roll_deg: float, gain: float
) -> list[_Glint]:
    """All spots that look like catchlights in light scaled by ``gain``, clear or not.

    Each local maximum of the excess is grown to half its height; a maximum inside an already grown spot
    belongs to that spot.
    """
    linear = gain * patch.linear
    red, green, blue = (plane - median(plane[visible]) for plane in linear.transpose(2, 0, 1))
    excess = np.minimum(np.minimum(red, green), blue)  # numpy takes ten times as long over an axis of three
    light = gain * patch.light
    base = median(light[visible]) + _FLARE
    peaks = np.argwhere((excess >= cv2.dilate(excess, _SQUARE)) & visible & (excess >= _LEAST[0][0]))
    order = sorted(peaks.tolist(), key=lambda at: -float(excess[at[0], at[1]]))
    grown = np.zeros(visible.shape, dtype=np.bool_)
    glints = []
    for row, column in order:
        if grown[row, column]:
            continue
        height = float(excess[row, column])
        _, parts = cv2.connectedComponents((excess >= 0.5 * height).view(np.uint8), connectivity=4)
        mask = parts == parts[row, column]
        seen_before = bool((mask & grown).any())
        grown |= mask
        weights = np.where(mask, excess, 0.0)
        energy = float(weights.sum())
        glint = _Glint(
            mask=mask,
            x=float((weights * patch.x).sum()) / energy,
            y=float((weights * patch.y).sum()) / energy,
            energy=energy,
            excess=height,
            stops=math.log2((float(light[row, column]) + _FLARE) / base),
        )
        plausible = glint.passes(_LEAST) and not seen_before
        if plausible and _is_catchlight(glint, patch, visible, excess, iris, roll_deg):
            glints.append(glint)
    return glints


def _is_catchlight(
    glint: _Glint,
    patch: IrisPatch,
    visible: NDArray[np.bool_],
    excess: NDArray[np.float64],
    iris: Circle,
    roll_deg: float,
) -> bool:
    """Whether a spot is a glint on the cornea: compact, inside the iris, dark around, on no wet lid margin."""
    if (glint.mask & visible).sum() < _LEAST_INSIDE * glint.area_px or glint.area_px > _LARGEST_FRAC * visible.sum():
        return False
    outside = (~glint.mask).view(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64) / iris.radius
    pixel = 1.0 / iris.radius
    ring = (distance > max(pixel, 0.06)) & (distance <= max(2.5 * pixel, 0.18))
    if (excess[ring] < 0.35 * glint.excess).mean() < _LEAST_DARK_RING:
        return False
    depth = float(patch.depth[glint.mask].mean())
    _, v = _offset(glint, iris, roll_deg)
    if v > 0.2:
        return depth >= _TEAR_LINE and not _skin_below(glint, patch, excess, iris, roll_deg)
    return depth >= _LASH_GAP_DEPTH or _aspect(glint, patch) <= _LASH_GAP_ASPECT


def _skin_below(glint: _Glint, patch: IrisPatch, excess: NDArray[np.float64], iris: Circle, roll_deg: float) -> bool:
    """Whether below the spot it never gets dark again before the lid: then it lies on the lid's wet margin."""
    offsets = np.stack([(patch.x - glint.x).ravel(), (patch.y - glint.y).ravel()], axis=1)
    across, along = (rotate(offsets, -roll_deg) / iris.radius).T.reshape(2, *patch.x.shape)
    column = (np.abs(across) <= max(0.06, 1.0 / iris.radius)) & (along > 0) & ~glint.mask
    bottom = float(along[glint.mask].max())
    near = column & (along > bottom + 0.5 / iris.radius) & (along <= bottom + _TEAR_REACH)
    skin = column & (patch.depth < -0.05)
    if not near.any() or not skin.any():
        return False
    steps = np.floor((along[near] - bottom) * iris.radius).astype(int)
    darkest = min(median(excess[near][steps == step]) for step in np.unique(steps))
    return darkest > max(0.5 * median(excess[skin]), 0.03)


def _aspect(glint: _Glint, patch: IrisPatch) -> float:
    """Length over width of the spot from its second moments, each pixel being a unit square."""
    spread = np.cov(np.stack([patch.x[glint.mask], patch.y[glint.mask]]), bias=True) if glint.area_px > 1 else 0.0
    small, large = np.linalg.eigvalsh(np.eye(2) / 12.0 + spread)
    return math.sqrt(large / small)


def _offset(glint: _Glint, iris: Circle, roll_deg: float) -> tuple[float, float]:
    """Position in iris radii, roll taken out: u to the right, v down."""
    u, v = rotate(np.array([[glint.x - iris.x, glint.y - iris.y]]) / iris.radius, -roll_deg)[0]
    return float(u), float(v)


def _eye_values(
    patch: IrisPatch, visible: NDArray[np.bool_], iris: Circle, roll_deg: float, glints: list[_Glint]
) -> dict[str, Value]:
    main = glints[0]
    u, v = _offset(main, iris, roll_deg)
    colour = _mean_colour(patch, main)
    lightness, a, b = (float(channel) for channel in lab(colour[None, None])[0, 0])
    near = cv2.dilate(main.mask.view(np.uint8), _CROSS).view(np.bool_)
    return {
        "catchlight_clock_deg": clock_deg(u, v),
        "catchlight_rho": math.hypot(u, v),
        "catchlight_u": u,
        "catchlight_v": v,
        "catchlight_count": float(len(glints)),
        "catchlight_radius": math.sqrt(main.area_px / math.pi) / iris.radius,
        "catchlight_area_frac": min(1.0, sum(glint.area_px for glint in glints) / float(visible.sum())),
        "catchlight_contrast_stops": main.stops,
        "catchlight_hex": "#" + bytes(colour.tolist()).hex(),
        "catchlight_l": lightness,
        "catchlight_a": a,
        "catchlight_b": b,
        "catchlight_gini": gini(patch.light[near]),
        "catchlight_cell": position_cell(u, v),
    }


def _mean_colour(patch: IrisPatch, glint: _Glint) -> NDArray[np.uint8]:
    """Mean colour in linear light of the spot's brighter half, which mixes least with iris, as sRGB uint8 (3,)."""
    light = patch.light
    core = glint.mask & (light >= median(light[glint.mask]))
    linear = srgb_to_linear(patch.rgb[core]).mean(axis=0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(np.round(255 * encoded), 0, 255), dtype=np.uint8)


def gini(values: NDArray[np.float64]) -> float:
    """Gini coefficient of non-negative values, scaled by n/(n-1): 0 all equal, 1 all in one.

    Lotz, Primack & Madau 2004, doi:10.1086/421849; on the pixels of corneal reflections: Owolabi & Pimbblet 2024.
    0 for fewer than two values or no light at all.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n, total = len(ordered), float(ordered.sum())
    if n < 2 or total <= 0:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (total * (n - 1)))


def position_cell(u: float, v: float) -> str:
    """The cell of ``CELL`` iris radii in which a glint lies, e.g. ``u-1v+0``: cell 0 is centred on the iris."""
    return f"u{round(u / CELL):+d}v{round(v / CELL):+d}"


# --------------------------------------------------------------------------- the pair


def _pair_values(left: _Reading, right: _Reading) -> dict[str, Value]:
    first, second = (
        np.array([eye.measurement.values["catchlight_u"], eye.measurement.values["catchlight_v"]], dtype=np.float64)
        for eye in (left, right)
    )
    rho_first, rho_second = float(np.hypot(*first)), float(np.hypot(*second))
    same = float(np.linalg.norm(first - second))
    clocks = [clock_deg(*first), clock_deg(*second)]
    told = min(rho_first, rho_second) >= NO_CLOCK_RHO
    overlap = math.nan
    if left.mask is not None and right.mask is not None and min(left.radius_px, right.radius_px) >= IOU_RADIUS_PX:
        overlap = best_overlap(left.mask, right.mask)
    return {
        "catchlight_same_disparity": same,
        "catchlight_mirror_disparity": float(np.linalg.norm(first - second * (-1.0, 1.0))),
        "catchlight_angle_difference_deg": angle_difference_deg(*clocks) if told else math.nan,
        "catchlight_iou": overlap,
        "catchlight_dolls_eye": float(rho_first < 0.2 and rho_second < 0.2 and same < 0.1),
    }


def best_overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks (h, w) at the shift that fits best, 0..1 (Hu, Li & Lyu 2021).

    Blind to position by construction: one mask is slid over the other.
    """
    a, b = (_cropped(mask).astype(np.float64) for mask in (first, second))
    # Circular convolution at a size that no shift wraps around; whole numbers, once rounded.
    size = (a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1)
    counts = np.fft.irfft2(np.fft.rfft2(a, size) * np.fft.rfft2(b[::-1, ::-1], size), size)
    shared = round(float(counts.max()))
    return shared / float(a.sum() + b.sum() - shared)


def _cropped(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, columns = np.nonzero(mask)
    return mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


# --------------------------------------------------------------------------- a generation


def _clock_spread(sample: Sample, reference: Sample) -> float:
    """Circular variance of the clock position of glints that have one."""
    clocks = sample.numbers("catchlight_clock_deg")[_has_clock(sample)]
    return 1.0 - resultant_length(clocks) if len(clocks) > 1 else math.nan


def _clock_spreads(sample: Sample, counts: Counts) -> NDArray[np.float64]:
    has_clock = _has_clock(sample)
    return 1.0 - resultants(sample.numbers("catchlight_clock_deg")[has_clock], counts[:, has_clock])


def _has_clock(sample: Sample) -> NDArray[np.bool_]:
    return np.asarray(sample.numbers("catchlight_rho") >= NO_CLOCK_RHO)


def _cell_share(sample: Sample, reference: Sample) -> float:
    return _modal_share(sample["catchlight_cell"].tolist())


def _colour_share(sample: Sample, reference: Sample) -> float:
    """Share of the most frequent colour cell: equal up to half of ``COLOUR_CELL`` in L*, a* and b*."""
    colours = np.stack([sample.numbers(f"catchlight_{channel}") for channel in "lab"], axis=1)
    return _modal_share(map(tuple, np.round(colours / COLOUR_CELL).astype(int).tolist()))


def _modal_share(items: Iterable[Hashable]) -> float:
    counts = Counter(items)
    return max(counts.values()) / counts.total() if counts else math.nan


def _median_of_given(name: str) -> Statistic:
    """The median of a reading that may be NaN within an ok measurement; NaN below three numbers."""
    median = median_of(name)

    def given(sample: Sample) -> NDArray[np.intp]:
        return np.flatnonzero(np.isfinite(sample.numbers(name)))

    def of_given(sample: Sample, reference: Sample) -> float:
        rows = given(sample)
        return median.once(sample.take(rows), reference) if len(rows) >= 3 else math.nan

    def of_given_over(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        rows = given(sample)
        enough = counts[:, rows].sum(axis=1) >= 3
        return np.where(enough, median.over(sample.take(rows), counts[:, rows]), np.nan)

    return ResampledStatistic(of_given, of_given_over)


_SMALL_IRIS = "Below 8 px iris radius position and colour follow the pixel grid; presence fades below 6 px."
_PAIR = "Near flat light or several lamps the main glints of the two eyes need not be images of one lamp."
_ONE_LAMP = (
    "One far lamp gives the same position in both eyes: neither agreement nor disagreement is healthy by itself, "
    "departure from the reference is what counts. "
)
_DECLARED = "corneal highlight inside the refined limbus (this file)"

FAMILY = Family(
    name="catchlight",
    group="eyes",
    subject="face",
    readings=(
        Reading(
            "catchlight_clock_deg",
            "eye",
            "clock position of the main catchlight (0 = 12 o'clock)",
            "degrees",
            low=0,
            high=360,
        ),
        Reading("catchlight_rho", "eye", "distance from the iris centre", "iris radii", low=0, high=1.5),
        Reading("catchlight_u", "eye", "offset to the image's right, roll taken out", "iris radii", low=-1.5, high=1.5),
        Reading("catchlight_v", "eye", "offset downward, roll taken out", "iris radii", low=-1.5, high=1.5),
        Reading("catchlight_count", "eye", "number of catchlights", "", low=1),
        Reading(
            "catchlight_radius",
            "eye",
            "radius of the main catchlight (circle of its area)",
            "iris radii",
            low=0,
            high=1,
        ),
        Reading("catchlight_area_frac", "eye", "share of the visible iris under catchlights", "", low=0, high=1),
        Reading("catchlight_contrast_stops", "eye", "brightest point against the iris", "stops", low=0),
        Reading("catchlight_hex", "eye", "colour of the main catchlight", "sRGB", kind="word"),
        Reading("catchlight_l", "eye", "lightness of the main catchlight", "CIELAB L*", low=0, high=100),
        Reading("catchlight_a", "eye", "green to red of the main catchlight", "CIELAB a*"),
        Reading("catchlight_b", "eye", "blue to yellow of the main catchlight", "CIELAB b*"),
        Reading("catchlight_gini", "eye", "inequality of light within the main catchlight", "", low=0, high=1),
        Reading("catchlight_cell", "eye", f"position cell of {CELL:g} iris radii", "cell", kind="word"),
        Reading("catchlight_same_disparity", "face", "distance between the two eyes' offsets", "iris radii", low=0),
        Reading(
            "catchlight_mirror_disparity",
            "face",
            "distance between one offset and the other's mirror image",
            "iris radii",
            low=0,
        ),
        Reading(
            "catchlight_angle_difference_deg",
            "face",
            f"difference of clock positions; none where either lies within {NO_CLOCK_RHO:g} of the centre",
            "degrees",
            low=0,
            high=180,
        ),
        Reading(
            "catchlight_iou",
            "face",
            f"overlap of the two eyes' catchlights at best fit; none where a main radius is below {IOU_RADIUS_PX:g} px",
            "IoU",
            low=0,
            high=1,
        ),
        Reading("catchlight_dolls_eye", "face", "both catchlights central and alike (1) or not (0)", "", low=0, high=1),
    ),
    states={
        OK: "a clear catchlight",
        "no_highlight": "the iris is visible and no spot on it looks like a catchlight: a measured zero",
        "ambiguous": "there are spots, none clearly brighter than the iris",
        "saturated": "more than a third of the visible iris is clipped to white",
        "too_dark": "the white of the eye is nearly black",
        "blurred": f"the picture's own blur exceeds {_BLURRED:g} iris radii: a glint may have melted away",
        **EYE_STATES,
    },
    measure=measure,
    traits=(
        Trait(
            name="catchlight_presence",
            subject="eye",
            label="eyes with a catchlight",
            unit="share",
            direction="higher",
            floor=0.0,
            source=_DECLARED,
            readings=("catchlight_state",),
            statistic=share_in_state("catchlight_state", OK),
            is_share=True,
            measured_states=(OK, "no_highlight"),
            expects="face",
            bounds=(0.0, 1.0),
            limits=_SMALL_IRIS,
        ),
        Trait(
            name="catchlight_eccentricity",
            subject="eye",
            label="catchlight's distance from the iris centre",
            unit="iris radii",
            direction="reference",
            floor=0.0,
            source=_DECLARED,
            readings=("catchlight_rho",),
            statistic=mean_of("catchlight_rho"),
            kind="location",
            resolution=0.03,  # median error of rho on portraits, docs/accuracy.md
            expects="face",
            bounds=(0.0, 1.5),
            limits=_SMALL_IRIS,
        ),
        Trait(
            name="catchlight_position_spread",
            subject="eye",
            label="spread of catchlight positions",
            unit="iris radii squared",
            direction="higher",
            floor=0.0,
            source="trace of the covariance of the offsets (total variance, Mardia, Kent & Bibby 1979, section 1.5.3)",
            readings=("catchlight_u", "catchlight_v"),
            statistic=spread_of("catchlight_u", "catchlight_v", root=False),
            expects="face",
            bounds=(0.0, math.inf),
            limits=_SMALL_IRIS,
            sided=True,
        ),
        Trait(
            name="catchlight_clock_spread",
            subject="eye",
            label="spread of clock positions",
            unit="circular variance",
            direction="higher",
            floor=0.0,
            source="1 - mean resultant length (Mardia & Jupp 2000, section 2.3)",
            readings=("catchlight_clock_deg", "catchlight_rho"),
            statistic=ResampledStatistic(_clock_spread, _clock_spreads),
            expects="face",
            bounds=(0.0, 1.0),
            limits=f"Glints within {NO_CLOCK_RHO:g} iris radii of the centre have no clock position. {_SMALL_IRIS}",
            sided=True,
        ),
        Trait(
            name="catchlight_same_disparity",
            subject="face",
            label="difference between the two eyes' catchlights",
            unit="iris radii",
            direction="reference",
            floor=0.0,
            source="offset form of the corneal-highlight consistency of Hu, Li & Lyu 2021, arXiv:2009.11924",
            readings=("catchlight_same_disparity",),
            statistic=median_of("catchlight_same_disparity"),
            kind="location",
            resolution=0.06,  # median error of an offset on portraits, docs/accuracy.md
            expects="face",
            bounds=(0.0, math.inf),
            limits=_ONE_LAMP + _PAIR,
            sided=True,
        ),
        Trait(
            name="catchlight_mirror_disparity",
            subject="face",
            label="departure from mirror-image catchlights",
            unit="iris radii",
            direction="reference",
            floor=0.0,
            source="mirrored offset form of the corneal-highlight consistency of Hu, Li & Lyu 2021, arXiv:2009.11924",
            readings=("catchlight_mirror_disparity",),
            statistic=median_of("catchlight_mirror_disparity"),
            kind="location",
            resolution=0.06,  # as above
            expects="face",
            bounds=(0.0, math.inf),
            limits=_ONE_LAMP + _PAIR,
            sided=True,
        ),
        Trait(
            name="catchlight_angle_difference",
            subject="face",
            label="difference of clock positions between the eyes",
            unit="degrees",
            direction="reference",
            floor=0.0,
            source="angular form of the corneal-highlight consistency of Hu, Li & Lyu 2021, arXiv:2009.11924",
            readings=("catchlight_angle_difference_deg",),
            statistic=_median_of_given("catchlight_angle_difference_deg"),
            kind="location",
            resolution=6.0,  # median error of a clock position on portraits, docs/accuracy.md
            expects="face",
            bounds=(0.0, 180.0),
            limits=f"Only faces whose glints both lie {NO_CLOCK_RHO:g} iris radii or more from the centre. "
            + _ONE_LAMP,
            sided=True,
        ),
        Trait(
            name="catchlight_iou",
            subject="face",
            label="overlap of the two eyes' catchlights",
            unit="IoU",
            direction="reference",
            floor=0.0,
            source="Hu, Li & Lyu 2021, arXiv:2009.11924",
            readings=("catchlight_iou",),
            statistic=_median_of_given("catchlight_iou"),
            kind="location",
            expects="face",
            bounds=(0.0, 1.0),
            limits=f"Blind to position; only where both main glints have a radius of {IOU_RADIUS_PX:g} px or more.",
        ),
        Trait(
            name="catchlight_modal_cell_share",
            subject="eye",
            label="catchlights in the most frequent place",
            unit="share",
            direction="lower",
            floor=1.0,
            source="frequency of the mode (Wilcox 1973), on a grid of 0.2 iris radii",
            readings=("catchlight_cell",),
            statistic=_cell_share,
            expects="face",
            equal_n=True,
            resampling="half",
            bounds=(0.0, 1.0),
            limits=_SMALL_IRIS,
        ),
        Trait(
            name="catchlight_modal_colour_share",
            subject="eye",
            label="catchlights of the most frequent colour",
            unit="share",
            direction="lower",
            floor=1.0,
            source="frequency of the mode (Wilcox 1973), on CIELAB cells of 10",
            readings=("catchlight_l", "catchlight_a", "catchlight_b"),
            statistic=_colour_share,
            expects="face",
            equal_n=True,
            resampling="half",
            bounds=(0.0, 1.0),
            limits="Clipped glints are all white, whatever the lamp's colour. " + _SMALL_IRIS,
        ),
        Trait(
            name="catchlight_dolls_eye_share",
            subject="face",
            label="faces with doll's eyes",
            unit="share",
            direction="lower",
            floor=1.0,
            source="both glints within 0.2 iris radii of the centre and within 0.1 of one another (this file)",
            readings=("catchlight_dolls_eye",),
            statistic=mean_of("catchlight_dolls_eye"),
            is_share=True,
            expects="face",
            bounds=(0.0, 1.0),
            limits=_SMALL_IRIS,
        ),
        Trait(
            name="catchlight_contrast",
            subject="eye",
            label="gleam: catchlight against iris",
            unit="stops",
            direction="higher",
            floor=0.0,
            source="log2 of the ratio of linear luminances (ITU-R BT.709)",
            readings=("catchlight_contrast_stops",),
            statistic=median_of("catchlight_contrast_stops"),
            expects="face",
            bounds=(0.0, math.inf),
            limits="Only where there is a catchlight; dark irises give more stops. " + _SMALL_IRIS,
        ),
    ),
)
