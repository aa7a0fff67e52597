"""The optimal denoiser against direct sums in float64; all that it makes is a training latent."""

import re

import numpy as np
import pytest
import torch

from helpers.base.mapped import Selection
from helpers.base.settings import GenerationConfig
from helpers.models import denoiser, optimal
from helpers.models.sampler import build_sampler, initial_noise, noise_generators

SHAPE = (4, 8, 4)
ALPHAS = denoiser.build_noise_scheduler().alphas_cumprod


def draw_latents(n, seed=0, offset=0.0):
    return (np.random.default_rng(seed).standard_normal((n, *SHAPE)) + offset).astype(np.float32)


def sample(latents, seeds=range(8), **changes):
    return optimal.sample_empirical(latents, list(seeds), GenerationConfig(**{"steps": 20, "batch_size": 8} | changes))


def slow_mean(noisy, latents, alpha_bar):
    """Posterior mean [B, C, h, w], one noisy latent at a time, from differences in float64."""
    means, latents = [], latents.astype(np.float64)
    for x in np.asarray(noisy, np.float64):
        exponents = -np.square(x - np.sqrt(alpha_bar) * latents).sum(axis=(1, 2, 3)) / (2 * (1 - alpha_bar))
        weights = np.exp(exponents - exponents.max())
        means.append(np.tensordot(weights / weights.sum(), latents, axes=1))
    return np.stack(means)


@pytest.mark.parametrize("timestep", [0, 20, 300, 700, 999])
@pytest.mark.parametrize("n", [1, 5, 1500])
def test_posterior_mean_agrees_with_direct_sums(n, timestep):
    """Each latent has a near copy, and all lie far from zero: products in float32 would give other weights."""
    latents = draw_latents(n, offset=3.0)
    latents = np.concatenate([latents, latents + 0.02 * draw_latents(n, seed=1)])
    alpha_bar = float(ALPHAS[timestep])
    noise = draw_latents(6, seed=2)
    noisy = torch.tensor(np.sqrt(alpha_bar) * latents[np.arange(6) % len(latents)] + np.sqrt(1 - alpha_bar) * noise)
    noisy = noisy.float()
    expected = slow_mean(noisy, latents, alpha_bar)
    ideal = optimal.EmpiricalDenoiser(latents)
    np.testing.assert_allclose(ideal.expected_clips(noisy, alpha_bar).numpy(), expected, atol=2e-5)
    velocity = ideal(noisy, torch.tensor(timestep), encoder_hidden_states=None).sample
    noise = (noisy.numpy() - alpha_bar**0.5 * expected) / (1 - alpha_bar) ** 0.5
    by_definition = alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * expected
    np.testing.assert_allclose(velocity.numpy(), by_definition, atol=2e-5 / (1 - alpha_bar) ** 0.5)


@pytest.mark.parametrize("changes", [{}, {"steps": 50}, {"sampler": "ddpm"}, {"sampler": "ddpm", "steps": 50}])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_every_sample_is_a_training_latent(n, changes):
    latents = draw_latents(n)
    samples = sample(latents, range(50), **changes)
    distances = np.linalg.norm((samples[:, None] - latents).reshape(50, n, -1).astype(np.float64), axis=2)
    assert samples.shape == (50, *SHAPE) and samples.dtype == np.float32
    assert distances.min(axis=1).max() < 1e-5 * np.linalg.norm(latents[0])
    assert len(set(distances.argmin(axis=1))) >= min(n, 15)  # and not always the same one


def test_few_steps_end_at_a_training_latent_too():
    latents = draw_latents(5)
    rows, distances = optimal.nearest_latents(sample(latents, range(50), steps=3), latents)
    assert distances.max() < 1e-4 and set(rows) == set(range(5))


@pytest.mark.parametrize("sampler", ["dpm_solver", "ddpm"])
def test_noise_and_sampler_are_those_of_a_network(sampler):
    """The same steps taken here with the direct sums."""
    latents, config = draw_latents(40), GenerationConfig(steps=20, sampler=sampler, guidance=3.0)
    generators = noise_generators([7, 8, 9])
    solver, noisy = build_sampler(config), initial_noise(generators, SHAPE)
    for timestep in solver.timesteps:
        a = float(ALPHAS[int(timestep)])
        clips = torch.tensor(slow_mean(noisy, latents, a)).float()
        noise = (noisy - a**0.5 * clips) / (1 - a) ** 0.5
        noisy = solver.step(a**0.5 * noise - (1 - a) ** 0.5 * clips, timestep, noisy, generator=generators).prev_sample
    samples = optimal.sample_empirical(latents, [7, 8, 9], config)
    np.testing.assert_allclose(samples, noisy.numpy(), atol=1e-4)


def test_a_clip_depends_on_its_seed_alone():
    latents = draw_latents(40)
    together = sample(latents)
    assert np.array_equal(sample(latents), together) and np.array_equal(sample(latents, guidance=7.0), together)
    for size in (1, 3):
        np.testing.assert_allclose(sample(latents, batch_size=size), together, atol=1e-4)
    np.testing.assert_allclose(sample(latents, (5, 2)), together[[5, 2]], atol=1e-4)
    assert sample(latents, ()).shape == (0, *SHAPE)


def test_nearest_latents_by_hand():
    latents, samples = draw_latents(1100, offset=3.0), draw_latents(30, seed=1, offset=3.0)
    samples[4] = latents[1050]
    rows, distances = optimal.nearest_latents(samples, latents)
    expected = np.linalg.norm((samples[:, None].astype(np.float64) - latents).reshape(30, 1100, -1), axis=2)
    assert rows.tolist() == expected.argmin(axis=1).tolist() and (rows[4], distances[4]) == (1050, 0)
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (draw_latents(3)[0], r"latents: expected shape \[clips, channels, time, frequency\], got \(4, 8, 4\)"),
        (draw_latents(0), "latents: expected at least one, got none"),
        (draw_latents(3) * np.float32("nan"), "latents: expected finite values, got NaN or infinity"),
    ],
)
def test_latents_are_checked(latents, message):
    with pytest.raises(ValueError, match=message):
        sample(latents)


def test_samples_and_latents_must_agree():
    for samples in (draw_latents(2)[:, :2], draw_latents(2)[0]):
        shape = re.escape(str(samples.shape[1:]))
        with pytest.raises(ValueError, match=rf"latents: expected .* the samples' shape {shape}, got \(3, 4, 8, 4\)"):
            optimal.nearest_latents(samples, draw_latents(3))
    with pytest.raises(ValueError, match="samples: expected finite values"):
        optimal.nearest_latents(draw_latents(2) * np.float32("nan"), draw_latents(3))


def test_latents_stay_on_the_disk(monkeypatch):
    """Of those of 45,000 ten-second clips, 5.9 GB, no more than a block is in memory."""
    asked = []

    class Counted(Selection):
        def __getitem__(self, part):
            asked.append(len(self.rows[part]))
            return super().__getitem__(part)

    monkeypatch.setattr(optimal, "BLOCK", 8)
    latents = draw_latents(30)
    samples = sample(Counted(latents, np.arange(30)), range(3), steps=2)
    rows, _ = optimal.nearest_latents(samples, Counted(latents, np.arange(30)))
    assert max(asked) == 8 and sum(asked) > 100
    monkeypatch.undo()
    np.testing.assert_allclose(samples, sample(latents, range(3), steps=2), atol=1e-5)
    assert rows.tolist() == optimal.nearest_latents(samples, latents)[0].tolist()
