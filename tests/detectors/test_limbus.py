"""The limbus: where a drawn iris is known, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.geometry import EYE_STATES
from detectors.limbus import refine


def centre_error(face, side, drawn, radius, middle, roll_deg=0.0):
    """Distance of the refined centre from the drawn one, in iris radii."""
    from detectors.geometry import rotate

    offset = np.array([[(-1, 1)[side] * 3.0 + drawn.gaze[0], drawn.gaze[1]]]) * radius
    truth = middle + rotate(offset, roll_deg)[0]
    circle = face.eyes[side].limbus
    return float(np.hypot(circle.x - truth[0], circle.y - truth[1])) / radius


def middle_of(view):
    height, width = view.pixels.shape[:2]
    return np.array([width / 2 + 0.3, height / 2 - 0.2])


@pytest.mark.parametrize("radius", [10.0, 16.0, 30.0])
@pytest.mark.parametrize("roll_deg", [0.0, 25.0, -160.0])
def test_the_circle_is_found_whatever_the_size_and_roll(draw_eyes, drawn_eye, radius, roll_deg):
    left, right = drawn_eye(gaze=(0.2, -0.05)), drawn_eye(gaze=(-0.1, 0.0), iris=(0.2, 0.25, 0.3))
    view, face = draw_eyes(left, right, radius=radius, roll_deg=roll_deg)
    for side, drawn in enumerate((left, right)):
        assert face.eyes[side].limbus_state == "ok"
        assert centre_error(face, side, drawn, radius, middle_of(view), roll_deg) < 0.04
        assert face.eyes[side].limbus.radius == pytest.approx(radius, rel=0.05)


@pytest.mark.parametrize("mesh_error", [(0.15, 0.0), (-0.1, 0.2), (0.0, -0.1)])
def test_it_does_not_matter_where_the_mesh_puts_the_iris(draw_eyes, drawn_eye, mesh_error):
    eye = drawn_eye()
    view, face = draw_eyes(eye, eye, mesh_error=mesh_error)
    assert centre_error(face, 0, eye, 16.0, middle_of(view)) < 0.03


def test_a_glint_on_the_rim_does_not_pull_the_circle(draw_eyes, drawn_eye):
    plain, glinting = drawn_eye(), drawn_eye(glints=((0.8, 0.0, 0.15, 1.0),))
    view, face = draw_eyes(plain, glinting)
    assert centre_error(face, 1, glinting, 16.0, middle_of(view)) < 0.04


@pytest.mark.parametrize("radius", [12.0, 24.0])
def test_a_lid_drawn_over_the_bottom_does_not_sink_the_circle(draw_eyes, drawn_eye, radius):
    """The iris rests on the lower lid, as most do, and the landmark model's lid runs a little above the true one."""
    eye = drawn_eye(top=0.6, bottom=1.03)
    view, face = draw_eyes(eye, eye, radius=radius, mesh_error=(0.0, 0.2))
    lids = face.eyes[0].lid_px.copy()
    lids[9:, 1] -= 0.08 * radius
    circle, state = refine(view.pixels, face.eyes[0].mesh_iris_px, lids)
    assert state == "ok"
    assert circle.y == pytest.approx(middle_of(view)[1], abs=0.02 * radius)
    assert circle.radius == pytest.approx(radius, rel=0.03)


def test_a_mesh_on_bare_skin_finds_no_limbus(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    for shift in ((0.0, -40.0), (0.0, 42.0)):
        circle, state = refine(view.pixels, face.eyes[0].mesh_iris_px + shift, face.eyes[0].lid_px + shift)
        assert circle is None
        assert state == "no_limbus"


def test_an_iris_half_under_hair_is_occluded_or_not_found(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    eye = face.eyes[0]
    hidden = view.pixels.copy()
    hidden[:, : int(eye.mesh_iris_px[0, 0])] = (60, 35, 20)
    circle, state = refine(hidden, eye.mesh_iris_px, eye.lid_px)
    assert circle is None
    assert state in ("occluded", "no_limbus")


def test_shut_lids_close_the_eye(draw_eyes, drawn_eye):
    _, face = draw_eyes(drawn_eye(top=0.1, bottom=0.12), drawn_eye())
    assert face.eyes[0].limbus_state == "eye_closed"


def test_small_irises_are_declined(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    eye = face.eyes[0]
    centre = eye.mesh_iris_px[0]
    assert refine(view.pixels, centre + (eye.mesh_iris_px - centre) * 0.25, eye.lid_px) == (None, "too_small")


def test_an_eye_outside_the_image_is_a_state(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    for shift in (-1000.0, 1000.0):
        circle, state = refine(view.pixels, face.eyes[0].mesh_iris_px + shift, face.eyes[0].lid_px + shift)
        assert circle is None
        assert state in EYE_STATES


def test_noise_holds_no_iris(draw_eyes, drawn_eye):
    view, face = draw_eyes(drawn_eye(), drawn_eye())
    static = np.random.default_rng(0).integers(0, 256, view.pixels.shape, dtype=np.uint8)
    states = [refine(static, eye.mesh_iris_px, eye.lid_px)[1] for eye in face.eyes]
    assert "ok" not in states
