"""Training that resumes after a kill to the same losses, and refuses what it cannot use."""

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from helpers.base.settings import TrainingConfig
from helpers.models import denoiser, trainer as trainer_module
from helpers.models.trainer import Data, Trainer, draw_batch, train
from helpers.stages import denoiser as denoiser_stage

CONFIG = TrainingConfig(
    n_train=6,
    updates=24,
    checkpoints=(12,),
    batch_size=8,
    learning_rate=1e-2,
    warmup_updates=4,
    block_out_channels=(8, 16),
    attention_head_dim=8,
    schedule="cosine",
)


def make_data(n=6, seed=0):
    """Tiny training set: latents [n, 4, 8, 4], states [n, 5, 16], mask, null state, null mask."""
    rng = np.random.default_rng(seed)
    latents = np.repeat(rng.standard_normal((n, 4, 2, 4)), 4, axis=2).astype(np.float32)
    states = rng.standard_normal((n, 5, 16)).astype(np.float16)
    mask = np.arange(5) < rng.integers(2, 6, size=(n, 1))
    return latents, states, mask, np.zeros((5, 16), np.float16), np.arange(5) < 2


def read_losses(folder):
    return pd.read_parquet(folder / "loss.parquet").drop(columns="seconds")


def assert_same_run(folder, other):
    pd.testing.assert_frame_equal(read_losses(folder), read_losses(other), check_exact=True)
    for path in sorted((folder / "checkpoints").iterdir()):
        assert path.read_bytes() == (other / "checkpoints" / path.name).read_bytes(), path.name


def first_loss(trainer):
    return sum(trainer._losses(*next(trainer.batches()))).item()


def stop_after(monkeypatch, updates):
    """Makes the training stop as an interrupt would, once it has done so many updates."""
    step = Trainer.step

    def interrupted(self, *batch):
        if self.update == updates:
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "step", interrupted)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder, CONFIG, Data(*make_data()))
    return folder


def test_a_run_leaves_its_files_and_no_state(finished):
    names = sorted(path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file())
    checkpoints = ["ema_000012.safetensors", "ema_000024.safetensors", "raw_000024.safetensors"]
    assert names == [*(f"checkpoints/{name}" for name in checkpoints), "loss.parquet", "unet.json"]


def test_learning_rate_follows_the_schedule(finished):
    rows = read_losses(finished)
    assert rows["update"].tolist() == list(range(1, 25))
    rates = rows["learning_rate"].tolist()
    np.testing.assert_allclose(rates[:5], [0, 2.5e-3, 5e-3, 7.5e-3, 1e-2])  # four updates of warm-up
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] < 1e-3


def test_loss_decreases(finished, tmp_path):
    """On the same clips, noise and timesteps: those of the first update."""
    trainer = Trainer(tmp_path, CONFIG, Data(*make_data()))
    untrained = first_loss(trainer)
    assert untrained == read_losses(finished)["loss"][0]
    trainer.unet.load_state_dict(denoiser.load_unet(finished, weights="raw").state_dict())
    assert first_loss(trainer) < 0.9 * untrained


def test_averaged_weights_lag_behind_raw_ones(finished):
    ema, raw = (denoiser.load_unet(finished, weights=weights) for weights in ("ema", "raw"))
    halfway = denoiser.load_unet(finished, updates=12)
    flat = [torch.cat([p.flatten() for p in unet.parameters()]) for unet in (ema, raw, halfway)]
    assert 0 < (flat[0] - flat[1]).norm() < (flat[2] - flat[1]).norm()
    assert not ema.training


