"""Small pure helpers shared by the trait families: angles, circles, polygons, shapes, colour.

All coordinates are pixels, x right, y down. All angles are degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.trait import OK, Circle, Counts, Eye, Face, Pixels, Points, ResampledStatistic, Sample, Statistic, View


def clock_deg(dx: float, dy: float) -> float:
    """Clock position of an offset: 0 = 12 o'clock, clockwise as seen in the image, in [0, 360).

    ``dx``, ``dy``: image offset, y downward.
    """
    return math.degrees(math.atan2(dx, -dy)) % 360.0


def angle_difference_deg(a: float, b: float) -> float:
    """Smallest absolute difference of two directions, in [0, 180]."""
    return abs((a - b + 180.0) % 360.0 - 180.0)


def rotate(points: Points, degrees: float) -> Points:
    """Rotate (n, 2) offsets about the origin, clockwise as seen in the image for positive ``degrees``."""
    radians = math.radians(degrees)
    c, s = math.cos(radians), math.sin(radians)
    return np.asarray(np.asarray(points, dtype=np.float64) @ np.array([[c, s], [-s, c]]))


def polygon_depth_px(polygon: Points, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """How deep points lie inside a simple polygon: distance to its edge in pixels, negative outside.

    ``polygon``: float64 (n, 2), closed by itself. ``x``, ``y``: of shapes that broadcast to the result's. Give of a
    grid its columns (1, w) and its rows (h, 1): whole planes take n times their memory.
    """
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.hypot(*edges.T)
    each = (-1, *(1,) * max(x.ndim, y.ndim))  # edges first, then the points' own axes
    ux, uy = np.where(lengths > 0, edges.T, [[1.0], [0.0]]) / np.where(lengths > 0, lengths, 1.0)
    ux, uy, ax, ay, by = (value.reshape(each) for value in (ux, uy, *polygon.T, np.roll(polygon[:, 1], -1)))
    dx, dy = x - ax, y - ay
    crossing = ax + dy * np.divide(ux, uy, out=np.zeros_like(ux), where=uy != 0)
    crossing = np.where((ay > y) != (by > y), crossing, -np.inf)
    distance2 = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
    inside = np.zeros(distance2.shape, dtype=np.bool_)
    parts = (dx * ux, dy * uy, dx * uy, dy * ux, crossing)
    for length, along_x, along_y, across_x, across_y, edge_x in zip(lengths.tolist(), *parts, strict=True):
        along = along_x + along_y
        beyond = np.maximum(along, 0.0)
        np.minimum(beyond, length, out=beyond)
        beyond -= along
        beyond *= beyond
        across = across_x - across_y
        across *= across
        across += beyond
        np.minimum(distance2, across, out=distance2)
        inside ^= x < edge_x
    return np.asarray(np.where(inside, 1.0, -1.0) * np.sqrt(distance2))


def resultant_length(degrees: NDArray[np.float64]) -> float:
    """Mean resultant length of directions, 0 (uniform) to 1 (all equal) (Mardia & Jupp 2000, eq. 2.3.2)."""
    if len(degrees) == 0:
        return math.nan
    return float(abs(np.exp(1j * np.radians(degrees)).mean()))


def srgb_to_linear(pixels: Pixels) -> NDArray[np.float64]:
    """sRGB uint8 (..., 3) to linear light in [0, 1] (IEC 61966-2-1)."""
    return np.asarray(_LINEAR.take(pixels), dtype=np.float64)


def luminance(pixels: Pixels) -> NDArray[np.float64]:
    """Relative luminance Y in [0, 1] of sRGB uint8 (..., 3), shape (...) (ITU-R BT.709 primaries)."""
    return np.asarray(_LINEAR.take(pixels) @ _LUMINANCE)


_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_SHARES = np.arange(256, dtype=np.float32) / np.float32(255)
_CODES = np.arange(256) / 255.0
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)


def rotation_onto(points: Points, target: Points) -> NDArray[np.float64]:
    """Proper rotation R (d, d) that minimises |points @ R - target| for centred shapes (n, d) (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(points.T @ target)
    keep = np.ones(points.shape[1])
    keep[-1] = np.sign(np.linalg.det(u @ vt))
    return np.asarray((u * keep) @ vt)


def unit_shape(points: Points) -> Points:
    """A shape (n, d) centred on its centroid and scaled to root-mean-square radius 1."""
    centred = np.asarray(points, dtype=np.float64) - points.mean(axis=0)
    radius = float(np.sqrt((centred**2).sum(axis=1).mean()))
    if radius == 0.0:
        raise ValueError("a shape needs two distinct points")
    return np.asarray(centred / radius)


def frontal_landmarks(landmarks_px: Points) -> Points:
    """Pose-normalised face mesh: float64 (n, 3), x right, y down, z away, unit = outer canthal distance.

    The landmarks that facial expression does not move (brow ridge, nose, eye corners, temples) are laid
    on a symmetric mean face by the best similarity (Umeyama 1991, doi:10.1109/34.88573); the same
    similarity is applied to all. The origin lies between the mean face's outer eye corners. The mean face
    averages the mesh of 77 upright portraits after generalised Procrustes alignment, and looks ahead
    when a portrait's typical sitter does. ``landmarks_px``: (n >= 468, 3), MediaPipe's numbering.
    """
    rigid = landmarks_px[_RIGID_INDEX]
    centre, target_centre = rigid.mean(axis=0), _RIGID_MEAN.mean(axis=0)
    shape, target = rigid - centre, _RIGID_MEAN - target_centre
    rotation = rotation_onto(shape, target)
    scale = float(((shape @ rotation) * target).sum() / (shape**2).sum())
    return np.asarray(scale * (landmarks_px - centre) @ rotation + target_centre)


def outer_canthal_px(landmarks_px: Points) -> float:
    """Distance of the outer eye corners in pixels, depth included, so that turning the head does not shorten it."""
    return float(np.linalg.norm(landmarks_px[33] - landmarks_px[263]))


def polygon_mask(points: Points, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centres lie in a simple polygon (n, 2), bool (height, width), by the even-odd rule.

    The part of the polygon that lies outside the image is cut off.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    x0, y0 = np.maximum(np.ceil(points.min(axis=0)), 0).astype(int)
    x1, y1 = np.minimum(np.floor(points.max(axis=0)), (width - 1, height - 1)).astype(int)
    if x1 < x0 or y1 < y0:
        return mask
    rows, columns = np.arange(y0, y1 + 1, dtype=np.float64)[:, None], np.arange(x0, x1 + 1, dtype=np.float64)
    inside = mask[y0 : y1 + 1, x0 : x1 + 1]
    (ax, ay), (bx, by) = points.T, np.roll(points, -1, axis=0).T
    crossings = ax + (rows - ay) * (bx - ax) / np.where(by == ay, 1.0, by - ay)  # of each row and edge, (h, n)
    reached = np.ceil([np.minimum(ay, by), np.maximum(ay, by)]) - y0
    for edge, (first, last) in enumerate(np.clip(reached, 0, len(rows)).astype(int).T.tolist()):
        inside[first:last] ^= columns < crossings[first:last, edge, None]
    return mask


def face_gate(
    face: Face, smallest_canthal_px: float, yaw_limit_deg: float, pitch_limits_deg: tuple[float, float]
) -> str:
    """``ok``, or why a face cannot be read: its own state, ``too_small`` (outer canthal distance) or ``pose``."""
    if face.state != OK:
        return face.state
    if outer_canthal_px(face.landmarks_px) < smallest_canthal_px:
        return "too_small"
    low, high = pitch_limits_deg
    if abs(face.yaw_deg) > yaw_limit_deg or not low <= face.pitch_deg <= high:
        return "pose"
    return OK


SMALLEST_IRIS_PX = 5.0
"""Smallest iris radius that is read."""

EYE_STATES = {
    "unreadable": "the face is not enough like a face to be read",
    "pose": "the head is turned too far",
    "too_small": f"the iris radius is below {SMALLEST_IRIS_PX:g} px",
    "eye_closed": "the lids leave less than a quarter of the iris",
    "occluded": "one side of the limbus is clear and the other hidden (hair, glasses), or the eye leaves the image",
    "no_limbus": "no circular edge between a darker iris and a brighter sclera where the landmark model puts an iris",
}
"""Why an iris is not read: the states of ``eye_gate`` besides ``ok``, with their meaning."""


@dataclass(frozen=True)
class IrisPatch:
    """An iris and its surroundings in native pixels; all fields share one shape (h, w).

    ``rgb``: sRGB uint8 (h, w, 3). ``x``, ``y``: image coordinates of the pixel centres. ``rho``: distance from the
    iris centre and ``depth``: distance inside the lids (negative outside), both in iris radii. ``light``: relative
    luminance, and ``linear`` (h, w, 3) what it is of: linear light.
    """

    rgb: Pixels
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    rho: NDArray[np.float64]
    depth: NDArray[np.float64]

    @cached_property
    def linear(self) -> NDArray[np.float64]:
        """Of ``srgb_to_linear``."""
        return srgb_to_linear(self.rgb)

    @cached_property
    def light(self) -> NDArray[np.float64]:
        """As of ``luminance``."""
        return np.asarray(self.linear @ _LUMINANCE)


def iris_patch_of(view: View, eye: Eye) -> IrisPatch:
    """The ``iris_patch`` of an eye whose limbus was found, cut once for all families."""
    return view.once(_iris_patch, eye)


def _iris_patch(pixels: Pixels, eye: Eye) -> IrisPatch:
    assert eye.limbus is not None
    return iris_patch(pixels, eye.limbus, eye.lid_px)


def iris_patch(pixels: Pixels, iris: Circle, lid_px: Points, reach: float = 1.5) -> IrisPatch:
    """Cut the square of ``reach`` iris radii (and 3 px) about an iris, as far as it lies in the image."""
    half = reach * iris.radius + 3.0
    height, width = pixels.shape[:2]
    x0, x1 = min(width, max(0, math.floor(iris.x - half))), min(width - 1, math.ceil(iris.x + half))
    y0, y1 = min(height, max(0, math.floor(iris.y - half))), min(height - 1, math.ceil(iris.y + half))
    x1, y1 = max(x1, x0 - 1), max(y1, y0 - 1)
    rows, columns = np.arange(y0, y1 + 1, dtype=np.float64)[:, None], np.arange(x0, x1 + 1, dtype=np.float64)[None]
    x, y = np.broadcast_arrays(columns, rows)
    return IrisPatch(
        rgb=pixels[y0 : y1 + 1, x0 : x1 + 1],
        x=x,
        y=y,
        rho=np.hypot(columns - iris.x, rows - iris.y) / iris.radius,
        depth=polygon_depth_px(lid_px, columns, rows) / iris.radius,
    )


def eye_gate(face: Face, eye: Eye, yaw_limit_deg: float, pitch_limits_deg: tuple[float, float]) -> str:
    """``ok``, or why an iris cannot be read: the face's state, ``pose``, or the limbus's state."""
    if face.state != OK:
        return face.state
    low, high = pitch_limits_deg
    if abs(face.yaw_deg) > yaw_limit_deg or not low <= face.pitch_deg <= high:
        return "pose"
    return eye.limbus_state


def mean_of(name: str) -> Statistic:
    """Statistic: the mean of a number reading (of a 0/1 reading, the share of ones); NaN for an empty sample."""

    def mean(sample: Sample, reference: Sample) -> float:
        return float(np.mean(sample.numbers(name))) if len(sample) else math.nan

    def means(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        return _ratio(counts @ sample.numbers(name), counts.sum(axis=1))

    return ResampledStatistic(mean, means)


def share_above_zero(name: str) -> Statistic:
    """Statistic: the share of subjects of which a number reading is above zero; NaN for an empty sample."""

    def share(sample: Sample, reference: Sample) -> float:
        return float(np.mean(sample.numbers(name) > 0.0)) if len(sample) else math.nan

    def shares(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        return _ratio(counts @ (sample.numbers(name) > 0.0), counts.sum(axis=1))

    return ResampledStatistic(share, shares)


def share_in_state(column: str, state: str) -> Statistic:
    """Statistic: the share of subjects in this state; NaN for an empty sample."""

    def share(sample: Sample, reference: Sample) -> float:
        return float(np.mean(sample[column] == state)) if len(sample) else math.nan

    def shares(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        return _ratio(counts @ (sample[column] == state), counts.sum(axis=1))

    return ResampledStatistic(share, shares)


def resultants(degrees: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """``resultant_length`` of directions (n,) in every resample, (B,); NaN below two directions."""
    turns = counts @ np.exp(1j * np.radians(degrees))
    n = counts.sum(axis=1)
    return np.where(n > 1, _ratio(np.abs(turns), n), np.nan)


def variances(values: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """Variance (n - 1) of numbers (n,) in every resample, (B,); NaN below two."""
    n = counts.sum(axis=1)
    off = values - (np.mean(values) if len(values) else 0.0)
    squares = counts @ np.square(off) - np.square(counts @ off) / np.maximum(n, 1.0)
    return _ratio(np.maximum(squares, 0.0), np.maximum(n - 1.0, 0.0))


def median_of(name: str) -> ResampledStatistic:
    """Statistic: the median of a number reading; NaN for an empty sample."""

    def median(sample: Sample, reference: Sample) -> float:
        return float(np.median(sample.numbers(name))) if len(sample) else math.nan

    def medians(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        values = np.append(np.sort(sample.numbers(name)), np.nan)
        reached = counts[:, np.argsort(sample.numbers(name), kind="stable")].cumsum(axis=1)
        total = counts.sum(axis=1, keepdims=True)
        # The middle value, or the mean of the two: the first whose running count goes beyond each place.
        places = [(reached <= (total - 1) // 2).sum(axis=1), (reached <= total // 2).sum(axis=1)]
        return np.asarray((values[places[0]] + values[places[1]]) / 2, dtype=np.float64)

    return ResampledStatistic(median, medians)


def spread_of(*names: str, root: bool = True) -> Statistic:
    """Statistic: root of the total variance (n - 1) of one or several number readings; NaN below two subjects.

    ``root`` False: the total variance itself.
    """

    def spread(sample: Sample, reference: Sample) -> float:
        if len(sample) < 2:
            return math.nan
        variance = sum(float(np.var(sample.numbers(name), ddof=1)) for name in names)
        return math.sqrt(variance) if root else variance

    def spreads(sample: Sample, counts: Counts) -> NDArray[np.float64]:
        total = np.zeros(len(counts))
        for name in names:
            total += variances(sample.numbers(name), counts)
        return np.sqrt(total) if root else total

    return ResampledStatistic(spread, spreads, is_scale=True)


def largest_eigenvalue(matrix: NDArray[Any]) -> float:
    """Largest eigenvalue of a Hermitian matrix (n, n) without negative ones, n > 0.

    By powers of the matrix: what decays makes things alike, and then one eigenvalue holds more than half of the trace,
    hence more than all the others, and shows itself in a few steps. Any other matrix is solved whole.
    """
    trace = float(np.trace(matrix).real)
    vector = matrix[:, np.diagonal(matrix).real.argmax()]
    for _ in range(_POWER_STEPS):
        vector = vector / (np.linalg.norm(vector) or 1.0)
        image = matrix @ vector
        value = float(np.vdot(vector, image).real)
        if value > trace / 2 and np.linalg.norm(image - value * vector) <= 1e-9 * value:
            return value  # the error of the value is as the square of that of the vector
        vector = image
    return float(np.linalg.eigvalsh(matrix)[-1])


_POWER_STEPS = 16


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where there is nothing to divide by."""
    return np.asarray(np.where(under > 0, over / np.maximum(under, 1.0), np.nan), dtype=np.float64)


@dataclass(frozen=True)
class SkinPatch:
    """A part of the face where bare skin is to be expected.

    ``rgb``: sRGB uint8 (n, 3), its pixels. ``frac_inside``: the share of its area that lies within the image, 0..1.
    """

    rgb: Pixels
    frac_inside: float

    @cached_property
    def light(self) -> NDArray[np.float64]:
        """Relative luminance of its pixels, (n,)."""
        return luminance(self.rgb)

    @cached_property
    def lab(self) -> NDArray[np.float32]:
        """CIELAB of its pixels, (n, 3)."""
        return lab(self.rgb)

    @cached_property
    def median_luminance(self) -> float:
        """In [0, 1]."""
        return median(self.light)

    @cached_property
    def deviation_stops(self) -> float:
        """Robust deviation of its luminance."""
        return robust_deviation(np.log2(np.maximum(self.light, _DARK_LUMINANCE / 8)))

    @cached_property
    def hue_deg(self) -> float | None:
        """CIELAB hue of its median colour; None where that is next to grey."""
        a, b = (median(self.lab[:, channel]) for channel in (1, 2))
        return math.degrees(math.atan2(b, a)) if math.hypot(a, b) >= _LEAST_CHROMA else None


@dataclass(frozen=True)
class SkinPatches:
    """The three patches of one face, in image sides, with the crop they come from and its mask of both cheeks.

    ``crop``: sRGB uint8 (h, w, 3); ``cheeks``: bool (h, w).
    """

    cheek_left: SkinPatch
    cheek_right: SkinPatch
    forehead: SkinPatch
    crop: Pixels
    cheeks: NDArray[np.bool_]


def skin_patches_of(view: View, face: Face) -> SkinPatches:
    """The ``skin_patches`` of a face, cut once for all families."""
    return view.once(_skin_patches, face)


def _skin_patches(pixels: Pixels, face: Face) -> SkinPatches:
    return skin_patches(pixels, face.landmarks_px)


def skin_patches(pixels: Pixels, landmarks_px: Points) -> SkinPatches:
    """Cut out the cheeks (beside the nose, below the eyes) and the forehead (above the brows) of a face mesh.

    ``pixels``: sRGB uint8 (h, w, 3); ``landmarks_px``: (n >= 468, 3). The cheek outlines are drawn in to
    three quarters toward the nose, off the hair that frames a face.
    """
    points = landmarks_px[:, :2]
    outlines = [_cheek(points, _CHEEK_LEFT), _cheek(points, _CHEEK_RIGHT), points[list(_FOREHEAD)]]
    both = np.concatenate(outlines)
    x0, y0 = np.maximum(np.floor(both.min(axis=0)), 0).astype(int)
    x1, y1 = np.ceil(both.max(axis=0)).astype(int) + 1
    crop = pixels[y0 : max(y1, y0), x0 : max(x1, x0)]
    masks = [polygon_mask(outline - (x0, y0), *crop.shape[:2]) for outline in outlines]
    colours = np.ascontiguousarray(crop).reshape(-1, 3)
    patches = [
        SkinPatch(colours.take(np.flatnonzero(mask), axis=0), _frac_inside(mask, outline, pixels))
        for mask, outline in zip(masks, outlines, strict=True)
    ]
    return SkinPatches(patches[0], patches[1], patches[2], crop, masks[0] | masks[1])


def patch_state(*patches: SkinPatch) -> str:
    """``ok``, or why the colours of these patches cannot be compared; the words are the keys of ``PATCH_STATES``."""
    if min(patch.frac_inside for patch in patches) < 0.9:
        return "out_of_frame"
    if min(len(patch.rgb) for patch in patches) < SMALLEST_PATCH_PX:
        return "too_small"
    if max(float((patch.rgb[:, 1] >= _SATURATED_CODE).mean()) for patch in patches) > _SATURATED_SHARE:
        return "saturated"
    if min(patch.median_luminance for patch in patches) < _DARK_LUMINANCE:
        return "too_dark"
    if max(patch.deviation_stops for patch in patches) > _OCCLUDED_STOPS or _hue_range_deg(patches) > _OCCLUDED_HUE_DEG:
        return "occluded"
    return OK


def lab(rgb: Pixels) -> NDArray[np.float32]:
    """CIELAB (D65) of sRGB uint8 (..., 3): float32 (..., 3), L* in [0, 100] (CIE 15:2018)."""
    return np.stack(lab_planes(rgb), axis=-1)


def lab_planes(rgb: Pixels) -> list[NDArray[np.float32]]:
    """L*, a* and b* of ``lab``, each (...)."""
    flat = cv2.LUT(np.ascontiguousarray(rgb).reshape(1, -1, 3), _SHARES)
    cv2.cvtColor(flat, cv2.COLOR_RGB2LAB, dst=flat)
    planes = [np.asarray(plane, dtype=np.float32) for plane in cv2.split(flat)]
    np.minimum(planes[0], 100.0, out=planes[0])  # the library's white is 100.00001
    return [plane.reshape(rgb.shape[:-1]) for plane in planes]


def quantile(values: NDArray[np.floating[Any]], share: float) -> float:
    """What ``np.quantile`` gives of numbers (n,), n > 0, between two of them linearly, for a fraction of its time."""
    place = share * (len(values) - 1)
    low = min(int(place), max(len(values) - 2, 0))
    ordered = np.partition(values, (low, min(low + 1, len(values) - 1)))
    below, above, part = float(ordered[low]), float(ordered[min(low + 1, len(values) - 1)]), place - low
    # From the nearer of the two, as there: the last digits are the same.
    return below + (above - below) * part if part < 0.5 else above - (above - below) * (1.0 - part)


def median(values: NDArray[np.floating[Any]]) -> float:
    """What ``np.median`` gives of numbers (n,), n > 0, none of them NaN, for a fraction of its time."""
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    ordered = np.partition(values, (half - 1, half))
    return float((ordered[half - 1] + ordered[half]) / ordered.dtype.type(2))  # in their own precision, as there


def robust_deviation(values: NDArray[np.floating[Any]]) -> float:
    """Median absolute deviation scaled to the standard deviation of a normal distribution."""
    return 1.4826 * median(np.abs(values - median(values)))


def _hue_range_deg(patches: tuple[SkinPatch, ...]) -> float:
    """Largest difference of CIELAB hue between patches that have a hue at all, 0..180."""
    hues = [patch.hue_deg for patch in patches if patch.hue_deg is not None]
    return max((angle_difference_deg(one, other) for one in hues for other in hues), default=0.0)


def _frac_inside(mask: NDArray[np.bool_], outline: Points, pixels: Pixels) -> float:
    """How many of the pixel centres that a polygon holds are in its mask, which ends at the image's edge, 0..1."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    if (low >= 0).all() and (high <= np.array(pixels.shape[1::-1]) - 1).all():
        return float(mask.any())
    low = np.floor(low)
    width, height = (int(side) + 2 for side in np.ceil(high - low))
    return float(mask.sum()) / max(int(polygon_mask(outline - low, height, width).sum()), 1)


def _cheek(points: Points, outline: tuple[int, ...]) -> Points:
    anchor = points[list(outline[1:3])].mean(axis=0)
    return np.asarray(anchor + 0.75 * (points[list(outline)] - anchor))


SMALLEST_PATCH_PX = 12
"""Pixels of a patch. Portraits shrunk to this read within 0.1 stops and 3 degrees of typology angle of themselves."""
PATCH_STATES = {
    "out_of_frame": "a patch of skin lies outside the image",
    "too_small": f"the eyes' outer corners are too close, or a patch has less than {SMALLEST_PATCH_PX} pixels",
    "saturated": "a patch of skin is clipped",
    "too_dark": "a patch of skin is nearly black",
    "occluded": "a patch of skin is covered (hair, glasses, hand)",
}
# With more pixels than this clipped in green, 72 % of luminance, a patch has no known luminance. Red alone clips on
# many a bright portrait and hides a fifth of the luminance at most; leaving those faces out would lose an
# oversaturated generation just as it decays.
_SATURATED_CODE = 254
_SATURATED_SHARE = 0.1
_DARK_LUMINANCE = 0.002  # about sRGB code 7: one code is a sixth of a stop there, and JPEG moves it
_OCCLUDED_STOPS = 1.0  # within one patch shaded skin stays below, hair and spectacle frames do not
_LEAST_CHROMA = 5.0  # of a colour that has a hue
_OCCLUDED_HUE_DEG = 30.0  # between patches; coloured light reaches 19 degrees on portraits

# MediaPipe's landmark numbers; second and third of a cheek lie beside the nose.
_CHEEK_LEFT = (118, 101, 36, 205, 187, 117)
_CHEEK_RIGHT = (347, 330, 266, 425, 411, 346)
_FOREHEAD = (69, 108, 151, 337, 299, 336, 9, 107)

# Landmarks at the image's left with their mirror partners, then those of the midline; the mean face.
_RIGID_SIDE: dict[tuple[int, int], tuple[float, float, float]] = {
    (33, 263): (-0.500, 0.000, 0.000),
    (133, 362): (-0.190, 0.028, -0.060),
    (98, 327): (-0.204, 0.496, -0.181),
    (127, 356): (-0.783, 0.029, 0.560),
    (234, 454): (-0.775, 0.189, 0.625),
    (54, 284): (-0.670, -0.391, 0.127),
    (67, 297): (-0.395, -0.549, -0.153),
    (103, 332): (-0.562, -0.487, -0.023),
    (21, 251): (-0.736, -0.269, 0.274),
    (162, 389): (-0.771, -0.137, 0.430),
}
_RIGID_MIDLINE: dict[int, tuple[float, float, float]] = {
    1: (0.0, 0.478, -0.455),
    2: (0.0, 0.535, -0.271),
    6: (0.0, 0.059, -0.300),
    8: (0.0, -0.111, -0.268),
    9: (0.0, -0.205, -0.291),
    10: (0.0, -0.582, -0.249),
    151: (0.0, -0.400, -0.276),
    168: (0.0, -0.030, -0.258),
    195: (0.0, 0.221, -0.405),
    197: (0.0, 0.143, -0.350),
}
_RIGID_INDEX = [*(left for left, _ in _RIGID_SIDE), *(right for _, right in _RIGID_SIDE), *_RIGID_MIDLINE]
_RIGID_MEAN = np.array(
    [*_RIGID_SIDE.values(), *((-x, y, z) for x, y, z in _RIGID_SIDE.values()), *_RIGID_MIDLINE.values()]
)
