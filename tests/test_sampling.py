"""The solver on known answers, guidance by hand, and clips that do not depend on their batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.base.settings import GenerationConfig, TrainingConfig
from helpers.models import denoiser, sampler
from helpers.models.replay_signs import generate_with_signs
from helpers.models.similarity_cap import SimilarityCap

SHAPE = (4, 8, 4)
RNG = np.random.default_rng(0)
STATES, MASK = RNG.standard_normal((5, 3, 16)).astype(np.float16), np.ones((5, 3), bool)
NULL_STATE, NULL_MASK = np.zeros((3, 16), np.float16), np.ones(3, bool)


def generate(unet, seeds=(0, 1, 2, 3, 4), rows=slice(None), avoided=None, **changes):
    config = GenerationConfig(**{"steps": 10, "guidance": 3.0, "batch_size": 5, **changes})
    return sampler.sample_latents(
        unet, STATES[rows], MASK[rows], NULL_STATE, NULL_MASK, list(seeds), config, SHAPE, avoided
    )


class Ideal:
    """The exact denoiser where each prompt has one known clip: predicts v towards it, the null prompt's for ""."""

    device = torch.device("cpu")

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.clips, self.null = torch.randn(5, *SHAPE, generator=generator), torch.randn(*SHAPE, generator=generator)
        self.batches = []

    def __call__(self, noisy, timestep, encoder_hidden_states, encoder_attention_mask):
        self.batches.append(len(noisy))
        distance = torch.cdist(encoder_hidden_states.flatten(1), torch.as_tensor(STATES).float().flatten(1))
        is_null = (encoder_hidden_states == 0).all(2).all(1)
        target = torch.where(is_null[:, None, None, None], self.null, self.clips[distance.argmin(1)])
        a = denoiser.build_noise_scheduler().alphas_cumprod[int(timestep)]
        noise = (noisy - a.sqrt() * target) / (1 - a).sqrt()
        return SimpleNamespace(sample=a.sqrt() * noise - (1 - a).sqrt() * target)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_an_ideal_denoiser_gives_back_the_guided_clip(guidance):
    unet = Ideal()
    expected = unet.null + guidance * (unet.clips - unet.null)
    np.testing.assert_allclose(generate(unet, guidance=guidance), expected.numpy(), atol=2e-3)
    assert unet.batches == [10 if guidance == 3 else 5] * 10  # no second pass where guidance has no use for it


@pytest.mark.parametrize("kind", ["dpm_solver", "ddpm"])
def test_a_cap_keeps_clips_off_the_training_clips(kind):
    """The ideal denoiser makes clips that are nearly the avoided ones; with a cap, none comes nearer to its one than that."""
    known = Ideal().clips.numpy() + 0.2 * RNG.standard_normal((5, *SHAPE)).astype(np.float32)
    known = np.concatenate([known, known + 0.2 * RNG.standard_normal(known.shape).astype(np.float32)])  # two like each

    def cosines(**changes):
        made = generate(Ideal(), guidance=1.0, sampler=kind, avoided=known, **changes)
        ours, theirs = ((one - known.mean(0)).reshape(len(one), -1) for one in (made, known))
        return (ours @ theirs.T) / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(theirs, axis=1)

    assert (cosines().max(axis=1) > 0.95).all()
    capped = cosines(max_similarity=0.6)
    np.testing.assert_allclose(capped.max(axis=1), 0.6, atol=0.01)
    with pytest.raises(ValueError, match="max_similarity: expected 1, as nothing is known here to keep off, got 0.6"):
        generate(Ideal(), max_similarity=0.6)


@pytest.mark.parametrize("kind", ["dpm_solver", "ddpm"])
def test_a_cap_holds_at_every_step(kind):
    generator = torch.Generator().manual_seed(0)
    known = Ideal().clips + 0.2 * torch.randn(5, *SHAPE, generator=generator)
    cap, generators = SimilarityCap(known, 0.6), sampler.noise_generators([0, 1, 2, 3, 4])
    noise, config = sampler.initial_noise(generators, SHAPE), GenerationConfig(sampler=kind, steps=20, guidance=1.0)
    text = (torch.as_tensor(STATES).float(), torch.as_tensor(MASK))
    null = (torch.zeros_like(text[0]), text[1])
    with torch.inference_mode():
        steps = [*sampler.denoise(Ideal(), noise, text, null, generators, config, cap)]
    for step in steps:
        offset = torch.nn.functional.normalize((step.clean - known.mean(0)).flatten(1))
        assert (offset @ cap.directions.T).max() < 0.605


@pytest.mark.parametrize("kind", ["dpm_solver", "ddpm"])
def test_every_step_says_what_it_takes_for_the_clean_clip(kind):
    ideal, generators = Ideal(), sampler.noise_generators([0, 1, 2, 3, 4])
    noise, config = sampler.initial_noise(generators, SHAPE), GenerationConfig(sampler=kind, steps=5, guidance=1.0)
    text = (torch.as_tensor(STATES).float(), torch.as_tensor(MASK))
    null = (torch.zeros_like(text[0]), text[1])
    with torch.inference_mode():
        steps = list(sampler.denoise(ideal, noise, text, null, generators, config))
    assert len(steps) == 5
    for step in steps:
        np.testing.assert_allclose(step.clean.numpy(), ideal.clips.numpy(), atol=2e-3)