def test_a_checkpoint_that_is_not_there_is_refused(finished):
    with pytest.raises(ValueError, match=r"expected one of ema \[12, 24\], got ema 13"):
        denoiser.load_unet(finished, updates=13)
    with pytest.raises(ValueError, match=r"expected one of raw \[24\], got raw 12"):
        denoiser.load_unet(finished, updates=12, weights="raw")


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads({threads})
sys.path.insert(0, {tests!r})
from test_training import CONFIG, Data, make_data, train
train(Path(sys.argv[1]), CONFIG, Data(*make_data()), save_every_s=0.0)
"""


def test_a_killed_run_resumes_bit_for_bit(finished, tmp_path):
    script = CHILD.format(tests=str(Path(__file__).parent), threads=torch.get_num_threads())
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (tmp_path / "state_previous.pt").exists():  # at least two updates are done and saved
        assert child.poll() is None and time.monotonic() < deadline, "the child ended before it could be killed"
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "loss.parquet").exists()
    train(tmp_path, CONFIG, Data(*make_data()))
    assert_same_run(finished, tmp_path)


@pytest.mark.parametrize("damaged", [("state.pt",), ("state.pt", "state_previous.pt")])
def test_a_damaged_state_is_set_aside(finished, tmp_path, monkeypatch, caplog, damaged):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 14)
        train(tmp_path, CONFIG, Data(*make_data()), save_every_s=0.0)
    for name, keep in zip(damaged, (0.6, 0.0)):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(keep * len(content))])
    with caplog.at_level("INFO", logger="helpers.models.trainer"):
        train(tmp_path, CONFIG, Data(*make_data()))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(damaged) and "state.pt cannot be read" in warnings[0] and "\n" not in warnings[0]
    assert ("resumes after update 13 of 24" in caplog.text) == (len(damaged) == 1)
    assert_same_run(finished, tmp_path)
    assert not list(tmp_path.glob("state*"))


def test_a_state_of_another_configuration_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 2)
        train(tmp_path, CONFIG, Data(*make_data()), save_every_s=0.0)
    with pytest.raises(ValueError, match=r"expected learning_rate = 0.02, got 0.01"):
        train(tmp_path, replace(CONFIG, learning_rate=0.02), Data(*make_data()))


def test_states_take_a_share_of_the_time_however_slow_the_disk(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: clock.now)
    step, save = Trainer.step, torch.save

    def slow_step(self, *batch):
        clock.now += 3
        return step(self, *batch)

    def slow_save(state, path):
        assert len(list(tmp_path.glob("state*"))) <= 1, "with this one no more than two"
        saved.append(state)
        clock.now += 7
        save(state, path)

    saved = []
    monkeypatch.setattr(Trainer, "step", slow_step)
    monkeypatch.setattr(torch, "save", slow_save)
    (tmp_path / "state_damaged.pt").touch()
    train(tmp_path, replace(CONFIG, updates=120, ema_decay=0.0), Data(*make_data()), save_every_s=1.0)
    # 360 s of updates, 7 s a state: the first soon, to learn what it takes, the next after 140 s each
    assert len(saved) == 3 and saved[0]["ema"] is None


def test_in_parts_for_a_small_memory_it_is_the_same_training(finished, tmp_path):
    parted = replace(CONFIG, micro_batch=3, gradient_checkpointing=True)
    assert parted.digest_fields() == CONFIG.digest_fields()
    train(tmp_path, parted, Data(*make_data()))
    ours, whole = (read_losses(folder)["loss"].tolist() for folder in (tmp_path, finished))
    assert ours != whole and ours[:3] == pytest.approx(whole[:3], rel=1e-3)  # rounding grows with the updates
    assert ours == pytest.approx(whole, rel=2e-2)


def test_a_linear_schedule_may_end_before_zero(tmp_path):
    config = replace(CONFIG, schedule="linear", warmup_updates=0, final_rate=0.75)
    assert trainer_module._schedule_length(config) == 96
    train(tmp_path, config, Data(*make_data()))
    rates = read_losses(tmp_path)["learning_rate"].tolist()
    assert rates == pytest.approx([1e-2 * (1 - i / 96) for i in range(24)])
    with pytest.raises(ValueError, match="final_rate: expected 0 with schedule cosine, got 0.75"):
        replace(config, schedule="cosine")


@pytest.mark.parametrize("start", ["trainer", "command"])
def test_several_processes_are_refused_in_one_line(start, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = "WORLD_SIZE: expected one process, got 2; each training size is a job with one GPU of its own, "
    if start == "trainer":
        with pytest.raises(ValueError, match=told):
            Trainer(tmp_path, CONFIG, Data(*make_data()))
    else:
        from helpers import __main__ as command  # all of the book with it

        monkeypatch.setattr(sys, "argv", ["helpers", "run", "training", "--profile", "smoke"])
        assert command.main() == 2 and capsys.readouterr().err.startswith(f"error: {told}")
    assert not list(tmp_path.iterdir())


def test_the_next_batch_is_read_while_one_is_trained_on(tmp_path, monkeypatch):
    """In a thread of its own, whose error is the training's."""
    threads, rows = [], Data.rows

    def read(data, drawn):
        threads.append(threading.current_thread())
        if len(threads) == 4:
            raise OSError("the disk is gone")
        return rows(data, drawn)

    monkeypatch.setattr(Data, "rows", read)
    with pytest.raises(OSError, match="the disk is gone"):
        train(tmp_path, CONFIG, Data(*make_data()))
    assert len(threads) == 4 and threading.main_thread() not in threads
    monkeypatch.undo()
    trainer = Trainer(tmp_path, CONFIG, Data(*make_data()))
    for update, (drawn, _) in zip(range(3), trainer.batches()):
        expected = draw_batch(CONFIG, update, trainer.latent_shape)
        assert torch.equal(drawn.noise, expected.noise) and torch.equal(drawn.clips, expected.clips)


