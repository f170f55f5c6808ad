"""Nothing leaves this machine: turns off what installed packages would send home, before any of them is imported."""

from __future__ import annotations

import os

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime >= 1.29 sends usage events; read once, when its library is loaded
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which diffusers and transformers of the extra `loop` use
    "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations asks for its newest version; older insightface installs it
    "DO_NOT_TRACK": "1",  # https://consoledonottrack.com, honoured by several
}
"""Environment variable -> value. Child processes inherit them; fresh ones import ``decay`` and set them again."""


def seal() -> None:
    """Set every switch, whatever the environment said before. Call before the first import of a vendor's package."""
    os.environ.update(SWITCHES)
