from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.words import NOTHING, capitalised, clean, first_sentence, interval, number, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100 %"), (0, "0 %"), (0.999, "99 %"), (0.9951, "99 %"), (0.001, "1 %"), (1.004, "101 %"), (0.5, "50 %"),
     (-0.001, "\N{MINUS SIGN}1 %"), (1.3, "130 %"), (math.nan, NOTHING), (math.inf, NOTHING)],
)  # fmt: skip
def test_percent_never_rounds_into_a_claim(share: float, text: str) -> None:
    assert percent(share) == text


@given(st.floats(-3, 3))
def test_percent_says_all_or_nothing_only_of_all_or_nothing(share: float) -> None:
    text = percent(share)
    assert (text == "100 %") == (abs(share - 1) <= 1e-9)
    assert (text == "0 %") == (abs(share) <= 1e-9)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9996, "0.9996"), (1.0, "1"), (0.12345, "0.123"), (0.0, "0"), (1e-7, "1e\N{MINUS SIGN}07"), (math.nan, NOTHING)],
)
def test_number_keeps_the_digits_that_make_it_not_one(value: float, text: str) -> None:
    assert number(value) == text


def test_clean_leaves_one_inert_line() -> None:
    assert clean("a\x1b[31m\x00\nb\u202ec\t d\ufffe\ud800") == "a[31m bc d"
    assert clean(math.nan) == clean(None) == ""
    assert len(clean("x" * 10_000)) < 1_000


def test_interval_names_an_end_that_was_never_reached() -> None:
    assert interval(2, 4) == "2 to 4"
    assert interval(2, math.nan) == "2 or later"
    assert interval(math.nan, 4) == "up to 4"
    assert interval(math.nan, math.nan) == ""


@pytest.mark.parametrize(("text", "told"), [("match (CLIP score)", "Match (CLIP score)"), ("", ""), ("x", "X")])
def test_only_the_first_letter_is_capitalised(text: str, told: str) -> None:
    assert capitalised(text) == told


def test_a_full_stop_within_a_number_ends_no_sentence() -> None:
    assert first_sentence("Eyes go at 2.5. Hands stay.") == ("Eyes go at 2.5.", "Hands stay.")
    assert first_sentence("Eyes go at 2.5.") == ("Eyes go at 2.5.", "")
    assert first_sentence("No verdict") == ("No verdict", "")
