"""The core of the book: data flows from `corpus` through `training` and `generation` to `thresholds` (see `pipeline`)."""

import os

# Every weight is in the repository or in an installed package; a hub would be asked for nothing but updates.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
