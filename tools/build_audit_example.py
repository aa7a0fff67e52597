"""Builds data/audit: three small folders for a first audit, of recordings of the sound pack that are CC0, one a source group.

One "generated" clip holds a planted excerpt of a training clip; all others are strangers to each other. Who made which is in
sources.csv. Run in the root of the repository: python tools/build_audit_example.py
"""

import shutil

import numpy as np
import pandas as pd

from helpers.base.paths import ROOT, SOUND_PACK
from helpers.base.seeds import seeded
from helpers.book.players import encode_mp3
from helpers.copies.audit.planting import plant
from helpers.sound.pack import SAMPLE_RATE_HZ, decode_sounds, load_soundpack

FOLDER, LONGEST_S = ROOT / "data" / "audit", 5
TWICE = "supersonic-loop-amen-full-87ba57"  # another recording of the pack is a part of it
SIZES = {"training": 24, "honest": 44, "generated": 12}


def main():
    pack = load_soundpack(SOUND_PACK).query("licence == 'CC0-1.0'").sort_values(["seconds", "id"], ascending=False)
    table = pack.drop_duplicates("source_group").head(sum(SIZES.values()))
    table = table.iloc[seeded("audit example").permutation(len(table))]
    table = table.assign(folder=np.repeat([*SIZES], [*SIZES.values()]))
    table = table[table["id"] != TWICE]
    numbers = table.groupby("folder").cumcount() + 1
    names = table["id"].str.rpartition("-")[0]
    table["file"] = [
        f"made_{number:02d}.mp3" if folder == "generated" else f"{name}.mp3"
        for folder, number, name in zip(table["folder"], numbers, names)
    ]
    assert not table.duplicated(["folder", "file"]).any()
    decoded = decode_sounds(SOUND_PACK, table["id"])
    sounds = {(r.folder, r.file): decoded[r.id][: LONGEST_S * SAMPLE_RATE_HZ] for r in table.itertuples()}
    longest = sorted(sounds, key=lambda key: len(sounds[key]), reverse=True)
    (source, host) = (next(key for key in longest if key[0] == folder) for folder in ("training", "generated"))
    one, other = (np.round(16_383 * sounds[key]).astype(np.int16) for key in (source, host))
    sounds[host] = plant("2 s excerpt", one, other, SAMPLE_RATE_HZ, "example") / 32768
    table["holds_excerpt_of"] = np.where(
        (table["folder"] == host[0]) & (table["file"] == host[1]), "/".join(source), ""
    )
    for folder in SIZES:
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
    for (folder, file), sound in sounds.items():
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        (FOLDER / folder / file).write_bytes(encode_mp3(sound, SAMPLE_RATE_HZ))
    columns = ["folder", "file", "holds_excerpt_of", "id", "title", "author", "licence", "package", "caption"]
    pd.DataFrame(table[columns]).sort_values(["folder", "file"]).to_csv(FOLDER / "sources.csv", index=False)


if __name__ == "__main__":
    main()
