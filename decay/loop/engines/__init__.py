"""One file per generator, each an ``Engine``. Heavy packages are imported in these files and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

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
            "Install what the loop needs: pip install 'decay[loop]'."
        ) from error
    known = [field.name for field in fields(engine_class) if field.init and field.name != "size_px"]
    if unknown := sorted(set(settings) - set(known)):
        raise DecayError(
            f"The engine {name} has no setting {', '.join(unknown)}; it has {', '.join(known)}. Correct [engine]."
        )
    sized = {"size_px": size_px} if any(field.name == "size_px" for field in fields(engine_class)) else {}
    try:
        engine: Engine[Any] = engine_class(**settings, **sized)
    except (TypeError, ValueError) as error:
        raise DecayError(f"The engine {name}: {error}. Correct [engine].") from error
    return engine
