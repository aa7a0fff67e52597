"""The profile `tiny` with one gallery for all runs, and a schedule for each size: the study of onsets in a minute."""

import shutil
import tempfile
from pathlib import Path

from helpers.base.paths import PROFILES
from helpers.base.profile import Profile
from helpers.sound.profiles import load_profile

SCHEDULES = ((2, 3, 4, 6), (2, 4))
POOLED = f"""base: tiny
draws: [2, 1]
schedules: [{list(SCHEDULES[0])}, {list(SCHEDULES[1])}]
planted: {{trained: false}}
training: {{offsets: [0, 8], keep_raw: true}}
arms: {{n_heldout_checkpoint: 3, n_other_draw: 3}}
controls: {{n_empirical: 0}}
retrieval: {{gallery: pool, detectors: [mel, mel_aligned]}}
"""
COPIES = f"""base: pooled
sizes: [16]
draws: [1]
schedules: [{list(SCHEDULES[0])}]
corpus: {{kind: planted}}
planted: {{copies: [2, 4], groups: [2, 1], kinds: [exact]}}
generation: {{prompts: clusters, n_prompts: 5}}
arms: {{n_checkpoint: 5, n_other_draw: 0, n_guidance: 0, n_raw: 0}}
controls: {{n_altered: 0, n_same_bed: 0}}
"""


def load_pooled(name: str = "pooled") -> Profile:
    """`pooled`, or `copies`: one model on planted copies, asked at every checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        for base in ("base.yml", "tiny.yml"):
            shutil.copy(PROFILES / base, folder)
        Path(folder, "pooled.yml").write_text(POOLED)
        Path(folder, "copies.yml").write_text(COPIES)
        return load_profile(name, Path(folder))