def test_a_network_that_needs_a_gpu_is_refused_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(denoiser, "LARGEST_ON_CPU", 1_000)
    with pytest.raises(ValueError, match="expected a GPU for a network of 0 million weights, found none"):
        Trainer(tmp_path, CONFIG, Data(*make_data()))
    monkeypatch.setenv("HELPERS_ON_CPU", "1")
    Trainer(tmp_path, CONFIG, Data(*make_data()))


def test_latents_are_drawn_anew_from_their_posterior(tmp_path):
    config = replace(CONFIG, posterior="sample")
    deviations = np.full((6, 4, 8, 4), 0.5, np.float32)
    data = Data(*make_data(), deviations=deviations)
    drawn = [draw_batch(config, update, (4, 8, 4)) for update in (0, 1)]
    again, plain = draw_batch(config, 0, (4, 8, 4)), draw_batch(CONFIG, 0, (4, 8, 4))
    latents = [data.rows(one)[0] for one in (*drawn, again)]
    assert torch.equal(latents[0], latents[2]) and torch.equal(drawn[0].noise, plain.noise)
    offsets = torch.cat([ours - data.latents[one.clips] for ours, one in zip(latents, drawn)])
    assert offsets.std().item() == pytest.approx(0.5, rel=0.05) and abs(offsets.mean()) < 0.02
    with pytest.raises(ValueError, match="deviations: expected them"):
        train(tmp_path, config, Data(*make_data()))


def test_a_batch_has_a_mixture_of_every_two_clips_and_resumes(tmp_path, monkeypatch):
    latents, states, mask, *_ = make_data()

    def mix(first, second):
        asked.append((first, second))
        return (latents[first] + latents[second]) / 2, None, states[first], mask[second]

    asked, config = [], replace(CONFIG, mixtures=True, updates=6, checkpoints=(3,))
    drawn = draw_batch(config, 0, (4, 8, 4))
    assert (len(drawn.clips), len(drawn.timesteps), len(drawn.noise)) == (8, 12, 12)
    rows = Data(*make_data(), mix=mix).rows(drawn)
    assert [len(part) for part in rows] == [12, 12, 12]
    first, second = asked[0]
    assert [*zip(first, second)] == [*zip(drawn.clips[::2].tolist(), drawn.clips[1::2].tolist())]
    np.testing.assert_array_equal(rows[0][8:], (latents[first] + latents[second]) / 2)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(whole, config, Data(*make_data(), mix=mix))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 4)
        train(parted, config, Data(*make_data(), mix=mix), save_every_s=0.0)
    train(parted, config, Data(*make_data(), mix=mix))
    assert_same_run(whole, parted)
    with pytest.raises(ValueError, match="mix: expected them"):
        train(tmp_path, config, Data(*make_data()))
    with pytest.raises(ValueError, match="batch_size: expected an even number"):
        replace(config, batch_size=7)


def test_noise_schedule_is_tangos():
    scheduler = denoiser.build_noise_scheduler()
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    assert scheduler.config.prediction_type == "v_prediction" and not scheduler.config.clip_sample
    scheduler.set_timesteps(200)
    assert scheduler.timesteps[:2].tolist() == [996, 991] and scheduler.timesteps[-1] == 1


