"""The iris circle, refined on the limbus: the edge between iris and sclera, read on native pixels.

The landmark model's iris is a start only: it sits too low by 0.1 to 0.2 R on portraits. The lids hide the top
and often the bottom of the limbus, so the circle is sought on the arcs between the lids: first the circle
with the strongest outward brightening along those arcs (the integro-differential operator of Daugman 1993,
doi:10.1109/34.244676, clipped so that one strong edge cannot outvote an arc), then a robust fit to the
sub-pixel edge points (iteratively reweighted least squares with Cauchy weights, Holland & Welsch 1977,
doi:10.1080/03610927708827533).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from detectors.geometry import SMALLEST_IRIS_PX, median, polygon_mask, quantile
from detectors.trait import OK, Circle, Pixels, Points

_Floats = NDArray[np.float64]
_Float = TypeVar("_Float", np.float32, np.float64)

_GX, _GY, _DEPTH, _RED = range(4)
_EDGES_AND_DEPTH, _DEPTH_AND_RED = slice(_GX, _RED), slice(_DEPTH, None)

_N_ANGLES = 72
_THETA = np.arange(_N_ANGLES) * 2.0 * np.pi / _N_ANGLES
_COS, _SIN = np.cos(_THETA), np.sin(_THETA)
_EVERY = 3  # angle is looked at first, half of them at a time: what they need then stays in the processor's cache
_LOWER, _UPPER = slice(0, _N_ANGLES // 2, _EVERY), slice(_N_ANGLES // 2, _N_ANGLES, _EVERY)
# Trust by direction: full within 40 degrees of the line through the eye's corners, less where lids lie.
_LATERAL = np.clip(
    (math.sin(math.radians(60)) - np.abs(_SIN)) / (math.sin(math.radians(60)) - math.sin(math.radians(40))), 0, 1
)
_TRUST = _LATERAL + (1.0 - _LATERAL) * np.where(_SIN > 0, 1.0, 0.1)
# The fit trusts the bottom less: there the edge may be the lower lid's, which passes for the limbus where it meets it.
_FIT_TRUST = _TRUST * np.where(_SIN > 0.8, 0.7, 1.0)

# All lengths below are in units of the landmark model's iris radius.
_SMOOTHING = 0.05
_MARGIN = 0.02  # an arc counts fully when it lies this far (and half a pixel) inside the lids
# Most lower lids lie just at the limbus, where the landmark model's lid cuts its bottom off: by angle, edges count
# this far below it.
_BELOW_LID = 0.1 * np.clip((_SIN - 0.5) / 0.3, 0.0, 1.0)
_START_UP = 0.12  # the iris is sought above the landmark model's centre by this much first
_START_RADIUS = 1.05  # and its radius tried larger by this first
_START_SD = np.array([[0.25], [0.14], [0.10]])  # of x, y, radius; the model errs in height by 0.1 about its bias
_EXPECTED = np.array([[0.0], [-_START_UP], [_START_RADIUS - 1.0]])  # of x, y, radius, from the landmark model's circle
_START_WEIGHT = 0.05
_EMPTY_SHARE = 2.0 / _N_ANGLES  # of all angles; keeps a circle with few visible angles from winning
_ROUGH_EMPTY = _EMPTY_SHARE * _N_ANGLES / _EVERY
_UPPER_TRUST = float(_TRUST[_UPPER].sum())
_EDGE_STEPS = np.linspace(-0.12, 0.12, 25)  # edge points are sought this far from the circle
_EDGE_LEAST, _EDGE_CLEAR = 0.3, 0.45  # of the typical strong gradient: to be fitted, to count as support
_CAUCHY = 0.02
_RADIUS_SD, _HEIGHT_SD = 0.04, 0.08
_REGULAR = 1e-6 * np.eye(3)
_BRIGHT_SHARE = 0.92  # of the opening's pixels are darker than this level, to which brighter ones (glints) are cut


def _grid(*axes: tuple[float, float, float]) -> _Floats:
    """All x, y, radius of axes given as first, last, step: (3, n)."""
    values = [np.arange(low, high + 1e-9, step) for low, high, step in axes]
    return np.asarray(np.stack(np.meshgrid(*values, indexing="ij")).reshape(3, -1))


_COARSE = _grid((-0.42, 0.42, 0.06), (-0.48, 0.30, 0.06), (-0.16, 0.36, 0.04))
_N_LIKELY = 64  # of a grid's circles are scored precisely
_NEAR_PULL = 0.2  # circles with a weaker pull are looked at first
_FINE = _grid(*[(-0.06, 0.06, 0.02)] * 3)

_LEAST_OPEN = 0.25  # share of the iris disc between the lids
_LEAST_SUPPORT = 0.42  # share of the visible arc with an edge point on the circle
_LEAST_SIDE_SUPPORT = 0.3
_CLEAR_SIDE_SUPPORT = 0.6
_LEAST_BRIGHTENING = 0.13  # (outside - inside) / outside in sRGB codes, times the support: a faint rim must be whole
_LEAST_STEP = 6.0  # sRGB codes
_LEAST_STEP_SHARE = 0.5
_LEAST_IN_IMAGE = 0.8


@dataclass(frozen=True)
class _Patch:
    """The eye's surroundings in native pixels, in a frame whose x axis runs along the eye's corners.

    ``fields``: (4, h, w), its layers ``_GX``, ``_GY``: smoothed gradient of red in the image's axes; ``_DEPTH``:
    pixels inside the lids, negative outside; ``_RED``: sRGB codes; sclera and skin are bright in red, and irises of
    any colour dark. Of single precision, held in double, in which they are sampled.
    ``start``: x, y, radius. ``right``, ``down``: unit vectors of the eye's frame. ``strong``: a typical strong
    gradient near the limbus. ``origin``: the image's coordinates of the patch's first pixel.
    """

    fields: _Floats
    start: _Floats
    right: _Floats
    down: _Floats
    strong: float
    origin: _Floats

    @cached_property
    def directions(self) -> _Floats:
        """Unit vectors of the sampled angles in image axes, (2, 72)."""
        return np.asarray(self.right[:, None] * _COS + self.down[:, None] * _SIN)

    @cached_property
    def rough_fields(self) -> NDArray[np.float32]:
        """``_GX`` and ``_GY`` in units of ``strong`` and ``_DEPTH`` in units of ``margin_px``, (h, w, 3)."""
        units = np.array([self.strong, self.strong, self.margin_px])
        return np.ascontiguousarray(self.fields[_EDGES_AND_DEPTH].transpose(1, 2, 0) / units, dtype=np.float32)

    def on_rim(self, circle: _Floats, factor: float = 1.0) -> _Floats:
        """Points (2, 72) at the sampled angles, ``factor`` radii from the circle's centre."""
        return np.asarray(circle[:2, None] + factor * circle[2] * self.directions)

    def sample(self, points: _Floats, fields: slice) -> list[_Floats]:
        """Bilinear samples of these fields at points (2, ...)."""
        _, height, width = self.fields.shape
        x, y = np.minimum(np.maximum(points[0], 0.0), width - 1.0), np.minimum(np.maximum(points[1], 0.0), height - 1.0)
        column, row = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
        at = row * width + column
        x -= column
        y -= row
        both = x * y
        corners = ((at, 1.0 - x - y + both), (at + 1, x - both), (at + width, y - both), (at + width + 1, both))
        return [_weighted_sum(plane, corners) for plane in self.fields[fields]]

    def openness(self, depth: _Floats) -> _Floats:
        """From a depth inside the lids in pixels: 0 at the lid margin or beyond, 1 inside."""
        return _limit(depth / self.margin_px, 0.0)

    @property
    def margin_px(self) -> float:
        """How deep inside the lids an arc counts fully."""
        return float(_MARGIN * self.start[2] + 0.5)


