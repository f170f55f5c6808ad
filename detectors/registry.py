"""Finds the trait families: every module of this folder that defines ``FAMILY``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import detectors
from detectors.trait import Family, Trait


@cache
def families() -> tuple[Family, ...]:
    """All families, by name. An import error, or a name that is declared twice, is fatal."""
    found = [
        module.FAMILY
        for info in pkgutil.iter_modules(detectors.__path__)
        if hasattr(module := importlib.import_module(f"detectors.{info.name}"), "FAMILY")
    ]
    check_unique(found)
    return tuple(sorted(found, key=lambda family: family.name))


def traits() -> tuple[Trait, ...]:
    """All traits, in the order of their families."""
    return tuple(trait for family in families() for trait in family.traits)


def check_unique(found: list[Family]) -> None:
    """Raise ValueError if a family, a trait, or a column of one subject is declared twice."""
    columns = [f"{r.subject}.{r.name}" for family in found for r in family.readings]
    for names in ([f.name for f in found], [t.name for f in found for t in f.traits], columns):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"declared twice in detectors/: {', '.join(twice)}")
