"""CLIP, by transformers: one vector for a picture, one for its prompt. By default LAION's ViT-H/14."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPModel  # after pretrained, which quietens it
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from decay.features.pretrained import open_model, open_part
from detectors.trait import Pixels, Vector

N_TEXTS = 4096
"""Prompts whose vectors are kept: a run has the same few in every generation."""


class Clip:
    """``weights``: the file of weights in a folder that transformers wrote (Radford et al. 2021, arXiv:2103.00020).

    Pictures are prepared as the folder's own settings say (transformers' processor on Pillow). Raises ModelError.
    """

    def __init__(self, weights: Path) -> None:
        folder = weights.parent
        self._model = open_model(CLIPModel, folder, "a CLIP")
        self._tokenizer = open_part(AutoTokenizer, folder, "the tokenizer of a CLIP")
        self._processor = open_part(CLIPImageProcessorPil, folder, "the picture settings of a CLIP")
        self.of_text = lru_cache(N_TEXTS)(self._of_text)

    def of_picture(self, pixels: Pixels) -> Vector:
        """float32 (d,), unit length, of a picture, sRGB uint8 (h, w, 3)."""
        prepared = self._processor(images=pixels, return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            return _unit(self._model.get_image_features(pixel_values=prepared["pixel_values"]).pooler_output)

    def _of_text(self, text: str) -> Vector:
        """float32 (d,), unit length, of a prompt, cut off where CLIP's context ends."""
        context = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer([text], truncation=True, max_length=context, padding=True, return_tensors="pt")
        with torch.inference_mode():
            found = self._model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return _unit(found.pooler_output)


def _unit(found: torch.Tensor) -> Vector:
    vector = found[0].to(torch.float64).numpy()
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
