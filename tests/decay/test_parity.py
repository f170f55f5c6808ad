"""The yardsticks beside the packages that define them."""

from __future__ import annotations

import math

import pytest

from decay.calibrate.parity import KID, PRDC, VENDI, Parity, parities, parity_section, vectors

EVERY = parities()


@pytest.mark.parametrize("parity", EVERY, ids=lambda p: f"{p.what}, {p.vectors}, {p.package}")
def test_ours_is_theirs_to_the_tolerance_that_is_published(parity: Parity) -> None:
    assert parity.ours == pytest.approx(parity.theirs, rel=parity.tolerance)


def test_the_printed_examples_of_the_vendi_score_are_met_to_their_last_digit() -> None:
    ours = [math.floor(p.ours * 1e4) / 1e4 for p in EVERY if p.what == "Vendi score"]
    assert ours == list(VENDI.values()) == [2.9999, 2.1573]


def test_the_packages_themselves_agree_where_they_are_installed() -> None:
    prdc = pytest.importorskip("prdc")
    for (n, m, d), expected in PRDC.items():
        real, made = vectors(1, n, d, power=0.0), vectors(2, m, d, 0.7, 0.05, power=0.0)
        assert prdc.compute_prdc(real, made, nearest_k=5) == pytest.approx(expected, rel=1e-9)


def test_the_table_has_a_row_for_each_with_its_tolerance() -> None:
    section = parity_section()
    assert section.count("\n| ") == len(EVERY) + 2  # less the first line of the section, plus head and rule
    assert "1e-09" in section
    assert len(KID) == 2
