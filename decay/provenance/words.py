"""Small words for what is said on a terminal."""

from __future__ import annotations


def plain(text: str, longest: int = 2000) -> str:
    """Text of others in one line: controls are spelled out, what is too long is cut."""
    spelled = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: longest + 1])
    return spelled if len(spelled) <= longest else spelled[: longest - 1] + "…"


def counted(number: int, thing: str) -> str:
    """``1 picture``, ``2,000 pictures``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
