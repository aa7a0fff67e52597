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


def load_pooled() -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("base.yml", "tiny.yml"):
            shutil.copy(PROFILES / name, folder)
        Path(folder, "pooled.yml").write_text(POOLED)
        return load_profile("pooled", Path(folder))