def _weighted_sum(plane: _Floats, terms: Iterable[tuple[NDArray[np.intp], _Floats]]) -> _Floats:
    """Sum of a plane's values at these indices times these weights, in place: new memory would take half the time."""
    total, *others = (np.multiply(values := plane.take(at), weights, out=values) for at, weights in terms)
    for other in others:
        total += other
    return total


def refine(pixels: Pixels, mesh_iris_px: Points, lid_px: Points) -> tuple[Circle | None, str]:
    """Find the iris circle. Returns it with state ``ok``, or None with one of these states: ``too_small``,
    ``eye_closed``, ``occluded``, ``no_limbus`` (``geometry.EYE_STATES`` says what they mean). At a radius of 6 px the
    centre's median error on drawn eyes is 0.06 radii, at 12 px 0.015; below 5 px nothing is returned.

    ``pixels``: sRGB uint8 (h, w, 3). ``mesh_iris_px``: float64 (5, 2), centre and ring of the landmark
    model. ``lid_px``: float64 (16, 2), from one corner along the upper lid to the other (index 8) and back
    along the lower lid. The circle's centre and radius are sub-pixel, in pixels of the image.
    """
    centre = mesh_iris_px[0]
    radius = float(np.linalg.norm(mesh_iris_px[1:] - centre, axis=1).mean())
    if radius < SMALLEST_IRIS_PX:
        return None, "too_small"
    if _frac_inside(pixels, centre, radius) < _LEAST_IN_IMAGE:
        return None, "occluded"
    patch = _cut(pixels, centre, radius, lid_px)
    if _frac_open(patch, patch.start) < _LEAST_OPEN:
        return None, "eye_closed"
    circle = _fit(patch, _search(patch))
    state = _judge(patch, circle)
    if state != OK:
        return None, state
    x, y = circle[:2] + patch.origin
    return Circle(float(x), float(y), float(circle[2])), OK


