"""How far a limit to the likeness to training clips keeps a replaying model from them: the choice in profiles/protocol.yml.

    python tools/compare_limits.py 1 0.7 0.5

Needs the trained run n100_d0 of profile `pocket`, and trains it where it is not there. Prints, for each limit and detector,
the share of clips after the last update that is near-exact of the own clip, and the share above the 99th percentile of twins.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from helpers.copies.detectors import Detectors
from helpers.copies.pooled import of_all_runs
from helpers.models import denoiser, sampler
from helpers.models.codec import load_codec
from helpers.models.synthesis import decode_and_vocode
from helpers.models.text import load_text
from helpers.sound import corpus
from helpers.sound.profiles import load_profile
from helpers.study import publication
from helpers.study.registry import finished

N_TRAIN, N_CLIPS, DETECTORS = 100, 48, ("mel", "clap", "aisfx")


def compare(limits: list[float]) -> None:
    study = load_profile("pocket")
    training, encoding = finished("training", study, N_TRAIN, 0).path, finished("encoding", study).path
    data = corpus.load_corpus(finished("corpus", study).path)
    rows = np.sort(corpus.subset(study.training_run(N_TRAIN, 0), study.corpus.n_train))
    latents, asked = np.load(encoding / "latents.npy", mmap_mode="r")[rows], rows[:N_CLIPS]
    text, codec = load_text(encoding), load_codec(study.codec.codec_path, study.codec.codec_sha256)
    detectors = Detectors(
        dataclasses.replace(study.retrieval, detectors=DETECTORS),
        study.mel,
        study.corpus.sample_rate_hz,
        data.mel_mean(),
    )
    own = {name: detectors.features(name, data.audio[data.rows("train")[asked]]) for name in DETECTORS}
    null = of_all_runs(publication.find("pocket"), "retrieval", "null.parquet")
    null = null.query(f"rank == 1 and n_train == {N_TRAIN} and draw == 0")
    null = null.set_index(["kind", "detector"])["own_score"]
    unet = denoiser.load_unet(training)
    for limit in limits:
        config = dataclasses.replace(study.generation, n_train=N_TRAIN, max_similarity=limit)
        made = sampler.sample_latents(
            unet, text["states"][asked], text["mask"][asked], text["null_state"], text["null_mask"],
            list(range(N_CLIPS)), config, latents.shape[1:], latents,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            decode_and_vocode(
                Path(folder), N_CLIPS, lambda part, made=made: codec.decode(made[part]), study, f"limit {limit:g}"
            )
            audio = np.load(Path(folder) / "audio.npy")
        for name in DETECTORS:
            twins, ceiling = null["twins", name], null["ceiling", name].median()
            scores = detectors.similarity(name, detectors.features(name, audio), own[name])
            near = (scores - twins.median()) / (ceiling - twins.median()) >= study.thresholds.theta
            print(
                f"limit {limit:g}, {name}: near-exact {near.mean():.2f}, above twins {np.mean(scores > twins.quantile(0.99)):.2f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("limits", type=float, nargs="+", help="limits, 0 to 1; 1 is none")
    compare(parser.parse_args().limits)
