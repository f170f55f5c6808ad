"""Networks from TorchScript files, on the CPU."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from decay.errors import ModelError


def load(path: Path) -> torch.nn.Module:
    """The network of a TorchScript file, not in training. Raises ModelError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is what the published file is in
            return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-any-return,no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path}: expected a TorchScript file (torch.jit.save); it could not be read "
            f"({str(error).strip().splitlines()[0]}). Copy it anew, or export the network with torch.jit.script."
        ) from error