# --------------------------------------------------------------------------- the patch


def _frac_inside(pixels: Pixels, centre: Points, radius: float) -> float:
    """Share of the iris's bounding box that lies within the image."""
    height, width = pixels.shape[:2]
    spans = [
        max(0.0, min(middle + radius, side - 0.5) - max(middle - radius, -0.5)) / (2 * radius)
        for middle, side in zip(centre, (width, height), strict=True)
    ]
    return float(spans[0] * spans[1])


def _cut(pixels: Pixels, centre: Points, radius: float, lid_px: Points) -> _Patch:
    height, width = pixels.shape[:2]
    reach = 2.2 * radius + 4
    x0, y0 = np.maximum(np.floor(centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + reach), (width - 1, height - 1)).astype(int)
    origin = np.array([x0, y0], dtype=np.float64)
    red = pixels[y0 : y1 + 1, x0 : x1 + 1, 0].astype(np.float64)
    rows, columns = _grid_of(red.shape)
    depth = _depth(lid_px - origin, rows, columns, radius)
    start = np.array([*(centre - origin), radius])
    opening = depth > 0
    ceiling = quantile(red[opening], _BRIGHT_SHARE) if opening.any() else 255.0
    smooth = cv2.GaussianBlur(np.minimum(red, ceiling), (0, 0), max(0.6, _SMOOTHING * radius))
    gx = np.asarray(cv2.Sobel(smooth, cv2.CV_64F, 1, 0, ksize=3, scale=1 / 8), dtype=np.float64)
    gy = np.asarray(cv2.Sobel(smooth, cv2.CV_64F, 0, 1, ksize=3, scale=1 / 8), dtype=np.float64)
    from_centre = np.hypot(columns - start[0], rows - start[1]) / radius
    ring = opening & (from_centre > 0.7) & (from_centre < 1.3)
    strong = quantile(np.hypot(gx[ring], gy[ring]), 0.75) if ring.any() else 0.0
    right, down = _eye_axes(lid_px)
    fields = np.stack([gx, gy, depth, red]).astype(np.float32).astype(np.float64)
    return _Patch(fields, start, right, down, max(strong, 0.5), origin)


