"""Writes the Parquet tables of a published study anew, as small as `write_parquet` makes them today.

    python tools/repack_published.py results/pocket

A table takes its place only where it is smaller and reads the same, values, types and order; its size and sha256 in the
manifest are renewed then. Digests stay, as they name what a result was made from.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from helpers.base.hashing import hash_file
from helpers.base.parquet_file import write_parquet
from helpers.study.entries import folder_of, read_entries
from helpers.study.manifest import MANIFEST, write_json


def repack(folder: Path) -> int:
    """The bytes that are saved in a published study's folder."""
    entries, saved = read_entries(folder), 0
    for key, entry in entries.items():
        for name in [name for name in entry["files"] if name.endswith(".parquet")]:
            path = folder_of(folder, key) / name
            table = pd.read_parquet(path)
            with tempfile.TemporaryDirectory(dir=folder) as draft:
                write_parquet(table, smaller := Path(draft) / path.name)
                pd.testing.assert_frame_equal(pd.read_parquet(smaller), table, check_exact=True)
                if (less := path.stat().st_size - smaller.stat().st_size) > 0:
                    smaller.replace(path)
                    entry["files"][name] |= {"size": path.stat().st_size, "sha256": hash_file(path)}
                    saved += less
    write_json(folder / MANIFEST, {"stages": entries})
    return saved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a published study, as results/pocket")
    print(f"{repack(parser.parse_args().folder) / 1e6:.2f} MB saved")