@pytest.mark.parametrize("deviation", [0.3, 0.5, 1.0])
def test_solver_keeps_the_deviation_of_gaussian_data(deviation):
    """Data N(0, deviation**2): the best estimate of the clip is linear in the noisy one, so samples are scaled noise."""

    def unet(noisy, timestep, **_):
        a = denoiser.build_noise_scheduler().alphas_cumprod[int(timestep)]
        clip = a.sqrt() * deviation**2 / (a * deviation**2 + 1 - a) * noisy
        return SimpleNamespace(sample=(a.sqrt() * noisy - clip) / (1 - a).sqrt())

    unet.device = torch.device("cpu")
    samples = generate(unet, steps=20)
    noise = sampler.initial_noise(sampler.noise_generators([0, 1, 2, 3, 4]), SHAPE).numpy()
    np.testing.assert_allclose(samples, deviation * noise, rtol=0.03)


def test_solver_shares_the_training_schedule():
    solver = sampler.build_solver(20)
    assert torch.equal(solver.alphas_cumprod, denoiser.build_noise_scheduler().alphas_cumprod)
    assert solver.config.prediction_type == "v_prediction" and solver.config.algorithm_type == "dpmsolver++"
    assert solver.config.solver_order == 2 and not solver.config.use_karras_sigmas
    assert len(solver.timesteps) == 20 and solver.timesteps[0] == 999 and solver.sigmas[-1] == 0
    ratios = solver.sigmas[1:-1] / solver.sigmas[:-2]
    assert ratios.std() < 1e-3  # uniform in log signal-to-noise ratio


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    config = TrainingConfig(block_out_channels=(8, 16), attention_head_dim=8)
    return denoiser.prepare_attention(denoiser.build_unet(config, SHAPE, 16)).eval()


def test_a_clip_does_not_depend_on_its_batch(unet):
    together = generate(unet)
    assert together.shape == (5, *SHAPE) and together.dtype == np.float32
    for size in (1, 2):
        apart = generate(unet, batch_size=size)
        np.testing.assert_allclose(apart, together, atol=1e-4)
    reordered = generate(unet, seeds=(3, 1), rows=[3, 1])
    np.testing.assert_allclose(reordered, together[[3, 1]], atol=1e-4)


def test_seed_and_prompt_decide_the_clip(unet):
    base, again, reseeded = generate(unet), generate(unet), generate(unet, seeds=(0, 1, 2, 3, 99))
    assert np.array_equal(base, again)
    assert np.array_equal(base[:4], reseeded[:4]) and not np.allclose(base[4], reseeded[4], atol=0.1)
    same_noise = generate(unet, seeds=(0,) * 5)
    assert not np.allclose(same_noise[0], same_noise[1], atol=1e-4)


def test_a_clip_that_is_not_finite_is_named():
    broken = Ideal()
    broken.clips[3] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN or infinity in clip 3"):
        generate(broken)


def test_prompts_and_seeds_must_agree():
    with pytest.raises(
        ValueError, match=r"text_states: expected shape \(4, 3, 16\) for 4 noise seeds, got \(5, 3, 16\)"
    ):
        generate(Ideal(), seeds=range(4))


def test_no_prompts_give_an_empty_array():
    assert generate(Ideal(), seeds=(), rows=slice(0)).shape == (0, *SHAPE)


def test_bfloat16_gives_nearly_the_same_clip(unet):
    exact, rounded = generate(unet), generate(unet, precision="bf16")
    assert rounded.dtype == np.float32 and not np.array_equal(exact, rounded)
    assert np.abs(exact - rounded).max() < 0.1 * exact.std()


def test_signs_of_replay_of_an_ideal_denoiser():
    """It knows its clip from the first step on, and guidance 3 ends beyond it by twice what lies between the two clips."""
    unet, config = Ideal(), GenerationConfig(steps=10, guidance=3.0, batch_size=2)
    made, signs, seconds = generate_with_signs(
        unet, (STATES, MASK), (NULL_STATE, NULL_MASK), [0, 1, 2, 3, 4], config, SHAPE
    )
    np.testing.assert_array_equal(made, generate(Ideal(), batch_size=2))
    solver = sampler.build_solver(10)
    alphas = solver.alphas_cumprod[solver.timesteps.long()]
    apart = (unet.clips - unet.null).square().flatten(1).mean(1).sqrt()
    np.testing.assert_allclose(signs.one_step, -((2 * apart) ** 2), rtol=1e-3)
    expected = apart * (alphas / (1 - alphas)).sqrt()[:, None]
    np.testing.assert_allclose(signs.caption_effect_first, expected[0], rtol=1e-3)
    np.testing.assert_allclose(signs.caption_effect, expected.mean(0), rtol=1e-3)
    assert seconds["caption_effect_first"] < seconds["caption_effect"] == seconds["one_step"]


def test_one_step_tells_a_known_clip_from_one_that_takes_shape():
    """A denoiser for Gaussian data first takes the mean for the clip, so its first estimate is far from what it makes."""

    def unet(noisy, timestep, **_):
        a = denoiser.build_noise_scheduler().alphas_cumprod[int(timestep)]
        clip = a.sqrt() / (a + 1 - a) * noisy
        return SimpleNamespace(sample=(a.sqrt() * noisy - clip) / (1 - a).sqrt())

    unet.device = torch.device("cpu")
    config = GenerationConfig(steps=10, guidance=3.0, batch_size=5)
    _, signs, _ = generate_with_signs(unet, (STATES, MASK), (NULL_STATE, NULL_MASK), [0, 1, 2, 3, 4], config, SHAPE)
    assert (signs.one_step < -0.5).all() and (signs.caption_effect == 0).all()


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_signs_need_both_sides_of_the_caption(guidance):
    config = GenerationConfig(steps=10, guidance=guidance)
    with pytest.raises(ValueError, match="guidance: expected neither 0 nor 1, got"):
        generate_with_signs(Ideal(), (STATES, MASK), (NULL_STATE, NULL_MASK), [0, 1, 2, 3, 4], config, SHAPE)
