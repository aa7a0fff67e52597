"""The profile `paper` from end to end: reduced, on a user's audio folder, with fabricated checkpoints for the published."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml

from helpers.base.arms import list_arms
from helpers.book.summaries.rows import of_both_readings
from helpers.models.denoiser import load_unet
from helpers.sound.profiles import load_profile
from helpers.study import registry

RATE, SAMPLES, CLIPS = 16_000, 40_960, {"n_train": 6, "n_heldout": 3, "n_background": 2}
ANIMALS, VERBS = ("dog", "cat", "bird"), ("barks", "sings", "falls", "loudly")


@pytest.fixture(scope="module")
def audio_folder(tmp_path_factory):
    """Eleven clips of 2.56 s, each with noise bursts at a rate of its own."""
    folder, rng = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    t, rows = np.arange(SAMPLES) / RATE, []
    for i in range(sum(CLIPS.values())):
        bursts = rng.standard_normal(SAMPLES) * np.exp(-6 * (t % (0.2 + 0.07 * i))) + np.sin(
            2 * np.pi * 150 * (i + 1) * t
        )
        soundfile.write(folder / f"{i}.wav", 0.2 * bursts / np.abs(bursts).max(), RATE)
        rows.append((f"{i}.wav", f"a {ANIMALS[i % 3]} {VERBS[i % 4]} on a roof"))
    pd.DataFrame(rows, columns=["file_name", "text"]).to_csv(folder / "metadata.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def profile(fabricated, sizes, audio_folder):
    """`paper` with other widths and fewer clips and steps; all choices of parts are its own."""
    paper = dataclasses.replace(load_profile("paper"), sizes=(6,), draws=(1,))
    changes = {
        "thresholds": {"k": 2, "ks": [1, 2]},
        "corpus": {
            "kind": "audiofolder",
            "path": str(audio_folder),
            "audio_path": "",
            "clip_samples": SAMPLES,
            **CLIPS,
        },
        "codec": {
            "codec_path": str(fabricated / "audioldm"),
            "vocoder_path": str(fabricated / "audioldm"),
            "n_roundtrip": 4,
        },
        "text": {"encoder_path": str(fabricated / "flan-t5"), "max_tokens": 16},
        "training": {**sizes["unet"], "n_train": 6, "batch_size": 2, "updates": 2, "checkpoints": [1, 2]},
        "generation": {"n_train": 6, "steps": 2},
        "arms": {"n_checkpoint": 2, "n_heldout": 2, "n_seed_prompts": 1, "n_seeds": 2},
        "controls": {"n_altered": 4, "n_empirical": 1},
        "retrieval": {"clap_path": str(fabricated / "clap" / "630k-audioset-best.pt"), "top_k": 3, "k_max": 2},
    }
    for section, fields in changes.items():
        paper = dataclasses.replace(paper, **{section: dataclasses.replace(getattr(paper, section), **fields)})
    return paper


@pytest.fixture(scope="module")
def loaded(profile, fabricated):
    """The same with TANGO's checkpoint in place of training."""
    return profile.replace("training", checkpoint_path=str(fabricated / "tango"))


# Of declare-lab/tango's code and configuration, and what `paper` may have instead.
TANGO = {
    "corpus": {"sample_rate_hz": 16_000, "clip_samples": 163_840, "channel": "first"},
    "mel": {"n_fft": 1024, "hop_length": 160, "n_mels": 64, "fmin_hz": 0, "fmax_hz": 8000},
    "codec": {"codec_path": "hub:cvssp/audioldm", "vocoder": "hifigan"},
    "text": {"encoder_path": "hub:google/flan-t5-large", "max_tokens": 512},
    "training": {
        "batch_size": 32, "mixtures": True, "posterior": "sample", "updates": 40 * 1420, "learning_rate": 3e-5,
        "schedule": "linear", "final_rate": 0.75, "warmup_updates": 0, "weight_decay": 1e-2, "ema_decay": 0,
        "caption_dropout": 0, "min_snr_gamma": 5, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2,
        "attention_head_dim": 64, "architecture": "tango", "precision": "no",
    },
    "generation": {
        "updates": 39 * 1420, "sampler": "ddpm", "steps": 200, "guidance": 3, "steps_offset": 0, "precision": "no",
    },
}  # fmt: skip
DEPARTURES = {"text.max_tokens": 128, "generation.updates": 0}


def test_every_value_is_tangos_or_a_stated_departure(repository):
    """In the profile, and in the table of the book, which says why where they differ."""
    paper, rows = load_profile("paper"), (repository / "book" / "tango.md").read_text().splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows if row.startswith("| `")]
    table = {name.strip("`"): (yaml.safe_load(theirs), yaml.safe_load(ours), why) for name, theirs, ours, why in cells}
    expected = {f"{section}.{name}": value for section, own in TANGO.items() for name, value in own.items()}
    assert table.keys() == expected.keys()
    for setting, value in expected.items():
        section, name = setting.split(".")
        ours = getattr(getattr(paper, section), name)
        assert ours == DEPARTURES.get(setting, value), setting
        told = [_value(text, value) for text in table[setting][:2]]
        assert told == [value, ours] and (ours == value or table[setting][2]), setting


def _value(text, like):
    """A cell of the table as a setting's value: YAML takes `no` for false and 3e-5 for text."""
    if isinstance(like, str):
        return "no" if text is False else text
    return tuple(text) if isinstance(text, list) else text if isinstance(text, bool) else float(text)