def test_loss_is_the_weighted_error_of_v_by_hand(tmp_path):
    trainer = Trainer(tmp_path, CONFIG, Data(*make_data()))
    trainer.model = lambda noisy, *_, **__: SimpleNamespace(sample=torch.zeros_like(noisy))
    drawn = draw_batch(CONFIG, 0, (4, 8, 4))
    a = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[drawn.timesteps.numpy()]
    latents, noise = make_data()[0][drawn.clips.numpy()], drawn.noise.numpy()
    v = np.sqrt(a)[:, None, None, None] * noise - np.sqrt(1 - a)[:, None, None, None] * latents
    snr = a / (1 - a)
    expected = np.mean(np.minimum(snr, 5) / snr * (v**2).mean((1, 2, 3)))
    assert snr.max() > 5 > snr.min()  # both sides of the bend are in the batch
    assert first_loss(trainer) == pytest.approx(expected, rel=1e-4)


def test_min_snr_weight_at_two_steps():
    scheduler = denoiser.build_noise_scheduler()
    weights = denoiser.min_snr_weights(scheduler, torch.tensor([0, 999]), 5.0)
    snr = (1 - 0.00085) / 0.00085
    assert weights[0].item() == pytest.approx(5 / snr, rel=1e-3) and weights[1] == 1


def test_every_epoch_holds_every_clip_once():
    drawn = torch.cat([draw_batch(CONFIG, update, (1, 1, 1)).clips for update in range(9)])  # 72 = 12 * 6
    epochs = drawn.reshape(12, 6)
    assert (epochs.sort(1).values == torch.arange(6)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 6


def test_captions_are_swapped_for_other_clips_of_the_run():
    """As often as asked, and nothing else that is drawn changes; a clip's own latent comes with the other's caption."""
    config = replace(CONFIG, caption_randomisation=0.4)
    drawn, plain = ([draw_batch(one, update, (4, 8, 4)) for update in range(100)] for one in (config, CONFIG))
    swapped = torch.cat([one.captions != one.clips for one in drawn]).float().mean()
    assert abs(swapped - 0.4 * (1 - 1 / CONFIG.n_train)) < 0.06  # by chance it is its own
    for ours, other in zip(drawn, plain):
        assert torch.equal(other.captions, other.clips) and torch.equal(ours.clips, other.clips)
        assert torch.equal(ours.noise, other.noise) and torch.equal(ours.dropped, other.dropped)
    data = Data(*make_data())
    latents, states, _ = data.rows(drawn[0])
    assert np.array_equal(latents, data.latents[drawn[0].clips]) and np.array_equal(
        states, data.states[drawn[0].captions]
    )


def test_draws_depend_on_seed_draw_size_and_update_only():
    first = draw_batch(CONFIG, 7, (4, 8, 4))
    assert torch.equal(first.noise, draw_batch(CONFIG, 7, (4, 8, 4)).noise)
    changed = [replace(CONFIG, **change) for change in ({"seed": 1}, {"draw": 1}, {"n_train": 5})]
    others = [draw_batch(config, 7, (4, 8, 4)) for config in changed]
    others.append(draw_batch(CONFIG, 8, (4, 8, 4)))
    assert all(not torch.equal(first.noise, other.noise) for other in others)


def test_timesteps_and_dropped_captions_have_the_stated_shares():
    config = replace(CONFIG, batch_size=100, caption_dropout=0.1)
    drawn = [draw_batch(config, update, (1, 1, 1)) for update in range(60)]
    assert torch.cat([d.dropped for d in drawn]).float().mean().item() == pytest.approx(0.1, abs=0.02)
    timesteps = torch.cat([d.timesteps for d in drawn])
    assert timesteps.min() < 10 and timesteps.max() > 989 and abs(timesteps.float().mean() - 499.5) < 15


def test_a_dropped_caption_is_replaced_by_the_null_prompt(tmp_path):
    latents, states, mask, null_state, null_mask = make_data()
    losses = {}
    for share in (0.0, 1.0):
        for name, text in (("own", states), ("other", states[::-1].copy())):
            data = Data(*map(torch.as_tensor, (latents, text, mask, null_state, null_mask)))
            losses[share, name] = first_loss(Trainer(tmp_path, replace(CONFIG, caption_dropout=share), data))
    padded = states + 5 * ~mask[..., None]
    data = Data(*map(torch.as_tensor, (latents, padded.astype(np.float16), mask, null_state, null_mask)))
    unread = first_loss(Trainer(tmp_path, replace(CONFIG, caption_dropout=0.0), data))
    assert unread == pytest.approx(losses[0.0, "own"], rel=1e-6)  # padding is masked
    assert losses[1.0, "own"] == losses[1.0, "other"]
    assert losses[0.0, "own"] != losses[0.0, "other"]


@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (0, lambda a: a[:4], r"latents: expected shape \(6, 4, 8, 4\) for n_train = 6, got \(4, 4, 8, 4\)"),
        (0, lambda a: a[:, 0], "latents: expected shape"),
        (0, lambda a: np.where(np.arange(6)[:, None, None, None] == 3, np.nan, a), "NaN or infinity in clip 3"),
        (1, lambda a: a[:, :3], r"states: expected shape \(6, 5, 16\) for n_train = 6, got \(6, 3, 16\)"),
        (2, lambda a: a[:5], r"mask: expected shape \(6, 5\)"),
        (4, lambda a: a[:2], r"null_mask: expected shape \(5,\)"),
    ],
)
def test_data_that_disagree_are_refused(tmp_path, position, change, message):
    data = list(make_data())
    data[position] = change(data[position])
    with pytest.raises(ValueError, match=message):
        train(tmp_path, CONFIG, Data(*data))
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_at_its_update(tmp_path):
    latents, *rest = make_data()
    with pytest.raises(FloatingPointError, match=r"got (inf|nan) in update 1 "):
        train(tmp_path, CONFIG, Data(latents * 1e30, *rest))


