"""A FLUX.1 Fill that is real in every part and tiny, on the disk as diffusers writes it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_flux_fill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline for pictures whose sides 8 divides: random weights of a fixed seed, under 1 MB.

    Shared by all tests: copy it before changing anything in it.
    """
    folder = tmp_path_factory.mktemp("models") / "tiny-flux-fill"
    write_tiny_flux_fill(folder)
    return folder


def write_tiny_flux_fill(folder: Path) -> None:
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

    width, letters = 32, sorted(ByteLevel.alphabet())
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,'-"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = FluxFillPipeline(
            tokenizer=CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=16),
            tokenizer_2=T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=32),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(words),
                    hidden_size=width,
                    intermediate_size=48,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    max_position_embeddings=16,
                    bos_token_id=0,
                    eos_token_id=1,
                    pad_token_id=1,
                )
            ),
            text_encoder_2=T5EncoderModel(
                T5Config(vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
            ),
            # 4 x 4 channels of noisy latents, as many of the picture with its hole, and 4 x 16 pixels of the hole.
            transformer=FluxTransformer2DModel(
                in_channels=96,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=width,
                pooled_projection_dim=width,
                guidance_embeds=True,
                axes_dims_rope=(4, 6, 6),
            ),
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                block_out_channels=(8, 16, 16),
                latent_channels=4,
                norm_num_groups=4,
                use_quant_conv=False,
                use_post_quant_conv=False,
                shift_factor=0.1159,
                scaling_factor=0.3611,
            ),
            # As in FLUX.1's own scheduler_config.json.
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
