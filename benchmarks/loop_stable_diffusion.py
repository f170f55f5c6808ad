"""What the loop's Stable Diffusion engine costs beside a plain diffusers script on the same tiny pipeline.

Run: OMP_NUM_THREADS=1 python -m benchmarks.loop_stable_diffusion. Held to: at least 0.95 of the plain script's
throughput in training (with cache_latents, as is the default) and in sampling, both from opening the pipeline to the
last step or picture. Without cache_latents pictures are encoded one by one in every step: slower, by choice.

The plain script is diffusers' example for text-to-image training: shuffled batches, a flip, pictures and captions
encoded anew in every step, noise from the global generator, AdamW, clipped gradients; and its pipeline for sampling,
one picture per call with a generator of its own.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.loop import asked_for, tell
from decay.loop.engine import Dataset, Fit
from decay.loop.engines.stable_diffusion import StableDiffusionEngine
from decay.loop.engines.training import device
from tests.decay.loop.engines.conftest import write_tiny_stable_diffusion

PROMPTS = ("a photo of an old man", "a photo of a young woman")


def main() -> None:
    """Print a line for each comparison."""
    n_turns, dataset = asked_for(__doc__, PROMPTS, n_turns=5, n_images=32)
    n_images = len(dataset)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        write_tiny_stable_diffusion(model)
        engine = StableDiffusionEngine(model=str(model), size_px=32, epochs=4, batch_size=8, inference_steps=10)
        forgetful = replace(engine, cache_latents=False)
        start, fit = engine.base(), Fit(0, Path(scratch) / "none")
        seen = n_images * engine.epochs
        plain = lambda: fit_plainly(engine, dataset)  # noqa: E731
        tell("training", n_turns, seen, lambda: engine.fit(dataset, start, fit), plain)
        tell("training, nothing remembered", n_turns, seen, lambda: forgetful.fit(dataset, start, fit), plain)
        tell("sampling", n_turns, n_images,
             lambda: list(engine.sample(start, dataset.captions, range(n_images), None)),
             lambda: sample_plainly(engine, dataset.captions))  # fmt: skip


def fit_plainly(engine: StableDiffusionEngine, dataset: Dataset) -> None:
    """As a script would write it."""
    scheduler = DDPMScheduler.from_pretrained(engine.model, subfolder="scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(engine.model, subfolder="tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(engine.model, subfolder="text_encoder").to(device())
    vae = AutoencoderKL.from_pretrained(engine.model, subfolder="vae").to(device())
    unet = UNet2DConditionModel.from_pretrained(engine.model, subfolder="unet").to(device()).train()
    text_encoder.requires_grad_(False)
    vae.requires_grad_(False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=engine.learning_rate, weight_decay=engine.weight_decay)
    images = torch.from_numpy(np.asarray(dataset.images)).permute(0, 3, 1, 2)
    tokens = tokenizer(
        list(dataset.captions),
        max_length=tokenizer.model_max_length,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    ).input_ids
    pairs = torch.utils.data.TensorDataset(images, tokens)
    for _ in range(engine.epochs):
        for batch, ids in torch.utils.data.DataLoader(pairs, engine.batch_size, shuffle=True):
            pixels = batch.to(device()).float() / 127.5 - 1.0
            flipped = torch.rand(len(pixels), device=device()) < 0.5
            pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
            latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), device=device())
            noisy = scheduler.add_noise(latents, noise, timesteps)
            context = text_encoder(ids.to(device()), return_dict=False)[0]
            said = unet(noisy, timesteps, context, return_dict=False)[0]
            torch.nn.functional.mse_loss(said.float(), noise.float()).backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), engine.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()


def sample_plainly(engine: StableDiffusionEngine, prompts: tuple[str, ...]) -> None:
    """The pipeline, once per picture."""
    pipeline = StableDiffusionPipeline.from_pretrained(engine.model, safety_checker=None).to(device())
    pipeline.set_progress_bar_config(disable=True)
    for seed, prompt in enumerate(prompts):
        generator = torch.Generator().manual_seed(seed)
        pipeline(prompt, num_inference_steps=engine.inference_steps, generator=generator)


if __name__ == "__main__":
    main()
