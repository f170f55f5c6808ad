"""One file per generator, each an ``Engine``. Heavy packages are imported in these files and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from decay.errors import DecayError, ModelError
from decay.loop.engine import Engine, Setting

# transformers says at every start that torchvision is absent, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

ENGINES: Mapping[str, tuple[str, str]] = {
    "linear": ("linear", "LinearEngine"),
    "diffusion": ("diffusion", "DiffusionEngine"),
    "stable-diffusion": ("stable_diffusion", "StableDiffusionEngine"),
    "flux-fill": ("flux_fill", "FluxFillEngine"),
}
"""Name of a generator: the file here that holds it, and its class there, a frozen dataclass of its settings."""


def open_engine(name: str, settings: Mapping[str, Setting], size_px: int) -> Engine[Any]:
    """The generator ``name`` for pictures of ``size_px``, with ``settings`` and its defaults for the rest.

    Raises DecayError for a name or a setting that there is none of; ModelError if the packages it needs are absent.
    """
    if name not in ENGINES:
        raise DecayError(f"Expected one of the engines {', '.join(ENGINES)}; got {name!r}. Correct `name` in [engine].")
    module, cls_name = ENGINES[name]
    try:
        engine_class = getattr(import_module(f"decay.loop.engines.{module}"), cls_name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"The engine {name} needs the package {error.name}, which is not installed. "
            "In the folder of this program's source: pip install -c requirements.lock -e '.[loop]'."
        ) from error
    known = [field.name for field in fields(engine_class) if field.init and field.name != "size_px"]
    if unknown := sorted(set(settings) - set(known)):
        raise DecayError(
            f"The engine {name} has no setting {', '.join(unknown)}; it has {', '.join(known)}. Correct [engine]."
        )
    _check_types(name, engine_class, settings)
    sized = {"size_px": size_px} if any(field.name == "size_px" for field in fields(engine_class)) else {}
    try:
        engine: Engine[Any] = engine_class(**settings, **sized)
    except (TypeError, ValueError) as error:
        raise DecayError(f"The engine {name}: {error}. Correct [engine].") from error
    return engine


def _check_types(name: str, engine_class: type, settings: Mapping[str, Setting]) -> None:
    """Raises DecayError for a value of another type: a text "false" would count as true, 2.5 as a number of steps."""
    hints = get_type_hints(engine_class)
    for key, value in settings.items():
        if not _is_a(value, hints[key]):
            raise DecayError(
                f"The engine {name}: expected {_in_words(hints[key])} in {key}; got {value!r}. Correct it."
            )


def _is_a(value: Setting, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_is_a(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str)  # each engine says which words it knows
    # To Python true is the whole number 1, but nobody who writes it means that.
    return type(value) in {float: (int, float)}.get(hint, (hint,))


def _in_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_in_words(each) for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Literal:
        return "a text"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[hint]
