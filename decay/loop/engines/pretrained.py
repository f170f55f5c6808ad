"""Finding a pretrained pipeline on this machine, and opening its parts: safetensors only, none filled in by chance."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ModelMixin
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers.utils import logging as transformers_logging

from decay.errors import DecayError, ModelError
from decay.files import sha256_of
from detectors.trait import Pixels

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def find_model(model: str, revision: str | None, local_files_only: bool, patterns: Sequence[str], hint: str) -> Path:
    """The folder of a pipeline: ``model`` itself, or the hub's copy of it on this machine.

    Only where ``local_files_only`` is False is the network asked, for the files that match ``patterns``. Raises
    ModelError if it is absent, with ``hint`` on how to get it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ModelError(
                f"{folder} is a folder, which has no revision; got revision {revision!r}. Remove `revision`, or name a "
                "repository of the hub as `model`."
            )
        return folder
    if not HUB_NAME.fullmatch(model):
        raise ModelError(
            f"Expected a folder with a pipeline of diffusers, or a repository of the hub (owner/name); there is no "
            f"folder {folder}. Correct `model` in [engine]."
        )
    try:
        return Path(
            snapshot_download(
                model, revision=revision, local_files_only=local_files_only, allow_patterns=list(patterns)
            )
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"The weights of {model}, revision {revision or 'main'}, are not on this machine ({reason}). {hint}"
        ) from error


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def hash_weights(folder: Path, parts: Sequence[str]) -> Mapping[str, str]:
    """sha256 of every weight file of these parts, by posix path: the hashes that the hub shows beside its files."""
    files = sorted(file for part in parts for file in (folder / part).glob("*.safetensors"))
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def hash_settings(folder: Path, parts: Sequence[str]) -> Mapping[str, str]:
    """sha256 of every other file that decides what a pipeline does, by posix path: how its parts are built, its
    scheduler, its tokenizers."""
    files = [folder / part / "config.json" for part in parts]
    files += [*folder.glob("scheduler/*.json"), *folder.glob("tokenizer*/*")]
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in sorted(files) if file.is_file()}


def check_same(found: Mapping[str, str], expected: Mapping[str, str], folder: Path, model: str) -> None:
    """Raises ModelError if files of a pipeline, sha256 by path, are not those that a lineage began with."""
    if wrong := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        raise ModelError(
            f"{folder / wrong[0]}: expected the file that this lineage began with ({model}, sha256 "
            f"{expected.get(wrong[0], 'none')}); found {found.get(wrong[0], 'none')}. Put that back, or begin "
            "a new lineage."
        )


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash of named tensors: of name, type, shape and bytes of each, by name. Equal only if equal bit for bit."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """An object in JSON. Raises ModelError if it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(_missing(path.parent, path.name)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(found, dict):
        raise damaged(path, "it is no object of JSON")
    return found


def check_pipeline(folder: Path, pipelines: Collection[str], parts: Mapping[str, str]) -> None:
    """Raises ModelError if ``folder`` is none of ``pipelines``, or lacks a part or a tokenizer. Weights are not read.

    ``parts``: folder of each part with weights, and the name of the file that has them, without suffix.
    """
    said = read_config(folder / "model_index.json").get("_class_name")
    if said not in pipelines:
        raise ModelError(
            f"{folder}: expected one of the pipelines {', '.join(pipelines)}; found {said}. "
            "Correct `model` in [engine]."
        )
    for part, stem in parts.items():
        _check_part(folder / part, stem)
    if not any((folder / "tokenizer" / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(_missing(folder / "tokenizer", "tokenizer.json, or vocab.json and merges.txt"))


def _check_part(place: Path, stem: str) -> None:
    read_config(place / "config.json")
    if any((place / f"{stem}{suffix}").is_file() for suffix in (".safetensors", ".safetensors.index.json")):
        return
    if pickles := sorted(path.name for path in place.iterdir() if path.suffix in PICKLES):
        raise ModelError(
            f"{place}: expected weights as {stem}.safetensors; found only {', '.join(pickles)}, pickle files, which "
            "can run any code when they are opened and are never opened here. Get the safetensors of this model, or "
            "convert it, where you trust it, with diffusers: save_pretrained(..., safe_serialization=True)."
        )
    raise ModelError(_missing(place, f"{stem}.safetensors"))


def open_part(part_class: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """A part with all its weights, on the CPU, frozen, in evaluation mode. Raises ModelError if any is missing."""
    kind = "torch_dtype" if issubclass(part_class, ModelMixin) else "dtype"
    try:
        with quiet():
            module, found = part_class.from_pretrained(
                folder / part, use_safetensors=True, local_files_only=True, output_loading_info=True, **{kind: dtype}
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise damaged(folder / part, error) from error
    lacking = [*found.get("missing_keys", ()), *found.get("mismatched_keys", ())]
    if lacking:
        # Both libraries would fill the gap with random numbers and a warning.
        raise damaged(folder / part, f"{len(lacking)} of its weights are missing, such as {lacking[0]}")
    return module.requires_grad_(False).eval()


def to_pixels(made: NDArray[np.floating[Any]], model: str) -> Pixels:
    """What a pipeline of ``model`` decoded, floats 0..1 of any shape, as uint8.

    Raises DecayError for numbers that are not finite.
    """
    if not np.isfinite(made).all():
        raise DecayError(
            f"Expected pictures from {model}; it gave numbers that are not finite. Its training diverged: lower "
            "`learning_rate` in [engine], and begin again from the generation before."
        )
    return np.asarray(np.rint(made * 255), dtype=np.uint8)


def damaged(place: Path, reason: object) -> ModelError:
    """The error for a part of a model that is not what it should be."""
    return ModelError(
        f"{place}: expected a part of a pipeline that diffusers saved, whole, its weights as safetensors; it cannot be "
        f"opened ({reason}). Get the model again, or correct `model` in [engine]."
    )


def _missing(place: Path, wanted: str) -> str:
    return (
        f"{place}: expected {wanted} there; found none. The model is incomplete, or no pipeline that diffusers saved: "
        "get it again, or correct `model` in [engine]."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back progress bars and remarks of diffusers and transformers; what matters in them is checked here."""
    libraries = (diffusers_logging, transformers_logging)
    kept = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in libraries]
    for each in libraries:
        each.set_verbosity(each.CRITICAL)
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each, verbosity, with_bars in kept:
            each.set_verbosity(verbosity)
            if with_bars:
                each.enable_progress_bar()
