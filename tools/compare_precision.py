"""Whether sampling in bfloat16 gives the clips of float32: the comparison that profiles/protocol.yml names.

    python tools/compare_precision.py 275 840 2800

Needs the trained run n100_d0 of profile `pocket`, and trains it where it is not there. Prints, for each checkpoint, the
least cosine of centred log-mels between the two formats, and how far the cosine to the own clip moves, on the mean.
"""

import argparse
import dataclasses

import numpy as np

from helpers.models import denoiser, sampler
from helpers.models.codec import load_codec
from helpers.models.text import load_text
from helpers.sound.corpus import subset
from helpers.sound.profiles import load_profile
from helpers.stages.roundtrip import cosines
from helpers.study.registry import finished

N_TRAIN, N_CLIPS = 100, 48


def compare(checkpoints: list[int]) -> None:
    study = load_profile("pocket")
    training, encoding = finished("training", study, N_TRAIN, 0).path, finished("encoding", study).path
    rows = subset(study.training_run(N_TRAIN, 0), study.corpus.n_train)[:N_CLIPS]
    text, codec = load_text(encoding), load_codec(study.codec.codec_path, study.codec.codec_sha256)
    own = np.array(np.load(encoding / "latents.npy", mmap_mode="r")[rows])
    clips = codec.decode(own)
    for updates in checkpoints:
        unet, made = denoiser.load_unet(training, updates), {}
        for precision in ("no", "bf16"):
            config = dataclasses.replace(study.generation, n_train=N_TRAIN, precision=precision)
            latents = sampler.sample_latents(
                unet, text["states"][rows], text["mask"][rows], text["null_state"], text["null_mask"],
                list(range(N_CLIPS)), config, own.shape[1:],
            )  # fmt: skip
            made[precision] = codec.decode(latents) - clips.mean(axis=0)
        to_own = {precision: cosines(mels, clips - clips.mean(axis=0)) for precision, mels in made.items()}
        least, moved = cosines(*made.values()).min(), np.abs(to_own["no"] - to_own["bf16"]).mean()
        print(f"{updates} updates: least cosine {least:.5f}, the cosine to the own clip moves by {moved:.5f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("updates", type=int, nargs="+", help="checkpoints")
    compare(parser.parse_args().updates)
