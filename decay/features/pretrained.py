"""Networks from folders that transformers wrote. Nothing is downloaded: what is missing is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decay.errors import ModelError

# transformers says at every start that torchvision is absent, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from transformers.utils import logging


def open_part(kind: Any, folder: Path, what: str) -> Any:
    """What the transformers class ``kind`` makes of ``folder``. ``what``: it in words. Raises ModelError."""
    try:
        with _quiet():
            return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged folder raises whatever transformers, safetensors or json hit first
        said = str(error).strip().splitlines()
        raise ModelError(
            f"{folder}: expected {what}, as transformers writes it; it could not be read "
            f"({said[0] if said else type(error).__name__}). Remove the folder and fetch it again with "
            "`decay models fetch`."
        ) from error


def open_model(kind: Any, folder: Path, what: str) -> Any:
    """The same of a network: on the CPU, in single precision, not in training. Of its weights only safetensors are
    read: other formats can run code."""
    try:
        with _quiet():
            model, told = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:
        said = str(error).strip().splitlines()
        raise ModelError(
            f"{folder}: expected the weights of {what}, as transformers writes them; they could not be read "
            f"({said[0] if said else type(error).__name__}). Remove the folder and fetch it again with "
            "`decay models fetch`."
        ) from error
    if missing := sorted(told["missing_keys"]):  # transformers fills them with random numbers and goes on
        raise ModelError(
            f"{folder}: expected the weights of {what}; {len(missing)} of its parts are not among them, "
            f"{missing[0]} for one: they are another network's. Remove the folder and fetch it again with "
            "`decay models fetch`."
        )
    return model.float().eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own progress bar, which would run through ours."""
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
