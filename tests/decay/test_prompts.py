from __future__ import annotations

import pytest

from decay.prompts import expects_from_prompt

FACE, HAND, BOTH = frozenset({"face"}), frozenset({"hand"}), frozenset({"face", "hand"})


@pytest.mark.parametrize(
    ("prompt", "expects"),
    [
        ("A portrait of a successful businesswoman", FACE),
        ("an American tourist on the mountain", FACE),
        ("a black man in the kitchen", FACE),
        ("close-up of an open hand, five fingers", HAND),
        ("Clenched FIST", HAND),
        ("a woman holding up her left hand", BOTH),
        ("portrait of a woman\nwith her   hands folded", BOTH),
        ("a girl and her cat", FACE),
        ("hand of an old man", BOTH),
        ("hand holding a second-hand book", HAND),
        ("palm of a hand", HAND),
        ("people under palm trees", FACE),
    ],
)
def test_plain_words_say_what_is_asked_for(prompt: str, expects: frozenset[str]) -> None:
    assert expects_from_prompt(prompt) == expects


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a mountain lake at dawn",
        "a handmade ceramic bowl",
        "hand-painted porcelain",
        "a second hand car",
        "on the other hand, a tree",
        "palm trees on a beach",
        "clock face with long clock hands",
        "the north face of the Eiger",
        "a handsome castle, chandelier, thousand islands",
        "surface, interface, typeface",
        "mandarin oranges, a mango, a woodman's axe",
        "man-made lake",
        "a snowman",
        "an empty street, no people",
        "a kitchen without any person",
        "portrait of a cat",
        "an owl's face",
        "a landscape in portrait orientation",
        "chicken fingers on a plate",
        "a thumbnail of a ship",
        "=cmd|' /C calc'!A0",
    ],
)
def test_words_inside_words_and_other_senses_ask_for_nothing(prompt: str) -> None:
    assert expects_from_prompt(prompt) is None


def test_a_hostile_prompt_takes_no_time() -> None:
    assert expects_from_prompt("no any " * 200_000 + "hand of a " * 100_000) is not None
