"""Pretrained pipelines as diffusers saves them: where they lie, whether they are whole, their parts and their hashes.

Weights are read from safetensors and nothing else: a pickle can run any code when it is opened. Nothing is downloaded
unless the caller was told to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from decay.errors import ModelError

PARTS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""Folder of a part that has weights: the name of the file with them, without suffix."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def find_pipeline(model: str, revision: str | None, local_files_only: bool, hint: str = "") -> Path:
    """The folder on this machine of ``model``: a folder, or a repository of the Hugging Face hub (owner/name).

    ``revision``: branch, tag or commit of a repository, None for its main branch. ``local_files_only``: look in the
    hub's cache on this machine; False downloads what is not there. Raises ModelError, which ends in ``hint``, if it
    is nowhere: which one, and how to get it.
    """
    local = Path(model).expanduser()
    if local.is_dir():
        if revision is not None:
            raise ModelError(
                f"{local} is a folder, which has no revision; got revision {revision!r}. Remove `revision`, or name a "
                "repository of the hub as `model`."
            )
        return local
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
        raise ModelError(
            f"Expected a folder with a pipeline that diffusers saved, or a repository of the hub (owner/name); there "
            f"is no folder {local}. Correct `model` in [engine]."
        )
    try:
        return Path(
            snapshot_download(
                model, revision=revision, local_files_only=local_files_only, allow_patterns=_wanted_files()
            )
        )
    except (OSError, ValueError) as error:  # all that the hub raises is one or the other
        pinned = "" if revision is None else f" --revision {revision}"
        raise ModelError(
            f"The weights of {model}, revision {revision or 'main'}, are not on this machine "
            f"({type(error).__name__}). Get them with `hf download {model}{pinned} --exclude '*.bin' '*.ckpt' '*fp16*'`"
            f", or set local_files_only = false in [engine] to have them downloaded.{hint}"
        ) from error


def commit_of(folder: Path) -> str | None:
    """The commit that a folder in the hub's cache holds, None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _wanted_files() -> list[str]:
    weights = [
        f"{part}/{stem}{suffix}"
        for part, stem in PARTS.items()
        for suffix in (".safetensors", ".safetensors.index.json", "-*-of-*.safetensors")
    ]
    return ["model_index.json", "*/config.json", "scheduler/*.json", "tokenizer/*", "tokenizer_2/*", *weights]


def check_pipeline(folder: Path, pipelines: Collection[str], parts: Collection[str]) -> None:
    """Raises ModelError if ``folder`` is none of ``pipelines``, or lacks one of ``parts``. Weights are not read."""
    said = read_json(folder / "model_index.json").get("_class_name")
    if said not in pipelines:
        raise ModelError(
            f"{folder}: expected one of the pipelines {', '.join(pipelines)}; found {said}. "
            "Correct `model` in [engine]."
        )
    for part in parts:
        _check_part(folder / part, PARTS[part])
    if not any((folder / "tokenizer" / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(_missing(folder / "tokenizer", "tokenizer.json, or vocab.json and merges.txt"))


def _check_part(place: Path, stem: str) -> None:
    read_json(place / "config.json")
    if any((place / f"{stem}{suffix}").is_file() for suffix in (".safetensors", ".safetensors.index.json")):
        return
    if pickles := sorted(path.name for path in place.iterdir() if path.suffix in PICKLES):
        raise ModelError(
            f"{place}: expected weights as {stem}.safetensors; found only {', '.join(pickles)}, pickle files, which "
            "can run any code when they are opened and are never opened here. Get the safetensors of this model, or "
            "convert it, where you trust it, with diffusers: save_pretrained(..., safe_serialization=True)."
        )
    raise ModelError(_missing(place, f"{stem}.safetensors"))


def open_part(part_class: Any, folder: Path, part: str) -> Any:
    """A part with all its weights, float32, on the CPU, frozen. Raises ModelError if one is missing or damaged.

    ``part_class``: a model class of diffusers or transformers. ``folder``: the pipeline's.
    """
    place = folder / part
    # transformers takes the type of the file unless told otherwise; diffusers calls the argument by its older name.
    kind = "dtype" if issubclass(part_class, PreTrainedModel) else "torch_dtype"
    try:
        with _quietly():
            module, found = part_class.from_pretrained(
                place,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **{kind: torch.float32},
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(damaged(place, error)) from error
    # Both libraries would fill the gap with random numbers and a warning.
    if lacking := sorted(map(str, [*found.get("missing_keys", ()), *found.get("mismatched_keys", ())])):
        raise ModelError(damaged(place, f"{len(lacking)} weights are missing, such as {lacking[0]}"))
    return module.requires_grad_(False).eval()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash of named tensors: of name, type, shape and bytes of each, by name. Equal only if equal bit for bit."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """An object of JSON. Raises ModelError if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(_missing(path.parent, path.name)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(damaged(path, error)) from error
    if not isinstance(found, dict):
        raise ModelError(damaged(path, "it holds no object of JSON"))
    return found


def damaged(place: Path, reason: object) -> str:
    """What to say of a part that cannot be read."""
    return f"{place}: could not be read ({reason}). It is damaged: get the model again."


def _missing(place: Path, wanted: str) -> str:
    return (
        f"{place}: expected {wanted} there; found none. The model is incomplete, or no pipeline that diffusers saved: "
        "get it again, or correct `model` in [engine]."
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without progress bars of the libraries' own: the loop has its own."""
    loggings = [logging for logging in (diffusers_logging, transformers_logging) if logging.is_progress_bar_enabled()]
    for logging in loggings:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in loggings:
            logging.enable_progress_bar()