def test_both_readings_of_equal_training_have_their_checkpoints():
    paper = load_profile("paper")
    epochs = [n * u / s for n, u, s in zip([32] * 3, paper.training.checkpoints, paper.sizes)]
    assert epochs == pytest.approx([40, 40, 40], rel=1e-3)  # at one checkpoint for each size
    full = {n: [name for name, arm in list_arms(paper, n, 0).items() if arm.n_prompts >= n] for n in paper.sizes}
    assert full == {1000: ["main", "u01250"], 5000: ["main", "u06250"], 45438: ["main"]}
    assert list_arms(paper, 5000, 0)["u01250"].n_prompts == 250


def test_the_row_of_either_reading_stands_beside_the_papers():
    rows = pd.DataFrame(
        {"arm": ["main", "u01250", "u06250", "heldout_u01250"], "epochs": [1817.6, 40, 200, 40], "n_train": 1000, "draw": 0,
         "prompt_set": ["train"] * 3 + ["heldout"], "weights": "ema", "updates": [56800, 1250, 6250, 1250]}
    )  # fmt: skip
    assert of_both_readings(rows, 40)["arm"].tolist() == ["main", "u01250"]
    assert of_both_readings(rows, 0)["arm"].tolist() == ["main"]  # where a study asks for no second reading


def test_clips_pass_through_the_published_parts(profile):
    encoding = registry.finished("encoding", profile).path
    latents = np.load(encoding / "latents.npy")
    assert latents.shape == (6, 8, 64, 16) and np.isfinite(latents).all()
    text = np.load(encoding / "text.npz")
    assert text["states"].shape == (6, 16, 32) and text["null_mask"].sum() == 1
    roundtrip = registry.finished("roundtrip", profile).path
    queries, audio = pd.read_parquet(roundtrip / "queries.parquet"), np.load(roundtrip / "audio.npy")
    assert audio.shape == (7, SAMPLES) and queries["split"].value_counts().to_dict() == {"train": 4, "heldout": 3}
    assert np.isfinite(queries[["codec_cosine", "vocoder_mae"]]).all(axis=None)


def test_the_published_model_generates_and_its_clips_are_retrieved(loaded, fabricated):
    training = registry.finished("training", loaded, 6, 0).path
    unet = load_unet(training)
    state = torch.load(fabricated / "tango" / "pytorch_model_main.bin", weights_only=True)
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), state[f"unet.{name}"], rtol=0, atol=0)
    generation = registry.finished("generation", loaded, 6, 0).path
    audio, queries = np.load(generation / "audio.npy"), pd.read_parquet(generation / "queries.parquet")
    assert audio.shape == (6, SAMPLES) and not queries["silent"].any()
    folder = registry.finished("retrieval", loaded, 6, 0).path
    scores, null = pd.read_parquet(folder / "scores.parquet"), pd.read_parquet(folder / "null.parquet")
    assert set(scores["detector"]) == {"mel", "mel_centred", "mel_aligned", "clap"}
    # a user's own clips cannot be mixed anew: no twins, and no other events over a known bed
    assert set(null["kind"]) == {"heldout", "ceiling", "altered", "empirical"}
    found = scores[(scores["arm"] == "main") & (scores["detector"] == "clap")]
    assert len(found) == 6 * 3 and found["score"].between(-1, 1).all()


def test_the_same_configuration_is_trained_from_nothing(profile):
    training = registry.finished("training", profile, 6, 0).path
    losses = pd.read_parquet(training / "loss.parquet")
    assert (
        losses["learning_rate"].tolist() == pytest.approx([3e-5, 3e-5 * (1 - 0.25 / 2)], rel=0.02)
        and np.isfinite(losses["loss"]).all()
    )
    unet = load_unet(training)
    assert unet.config.upcast_attention and tuple(unet.config.block_out_channels) == profile.training.block_out_channels
    averaged, raw = (load_unet(training, 2, kind).state_dict() for kind in ("ema", "raw"))
    for name in raw:  # ema_decay 0: nothing is averaged
        torch.testing.assert_close(averaged[name], raw[name], rtol=0, atol=1e-6)
    audio = np.load(registry.finished("generation", profile, 6, 0).path / "audio.npy")
    assert audio.shape == (6, SAMPLES) and np.abs(audio).max() > 33


def test_published_files_decide_the_digests_of_the_stages_that_read_them(profile, loaded, fabricated, tmp_path):
    shutil.copytree(fabricated / "audioldm", tmp_path / "audioldm")
    moved = profile.replace("codec", vocoder_path=str(tmp_path / "audioldm"))

    def digests(p, names=("encoding", "roundtrip", "generation", "training")):
        return {name: registry.build(name, p)[0].digest for name in names}

    assert digests(moved) == digests(profile)  # the same files elsewhere
    config = tmp_path / "audioldm" / "vocoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    changed = {name for name, digest in digests(moved).items() if digest != digests(profile)[name]}
    assert changed == {"roundtrip", "generation"}
    assert {n for n, d in digests(loaded).items() if d != digests(profile)[n]} == {"training", "generation"}


def test_one_published_model_is_one_run(loaded):
    with pytest.raises(ValueError, match=r"sizes: expected one run, .* got \(\(4, 0\), \(6, 0\)\)"):
        dataclasses.replace(loaded, sizes=(4, 6), draws=(1, 1))


def test_a_missing_part_is_told_before_any_work(profile, tmp_path):
    lacking = profile.replace("codec", vocoder_path=str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="codec.vocoder_path: .* `hf download cvssp/audioldm vocoder/config.json"
    ):
        registry.build("roundtrip", lacking)
    lacking = profile.replace("retrieval", clap_path=str(tmp_path / "x.pt"))
    with pytest.raises(FileNotFoundError, match="retrieval.clap_path: .* `hf download lukewys/laion_clap x.pt"):
        registry.build("retrieval", lacking)
    lacking = profile.replace("training", checkpoint_path=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`hf download declare-lab/tango pytorch_model_main.bin"):
        registry.build("training", lacking)