def test_unet_has_tangos_shape_at_tangos_size():
    config = TrainingConfig(block_out_channels=(320, 640, 1280, 1280), attention_head_dim=64, layers_per_block=2)
    with torch.device("meta"):
        unet = denoiser.build_unet(config, (8, 256, 16), 1024)
    assert sum(p.numel() for p in unet.parameters()) / 1e6 == pytest.approx(866, abs=1)
    assert unet.config.norm_num_groups == 32 and unet.config.attention_head_dim == (5, 10, 20, 20)
    assert unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.heads == 5


def test_small_unet_ignores_masked_tokens_and_has_the_stated_heads():
    unet = denoiser.prepare_attention(denoiser.build_unet(CONFIG, (4, 8, 4), 16))
    assert unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.heads == 1
    assert unet.mid_block.attentions[0].transformer_blocks[0].attn2.heads == 2
    noisy, states, mask = torch.randn(2, 4, 8, 4), torch.randn(2, 5, 16), torch.arange(5).expand(2, 5) < 3
    hidden = states + 5 * (~mask)[..., None]
    read = states + 5 * mask[..., None]
    outputs = [
        unet(noisy, 10, encoder_hidden_states=s, encoder_attention_mask=mask).sample for s in (states, hidden, read)
    ]
    torch.testing.assert_close(outputs[0], outputs[1])
    assert (outputs[0] - outputs[2]).abs().max() > 1e-4


def test_unet_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected a divisor of each of \(8, 16\), got 32"):
        denoiser.build_unet(replace(CONFIG, attention_head_dim=32), (4, 8, 4), 16)
    with pytest.raises(ValueError, match=r"divisible by 2, got \(4, 7, 4\)"):
        denoiser.build_unet(CONFIG, (4, 7, 4), 16)


def test_half_precision_copy_is_read_as_the_denoiser_itself(tmp_path):
    from safetensors.torch import save_file

    trained, half = tmp_path / "trained", tmp_path / "half"
    (trained / "checkpoints").mkdir(parents=True)
    half.mkdir()
    (trained / "unet.json").write_text("{}")
    for updates, value in ((6, 0.0), (24, 1 / 3)):
        save_file({"w": torch.full((2,), value)}, trained / "checkpoints" / f"ema_{updates:06d}.safetensors")
    denoiser_stage.compute(half, {"training": trained})
    (kept,) = (half / "checkpoints").iterdir()
    weights = load_file(kept)["w"]
    assert kept.name == "ema_000024.safetensors" and weights.dtype == torch.float16
    assert weights.float().numpy() == pytest.approx(1 / 3, rel=1e-3) and (half / "unet.json").read_text() == "{}"
