"""A Stable Diffusion that is real in every part and tiny, on the disk as diffusers writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = (("a", "n</w>"), ("o", "f</w>"), ("p", "h"), ("o", "t"), ("o", "</w>"))
CONTEXT_TOKENS, TEXT_WIDTH = 24, 32

# Before anything is computed: tests fork, which the threads of OpenMP do not survive, and tiny models gain nothing.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline for pictures of 32 px: epsilon, random weights of a fixed seed, about 6 MB.

    Shared by all tests: copy it before changing anything in it.
    """
    folder = tmp_path_factory.mktemp("models") / "tiny-stable-diffusion"
    write_tiny_stable_diffusion(folder)
    return folder


def write_tiny_stable_diffusion(folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer(folder.with_name("vocabulary"))
        pipeline = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(len(tokenizer)),
            tokenizer=tokenizer,
            unet=_unet(),
            # The schedule of Stable Diffusion's own scheduler_config.json.
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                set_alpha_to_one=False,
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
    )


def _text_encoder(n_tokens: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=n_tokens,
            hidden_size=TEXT_WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT_TOKENS,
            bos_token_id=n_tokens - 2,
            eos_token_id=n_tokens - 1,
            pad_token_id=n_tokens - 1,
        )
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's byte-level tokenizer with five merges: every text can be told from every other."""
    letters = sorted(ByteLevel.alphabet())
    words = [
        *letters,
        "</w>",
        *(f"{letter}</w>" for letter in letters),
        *("".join(merge) for merge in MERGES),
        START,
        END,
    ]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in MERGES)])
    (folder / "merges.txt").write_text(merges + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=CONTEXT_TOKENS)
