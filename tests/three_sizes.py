"""A study of three sizes that are trained equally long, each run searched in its own clips, as the first study was."""

import dataclasses

from helpers.sound.profiles import load_profile

THREE_SIZES = dataclasses.replace(load_profile("base"), name="three_sizes").replace_in({
    "planted": {"trained": True}, "codec": {"n_roundtrip": 4500},
    "retrieval": {"detectors": ["mel", "mel_centred", "mel_aligned", "clap", "aisfx"]},
})  # fmt: skip
