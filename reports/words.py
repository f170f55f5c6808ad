"""How numbers and foreign text are put into words: nothing is rounded into a claim, nothing foreign stays live."""

from __future__ import annotations

import math
import re
import unicodedata

NOTHING = "\N{EN DASH}"
"""Stands where there is no number."""
_EXACT = 1e-9  # a share this close to 0 or 1 differs from it by arithmetic only
_MAX_CHARACTERS = 600  # a label or a sentence; longer text is no label


def clean(value: object) -> str:
    """Foreign text as one inert line: no control, formatting (bidi) or unassigned characters; NaN and None are empty.

    Markup is left to whoever writes the markup: Jinja and Matplotlib both escape ``<``, ``&`` and quotes.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = re.sub(r"\s+", " ", str(value))
    text = "".join(character for character in text if not unicodedata.category(character).startswith("C"))
    return shorten(text.strip(), _MAX_CHARACTERS)


def capitalised(text: str) -> str:
    """With a capital first letter, and the others as they are: FID stays FID."""
    return text[:1].upper() + text[1:]


def shorten(text: str, n_characters: int) -> str:
    """``text`` cut to ``n_characters``, the cut marked by an ellipsis."""
    return text if len(text) <= n_characters else text[: n_characters - 1].rstrip() + "…"


def first_sentence(text: str) -> tuple[str, str]:
    """The text up to its first full stop before a space, and what follows: "" where that is all."""
    head, stop, more = text.partition(". ")
    return head + stop.strip(), more


def percent(share: float) -> str:
    """A share in whole per cent, where 0 % and 100 % are only said of exactly 0 and 1: 0.999 is ``99 %``."""
    if not math.isfinite(share):
        return NOTHING
    whole = round(100 * share)
    for landmark in (0, 1):
        distance = share - landmark
        if whole == 100 * landmark and abs(distance) > _EXACT:
            whole += 1 if distance > 0 else -1
    return f"{whole} %".replace("-", "\N{MINUS SIGN}")


def number(value: float) -> str:
    """Three significant digits, or as many as it takes not to say 1 of what is not 1: 0.9996 stays ``0.9996``."""
    if not math.isfinite(value):
        return NOTHING
    is_one = abs(abs(value) - 1) < _EXACT
    texts = (f"{value:.{digits}g}" for digits in range(3, 11))
    text = next((text for text in texts if is_one or abs(float(text)) != 1), f"{value:g}")
    return text.replace("-", "\N{MINUS SIGN}")


def generation(value: float) -> str:
    """A generation's number, or a dash where there is none."""
    return f"{value:g}" if math.isfinite(value) else NOTHING


def interval(low: float, high: float) -> str:
    """``2 to 4``; an end that is not finite is an end that was never reached; empty where neither end is known."""
    if not math.isfinite(low) and not math.isfinite(high):
        return ""
    if not math.isfinite(high):
        return f"{low:g} or later"
    if not math.isfinite(low):
        return f"up to {high:g}"
    return f"{low:g} to {high:g}"


def count(value: float) -> str:
    """A number of things, or a dash where nobody counted."""
    return f"{value:.0f}" if math.isfinite(value) else NOTHING