def _depth(lid: Points, rows: _Floats, columns: _Floats, radius: float) -> _Floats:
    """Pixels inside the lids, negative outside; as far from them as edges are looked for, and no more beyond."""
    far = float(_BELOW_LID.max()) * radius + 2.0  # an edge's reach, and a pixel for the samples between pixels
    shape = np.array([columns.size, len(rows)])
    ends = np.roll(lid, -1, axis=0)
    lengths = np.hypot(*(ends - lid).T)
    ux, uy = ((ends - lid) / np.maximum(lengths, 1e-9)[:, None]).T[:, :, None]
    # Each edge reaches the pixels of a window; these windows are of one size, so that all are worked out together.
    window = np.minimum(np.ceil(np.abs(ends - lid).max(axis=0) + 2.0 * far).astype(int) + 1, shape)
    first = np.clip(np.floor(np.minimum(lid, ends) - far).astype(int), 0, shape - window)
    from_middle = first - (lid + ends) / 2
    dx, dy = from_middle[:, :1] + np.arange(window[0]), from_middle[:, 1:] + np.arange(window[1])
    beyond = (dx * ux)[:, None, :] + (dy * uy)[:, :, None]
    np.abs(beyond, out=beyond)
    beyond -= (lengths / 2)[:, None, None]
    np.maximum(beyond, 0.0, out=beyond)
    beyond *= beyond
    distance2 = (dx * uy)[:, None, :] - (dy * ux)[:, :, None]
    distance2 *= distance2
    distance2 += beyond
    least = np.full((len(rows), columns.size), far**2)
    for (x, y), values in zip(first.tolist(), distance2, strict=True):
        near = least[y : y + window[1], x : x + window[0]]
        np.minimum(near, values, out=near)
    return np.asarray(np.where(polygon_mask(lid, *least.shape), 1.0, -1.0) * np.sqrt(least))


def _grid_of(shape: tuple[int, ...]) -> tuple[_Floats, _Floats]:
    """Rows (h, 1) and columns (1, w) of a patch (h, w)."""
    return np.arange(shape[0], dtype=np.float64)[:, None], np.arange(shape[1], dtype=np.float64)[None]


def _eye_axes(lid_px: Points) -> tuple[_Floats, _Floats]:
    """Unit vectors along the eye's corners and from the upper to the lower lid."""
    across = lid_px[8] - lid_px[0]
    across = across / max(float(np.linalg.norm(across)), 1e-9)
    down = np.array([-across[1], across[0]])
    if float(down @ (lid_px[9:].mean(axis=0) - lid_px[1:8].mean(axis=0))) < 0:
        across, down = -across, -down
    return across, down


# --------------------------------------------------------------------------- the circle


def _search(patch: _Patch) -> _Floats:
    """The best circle (x, y, radius) on a coarse grid about the start, then on a fine one about that."""
    best = patch.start
    for grid in (_COARSE, _FINE):
        likely = _likely(patch, best[:, None] + patch.start[2] * grid)
        best = likely[:, int(np.argmax(_arc_means(patch, likely) - _pulls(patch, likely)))]
    return np.asarray(best)


def _likely(patch: _Patch, circles: _Floats) -> _Floats:
    """Those of the circles (3, n) that score best when looked at roughly."""
    pulls = _pulls(patch, circles)
    scores = np.full(circles.shape[1], -np.inf)
    near = np.flatnonzero(pulls < _NEAR_PULL)
    edge, seen = _rough_sums(patch, circles[:, near], _LOWER) + _rough_sums(patch, circles[:, near], _UPPER)
    scores[near] = edge / (seen + _ROUGH_EMPTY) - pulls[near]
    # Farther circles are worth a look only where the best that it could show would bring them among the likely ones:
    # edges wherever it has not yet looked.
    least = np.partition(scores, -_N_LIKELY)[-_N_LIKELY]
    far = np.flatnonzero((pulls >= _NEAR_PULL) & (1.0 - pulls > least))
    lower = _rough_sums(patch, circles[:, far], _LOWER)
    edge, seen = lower + _UPPER_TRUST
    hopeful = edge / (seen + _ROUGH_EMPTY) - pulls[far] > least
    far = far[hopeful]
    edge, seen = lower[:, hopeful] + _rough_sums(patch, circles[:, far], _UPPER)
    scores[far] = edge / (seen + _ROUGH_EMPTY) - pulls[far]
    return np.asarray(circles[:, np.argpartition(-scores, _N_LIKELY)[:_N_LIKELY]])


