"""Clips generated, beside DDIM with 200 steps and guidance as textbooks show it, with what the faster way costs.

The model is that of the smoke profile on 16 clips (trained here if runs/ does not hold it).
"""

from functools import partial

import numpy as np
import torch
from diffusers import DDIMScheduler
from timing import compare, options, row, write

from helpers.base.progress import progress
from helpers.copies.kernel_distance import kernel_distance
from helpers.copies.rates import flagged_rate
from helpers.models import denoiser, sampler
from helpers.models.clap import load_clap
from helpers.models.codec import load_codec
from helpers.models.denoiser import build_noise_scheduler
from helpers.models.text import load_text
from helpers.models.vocoder import load_vocoder
from helpers.sound.corpus import load_corpus
from helpers.sound.mel import log_mel
from helpers.sound.profiles import load_profile
from helpers.stages import roundtrip
from helpers.study import registry

N_TRAIN, SLOW_STEPS, TIMED_STEPS, HALVES = 16, 200, 20, 100


@torch.inference_mode()
def ddim(
    unet, text: dict, rows: np.ndarray, seeds: list[int], guidance: float, shape, n_steps=SLOW_STEPS
) -> np.ndarray:
    """Latents by DDIM: both predictions of classifier-free guidance in one batch; the first `n_steps` of 200 steps."""
    scheduler = DDIMScheduler.from_config(build_noise_scheduler().config, set_alpha_to_one=False)
    scheduler.set_timesteps(SLOW_STEPS)
    generators = sampler.noise_generators(seeds)
    latents = sampler.initial_noise(generators, shape)
    states = torch.from_numpy(np.concatenate([np.repeat(text["null_state"][None], len(rows), 0), text["states"][rows]]))
    mask = torch.from_numpy(np.concatenate([np.repeat(text["null_mask"][None], len(rows), 0), text["mask"][rows]]))
    for timestep in scheduler.timesteps[:n_steps]:
        predicted = unet(torch.cat([latents] * 2), timestep, states.float(), encoder_attention_mask=mask).sample
        without, with_caption = predicted.chunk(2)
        latents = scheduler.step(without + guidance * (with_caption - without), timestep, latents).prev_sample
    return latents.numpy()


def main():
    """64 clips in our way, and one at a time by DDIM."""
    chosen = options(__doc__, clips=64)
    profile = load_profile("smoke")
    folders = registry.upstream_folders("generation", profile, N_TRAIN, 0)
    data, text = load_corpus(folders["corpus"]), load_text(folders["encoding"])
    unet, config = denoiser.load_unet(folders["training"]), profile.generation
    shape = np.load(folders["encoding"] / "latents.npy", mmap_mode="r").shape[1:]
    rows, seeds = np.arange(chosen.clips) % N_TRAIN, list(range(chosen.clips))

    def ours():
        return sampler.sample_latents(
            unet, text["states"][rows], text["mask"][rows], text["null_state"], text["null_mask"], seeds, config, shape
        )

    slow = partial(ddim, unet, text, guidance=config.guidance, shape=shape)
    batch = 16
    peers = {
        "DDIM 200 steps, one clip at a time, textbook": partial(slow, rows[:1], seeds[:1], n_steps=TIMED_STEPS),
        f"DDIM 200 steps, batches of {batch}, tuned": partial(slow, rows[:batch], seeds[:batch], n_steps=TIMED_STEPS),
    }
    made = compare(f"generation, {chosen.clips} clips", ours, peers, chosen.runs, packages=["diffusers"])
    for entry, counted in zip(made, (1, batch)):
        entry["peer_s"] *= chosen.clips / counted * SLOW_STEPS / TIMED_STEPS
        entry["ratio"] = entry["peer_s"] / entry["ours_s"]
        entry["detail"] = (
            f"DDIM timed on {counted} clips and {TIMED_STEPS} of its steps, which are alike, and extrapolated"
        )

    mels, mean = np.asarray(data.mels[data.rows("train")][:N_TRAIN]), data.mel_mean()
    codec, vocode = load_codec(profile.codec.codec_path), load_vocoder(profile.codec, profile.mel, 16_000)
    clap = load_clap(profile.retrieval.clap_path)
    real = clap.embed_audio(np.asarray(data.audio[data.rows("train")]))
    by_ddim = [
        slow(rows[i : i + batch], seeds[i : i + batch]) for i in progress(range(0, chosen.clips, batch), desc="DDIM")
    ]
    for name, latents in (("ours", ours()), ("DDIM 200 steps", np.concatenate(by_ddim))):
        sound = vocode(codec.decode(latents))
        again = log_mel(sound, profile.mel, 16_000)
        cosines = np.stack(
            [roundtrip.cosines(again - mean, np.broadcast_to(mel - mean, again.shape)) for mel in mels], axis=1
        )
        own = flagged_rate(cosines.argmax(axis=1) == rows)
        made_of = clap.embed_audio(sound)
        halves = [
            kernel_distance(made_of[np.random.default_rng(seed).permutation(len(made_of))[::2]], real)
            for seed in range(HALVES)
        ]
        low, high = np.quantile(halves, [0.025, 0.975])
        detail = (
            f"own-clip top-1 {own.rate:.1%} ({own.low:.1%} to {own.high:.1%}); kernel distance on CLAP "
            f"{kernel_distance(made_of, real):.3f} (random halves {low:.3f} to {high:.3f})"
        )
        made.append(row(f"generation, quality of {name}", float("nan"), detail=detail))
    write(made, chosen.out)


if __name__ == "__main__":
    main()
