"""What is measured, in words: made from the trait files themselves, so that it cannot fall behind them."""

from __future__ import annotations

from collections.abc import Callable

from decay.rates import errors_in_words
from detectors.registry import families
from detectors.trait import Family, Trait

_HEALTHY = {"higher": "higher is healthy", "lower": "lower is healthy", "reference": "healthy is what the reference is"}


def traits_text() -> str:
    """One block per trait, for a terminal."""
    return "\n".join(_each(_trait_text))


def traits_markdown() -> str:
    """``docs/traits.md``: every family with its readings, states and traits."""
    return (
        "# What is measured\n\nMade by `decay traits --markdown`.\n\n"
        + "\n".join(map(_family_markdown, families())).rstrip()
        + "\n"
    )


def _each(render: Callable[[Family, Trait], str]) -> list[str]:
    return [render(family, trait) for family in families() for trait in family.traits]


def _trait_text(family: Family, trait: Trait) -> str:
    unit = f" [{trait.unit}]" if trait.unit else ""
    lines = [
        f"{trait.name}{unit}   ({family.group})",
        f"    {trait.label}",
        f"    {_HEALTHY[trait.direction]}; nothing is left at {trait.floor_in_words}",
        f"    read off each {trait.subject}; measured when {' or '.join(trait.measured_states)}; needs {trait.n_min}",
        f"    source: {trait.source}",
    ]
    if trait.limits:
        lines.append(f"    limits: {trait.limits}")
    if trait.errors:
        lines.append(f"    corrected: {errors_in_words(trait.errors)}")
    return "\n".join(lines) + "\n"


def _family_markdown(family: Family) -> str:
    readings = [f"| `{r.name}` | {r.subject} | {_cell(r.label)} | {_cell(r.unit)} |" for r in family.readings]
    states = [f"| `{state}` | {_cell(meaning)} |" for state, meaning in family.states.items()]
    traits = [
        f"| `{t.name}` | {_cell(t.label)} | {_cell(t.unit)} | {t.direction} | "
        f"{_cell(t.floor_in_words)} | {_cell(t.source)} | {_cell(_limits(t))} |"
        for t in family.traits
    ]
    return "\n".join(
        [
            f"## {family.name} ({family.group})\n",
            "| reading | of | what | unit |\n|---|---|---|---|",
            *readings,
            "\n| state | meaning |\n|---|---|",
            *states,
            "\n| trait | what | unit | healthy | floor | source | limits |\n|---|---|---|---|---|---|---|",
            *traits,
            "",
        ]
    )


def _limits(trait: Trait) -> str:
    return f"{trait.limits} Corrected: {errors_in_words(trait.errors)}".strip() if trait.errors else trait.limits


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
