"""Which subjects a prompt asks for, in plain English words; the fallback where the metadata does not say."""

from __future__ import annotations

import re


def _any_of(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b")


_HAND = _any_of(
    "hands?",
    "fingers?",
    "thumbs?",
    "fists?",
    "palms?",
    "knuckles?",
    "fingertips?",
    "fingernails?",
    "handshakes?",
    "high[- ]five",
)
_NO_HAND = _any_of(
    "(?:first|second|other|right|left|one)[- ]hand(?= (?:side|corner|shop|store|clothes|book|car))",
    "second[- ]hand",
    "on the (?:one|other) hand",
    "hand[- ](?:made|drawn|painted|crafted|woven|written|stitched|carved|held|bags?|luggage|rails?|saw|tools?)",
    "(?:clock|watch|hour|minute)(?:'s)? hands?",
    "hands? of (?:a|the) (?:clock|watch)",
    "palm (?:trees?|oil|leaf|leaves|fronds?|beach|springs|sunday|islands?|groves?)",
    "(?:date|coconut|potted|tropical) palms?",
    "(?:fish|chicken|chocolate) fingers?",
    "finger (?:foods?|painting)",
    "thumb drives?",
)
_PERSON = _any_of(
    "m[ae]n",
    "wom[ae]n",
    "persons?",
    "people",
    "boys?",
    "girls?",
    "child",
    "children",
    "kids?",
    "baby",
    "babies",
    "toddlers?",
    "lady",
    "ladies",
    "gentlem[ae]n",
    "guys?",
    "humans?",
    "selfies?",
    "headshots?",
    "brides?",
    "grooms?",
    "actors?",
    "actress(?:es)?",
    "business(?:man|men|woman|women|person|people)",
    "tourists?",
    "teenagers?",
    "(?:grand)?(?:mother|father)s?",
    "celebrit(?:y|ies)",
)
_FACE = _any_of("faces?", "portraits?", "smil(?:e|es|ing)")
_NO_FACE = _any_of(
    "m[ae]n[- ](?:made|hole|cave|eating)",
    "(?:snow|gingerbread|stick)[- ]?m[ae]n",
    "(?:clock|watch|cliff|rock|mountain|north|south|east|west|dice) faces?",
    "faces? of (?:a|the) (?:clock|watch|cliff|mountain|rock)",
    "portrait (?:mode|orientation|format)",
)
_ANIMAL = _any_of(
    "cats?",
    "kittens?",
    "dogs?",
    "pupp(?:y|ies)",
    "horses?",
    "birds?",
    "owls?",
    "lions?",
    "tigers?",
    "wol(?:f|ves)",
    "fox(?:es)?",
    "bears?",
    "monkeys?",
    "gorillas?",
    "rabbits?",
    "cows?",
    "sheep",
    "goats?",
    "animals?",
    "pets?",
    "robots?",
    "dragons?",
)
_NEGATED = re.compile(r"\b(?:no|without|not|zero)(?: any)?(?: visible)? [a-z]+\b")


def expects_from_prompt(prompt: str) -> frozenset[str] | None:
    """The subjects (``face``, ``hand``) that a prompt asks for, or None where it names neither.

    English, whole words: ``handmade``, ``second hand``, ``palm tree``, ``clock face`` and ``no people`` ask for
    nothing. A portrait or a face is a human one unless the prompt names an animal and no person.
    """
    text = _NEGATED.sub(" ", " ".join(prompt.casefold().split()))
    of_people = _NO_FACE.sub(" ", text)
    has_face = _PERSON.search(of_people) or (_FACE.search(of_people) and not _ANIMAL.search(of_people))
    has_hand = _HAND.search(_NO_HAND.sub(" ", text))
    return frozenset(word for word, found in (("face", has_face), ("hand", has_hand)) if found) or None
