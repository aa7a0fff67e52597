"""Soundscapes with their log-mels, beside a plain loop that decodes every recording where it is used."""

import io

import numpy as np
import pyarrow.parquet as pq
import soundfile
from log_mel import one
from timing import compare, options, write

from helpers.base.paths import SOUND_PACK
from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound import corpus
from helpers.sound.mel import log_mel
from helpers.sound.mixtures import level_recording, render

CONFIG = CorpusConfig()


def main():
    """256 soundscapes of 4.096 s."""
    chosen = options(__doc__, n=256)
    maker = corpus.generator(CONFIG, corpus.pools(CONFIG)["train"], "benchmark")
    recipes = maker.recipes(chosen.n, unique=False)
    pack = pq.read_table(SOUND_PACK, columns=["id", "audio"])
    packed = dict(zip(pack["id"].to_pylist(), pack["audio"].to_pylist()))

    def ours():
        chunks = corpus.render_all(recipes, CONFIG)
        return np.concatenate([log_mel(audio, MelConfig(), CONFIG.sample_rate_hz) for audio in chunks])

    def loop():
        """One soundscape after the other: its recordings decoded and levelled, mixed, analysed by librosa."""
        mels = []
        for recipe in recipes:
            decoded = {
                layer.source_id: soundfile.read(io.BytesIO(packed[layer.source_id]), dtype="float32")[0]
                for layer in recipe.layers
            }
            levelled = {source: level_recording(sound) for source, sound in decoded.items()}
            mels.append(one(render(recipe, levelled, CONFIG.clip_samples)))
        return np.stack(mels)

    same = np.abs(ours() - loop()).max()
    used = [layer.source_id for recipe in recipes for layer in recipe.layers]
    detail = f"{len(used):,} recordings used, {len(set(used)):,} decoded; greatest difference {same:.1g} nepers"
    peers = {"plain loop with librosa, textbook": loop}
    write(
        compare(f"corpus, {chosen.n:,} soundscapes", ours, peers, chosen.runs, detail, ["librosa", "soundfile"]),
        chosen.out,
    )


if __name__ == "__main__":
    main()