def _arc_means(patch: _Patch, circles: _Floats) -> _Floats:
    """Mean clipped outward gradient on the visible arc of each circle (3, n), below 1."""
    cos, sin = patch.directions[:, :, None]
    x, y, radii = circles
    gx, gy, depth = patch.sample(np.stack([x + cos * radii, y + sin * radii]), _EDGES_AND_DEPTH)
    openness = patch.openness(depth)
    outward = gx * cos
    outward += gy * sin
    outward /= patch.strong
    edge = _TRUST @ (openness * _limit(outward, -1.0))
    return np.asarray(edge / (_TRUST @ openness + _EMPTY_SHARE * _N_ANGLES))


def _rough_sums(patch: _Patch, circles: _Floats, angles: slice) -> NDArray[np.float32]:
    """What such a mean is the ratio of (2, n), edges and what is seen, over these angles, in single precision and at
    points rounded to 1/32 px, for a fraction of the time.

    ``circles``: (3, n), n may be 0.
    """
    if not circles.size:
        return np.zeros((2, 0), dtype=np.float32)
    x, y, radii = circles.astype(np.float32)
    cos, sin = patch.directions[:, angles, None].astype(np.float32)
    points_x, points_y = cos * radii, sin * radii
    points_x += x
    points_y += y
    sampled = cv2.remap(patch.rough_fields, points_x, points_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gx, gy, depth = (np.asarray(plane, dtype=np.float32) for plane in cv2.split(sampled))
    trust = _TRUST[angles].astype(np.float32)
    openness = _limit(depth, 0.0)
    gx *= cos
    gy *= sin
    gx += gy
    seen = trust @ openness
    return np.asarray([trust @ np.multiply(openness, _limit(gx, -1.0), out=openness), seen])


def _limit(values: NDArray[_Float], least: float) -> NDArray[_Float]:
    """From ``least`` to 1, in place."""
    np.maximum(values, least, out=values)
    return np.minimum(values, 1.0, out=values)


def _pulls(patch: _Patch, circles: _Floats) -> _Floats:
    """How far circles (3, n) are from what is to be expected, in the unit of the scores, which this is taken off."""
    axes = np.eye(3)
    axes[0, :2], axes[1, :2] = patch.right, patch.down
    deviations = axes / patch.start[2] @ (circles - patch.start[:, None]) - _EXPECTED
    deviations /= _START_SD
    return np.asarray(_START_WEIGHT * np.square(deviations, out=deviations).sum(axis=0))


def _edge_points(patch: _Patch, circle: _Floats) -> tuple[_Floats, _Floats]:
    """Sub-pixel points of steepest brightening along each direction (2, 72), and how strong each is (72,), 0 to 1."""
    directions = patch.directions
    radii = circle[2] * (1.0 + _EDGE_STEPS)
    points = circle[:2, None, None] + radii[:, None] * directions[:, None, :]
    gx, gy, depth = patch.sample(points, _EDGES_AND_DEPTH)
    outward = gx * directions[0] + gy * directions[1]
    depth = depth + _BELOW_LID * patch.start[2]
    outward = np.where(depth > 0, outward, -1.0)
    peak = np.argmax(outward, axis=0)
    inner = np.clip(peak, 1, len(radii) - 2)
    each = np.arange(_N_ANGLES)
    before, at, after = outward[inner - 1, each], outward[inner, each], outward[inner + 1, each]
    curvature = before - 2.0 * at + after
    shift = np.where(curvature < -1e-9, 0.5 * (before - after) / np.minimum(curvature, -1e-9), 0.0)
    radius = radii[inner] + _limit(shift, -1.0) * (radii[1] - radii[0])
    edges = circle[:2, None] + radius * directions
    found = (peak == inner) & (at > _EDGE_LEAST * patch.strong)
    strength = found * _limit(at / patch.strong, 0.0) * patch.openness(depth[inner, each])
    return edges, np.asarray(strength)


def _fit(patch: _Patch, circle: _Floats) -> _Floats:
    """Robust least-squares circle through the edge points; the start only decides what the edges leave open."""
    scale = _CAUCHY * patch.start[2]
    # What is to be expected of height and radius, and how strongly.
    expected = np.append(patch.start[:2] - _START_UP * patch.start[2] * patch.down, _START_RADIUS * patch.start[2])
    stiffness = np.diag([0.0, 0.0, (_CAUCHY / _RADIUS_SD) ** 2])
    stiffness[:2, :2] += (_CAUCHY / _HEIGHT_SD) ** 2 * np.outer(patch.down, patch.down)
    regular = stiffness + _REGULAR
    rows = np.ones((4, _N_ANGLES))  # derivatives of the circle's distance by x, y and radius; the edge's distance
    for _ in range(2):
        edges, strength = _edge_points(patch, circle)
        trust = _FIT_TRUST * strength
        for _ in range(10):
            from_centre = edges - circle[:2, None]
            distance = np.maximum(np.hypot(from_centre[0], from_centre[1]), 1e-6)
            np.divide(from_centre, distance, out=rows[:2])
            residual = np.subtract(distance, circle[2], out=rows[3])
            weights = trust / (1.0 + np.square(residual / scale))
            normal = (weights * rows[:3]) @ rows.T
            pull = stiffness @ (expected - circle)
            _, _, step, _ = lapack.dgesv(normal[:, :3] + regular, normal[:, 3] + pull)  # as numpy's solve has it
            circle = circle + step
    return circle


# --------------------------------------------------------------------------- is it an iris?


def _judge(patch: _Patch, circle: _Floats) -> str:
    """``ok`` if an iris's edge is really there: on the circle, on both visible sides, from darker to brighter."""
    radius = patch.start[2]
    if not 0.7 * radius < circle[2] < 1.5 * radius or np.linalg.norm(circle[:2] - patch.start[:2]) > 0.7 * radius:
        return "no_limbus"
    if circle[2] < SMALLEST_IRIS_PX:
        return "too_small"
    if _frac_open(patch, circle) < _LEAST_OPEN:
        return "eye_closed"
    edges, strength = _edge_points(patch, circle)
    from_centre = np.sqrt(np.square(edges - circle[:2, None]).sum(axis=0))
    on_circle = np.abs(from_centre / circle[2] - 1.0) < 0.05 + 0.2 / circle[2]
    depth, _ = patch.sample(patch.on_rim(circle), _DEPTH_AND_RED)
    visible = (depth > _MARGIN * circle[2]) & (np.abs(_SIN) < 0.94)
    supported = visible & on_circle & (strength >= _EDGE_CLEAR)
    sides = [(visible & side, supported & side) for side in (_COS < 0, _COS > 0)]
    shares = [float(there.sum() / seen.sum()) for seen, there in sides if seen.sum() >= 4]
    if not shares:
        return "no_limbus"
    if max(shares) >= _CLEAR_SIDE_SUPPORT and min(shares) < _LEAST_SIDE_SUPPORT:
        return "occluded"
    support = float(supported.sum() / visible.sum())
    enough = support >= _LEAST_SUPPORT and min(shares) >= _LEAST_SIDE_SUPPORT
    return OK if enough and _brightens(patch, circle, visible, _LEAST_BRIGHTENING / support) else "no_limbus"


def _brightens(patch: _Patch, circle: _Floats, visible: NDArray[np.bool_], least_share: float) -> bool:
    """Whether the rim's outside is brighter than its inside, by a share of its level, on most of the visible arc."""
    points = np.stack([patch.on_rim(circle, factor) for factor in (0.80, 0.88, 1.12, 1.20, 1.16)], axis=1)
    depth, red = patch.sample(points, _DEPTH_AND_RED)
    between = visible & (depth[-1] > 0)
    if between.sum() < 4:
        return False
    inside, outside = (red[pair].mean(axis=0)[between] for pair in (slice(0, 2), slice(2, 4)))
    step = outside - inside
    least = max(_LEAST_STEP, least_share * float(outside.mean()))
    return bool(median(step) >= least and (step > 0.5 * least).mean() >= _LEAST_STEP_SHARE)


def _frac_open(patch: _Patch, circle: _Floats) -> float:
    """Share of the disc that lies between the lids."""
    rows, columns = _grid_of(patch.fields.shape[1:])
    disc = np.square(columns - circle[0]) + np.square(rows - circle[1]) <= circle[2] ** 2
    return float((disc & (patch.fields[_DEPTH] > 0)).sum() / max(int(disc.sum()), 1))
