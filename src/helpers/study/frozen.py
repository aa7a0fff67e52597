"""Whether the frozen models that were made here take a profile's clips: asked of their config.json before hours of work."""

import json
from collections.abc import Iterable

from helpers.base.paths import resolve
from helpers.base.profile import Profile
from helpers.base.progress import say
from helpers.base.settings import MelConfig
from helpers.models.pretrained.locate import is_audioldm, is_laion
from helpers.study.stage import Stage

CODED = {"encoding", "roundtrip", "twins", "controls", "generation"}  # made by codec and vocoder
SEARCHED = {"references", "retrieval", "alterations"}  # by every detector


def check(profile: Profile, stages: Iterable[Stage]):
    """Raises ValueError, naming the setting, where a stage of `stages` would fail at a frozen model that does not fit."""
    names, codec, retrieval = {stage.name for stage in stages}, profile.codec, profile.retrieval
    others = ""
    if names & CODED and not is_audioldm(codec.codec_path):
        _check_codec(profile, own := _config("codec_path", codec.codec_path, "mel_mean"))
        others = _learned_otherwise(profile, own)
    if names & CODED and codec.vocoder == "vocos":
        own = _config("vocoder_path", codec.vocoder_path, "mel")
        mel, rate = MelConfig.from_digest_fields(own["mel"]), own["sample_rate_hz"]
        if (mel, rate) != (profile.mel, profile.corpus.sample_rate_hz):
            raise ValueError(
                f"vocoder: expected settings that {codec.vocoder_path} was made for ({mel}, {rate} Hz), "
                f"got {profile.mel}, {profile.corpus.sample_rate_hz} Hz; vocoder=griffin_lim takes any"
            )
    if names & SEARCHED and "clap" in retrieval.detectors and not is_laion(retrieval.clap_path):
        own = _config("clap_path", retrieval.clap_path, "samples")
        wanted = (own["samples"], own["sample_rate_hz"])
        if (profile.corpus.clip_samples, profile.corpus.sample_rate_hz) != wanted:
            raise ValueError(
                f"clip_samples: expected the {wanted[0]} samples at {wanted[1]} Hz that {retrieval.clap_path} takes, got "
                f"{profile.corpus.clip_samples} at {profile.corpus.sample_rate_hz} Hz; or leave clap out of detectors"
            )
    if others:
        say(others)


def _learned_otherwise(profile: Profile, own: dict) -> str:
    """A line where a codec learned log-mels of other settings, which it takes all the same; else ""."""
    wanted = profile.mel, profile.corpus.sample_rate_hz
    made_for = (MelConfig.from_digest_fields(own["mel"]), own["sample_rate_hz"]) if "mel" in own else wanted
    if made_for == wanted:
        return ""
    return (
        f"codec: {profile.codec.codec_path} learned log-mels of {made_for[0]} at {made_for[1]} Hz, not {wanted[0]} at "
        f"{wanted[1]} Hz: it may lose more of a clip, which chapter 2 measures"
    )


def _check_codec(profile: Profile, own: dict):
    bands, stride = len(own["mel_mean"]), own["patch"] * 2 ** (len(own["autoencoder"]["block_out_channels"]) - 1)
    samples, mel = profile.corpus.clip_samples, profile.mel
    if mel.n_mels != bands:
        raise ValueError(f"n_mels: expected the {bands} bands that {profile.codec.codec_path} takes, got {mel.n_mels}")
    if samples % (stride * mel.hop_length):
        raise ValueError(
            f"clip_samples: expected a multiple of {stride * mel.hop_length}, as {profile.codec.codec_path} takes {stride} "
            f"frames at a time, got {samples}"
        )
    latent, levels = (samples // mel.hop_length // stride, bands // stride), len(profile.training.block_out_channels)
    if any(size % 2 ** (levels - 1) for size in latent):
        raise ValueError(
            f"block_out_channels: expected so many levels that latents of {latent[0]} x {latent[1]} can be halved from each "
            f"to the next, got {levels}"
        )


def _config(setting: str, folder: str, has: str) -> dict:
    """The config.json of a model made here, which `has` a key that models of other kinds lack."""
    own = json.loads((resolve(folder) / "config.json").read_text())
    if has not in own:
        raise ValueError(f"{setting}: expected the folder of a model of this kind, got {folder}, of another")
    return own
