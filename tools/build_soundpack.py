"""Build the sound pack: data/sounds.parquet and data/ATTRIBUTION.md from data/sources.csv and the packages it names.

The same list and the same library versions give the same bytes. What is in the list was chosen by curate_sounds.py.

Example:
    python tools/build_soundpack.py --cache cache/packages
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sound_packages import PACKAGES, sha256_of_file, unpack
from sound_processing import FOREGROUND_SECONDS, SAMPLE_RATE_HZ, encode, process, process_bed
from tqdm import tqdm

DATA = Path(__file__).parent.parent / "data"
MAX_MEGABYTES = 48.0
LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "LAL-1.3": "https://artlibre.org/licence/lal/en/",
}
INTRODUCTION = """# Attribution of the sound pack

`data/sounds.parquet` holds {n} recordings from {n_packages} packages. **Each recording keeps its own licence**, in the
column `licence`, next to its `author`, `title`, `package`, `version`, `path` and the `sha256` of the original.

Changes made to every recording: converted to mono 16 kHz, trimmed, cut to 20 s (beds to 120 s, or to their
longest steady stretch), faded by 5 ms at both ends, encoded as Ogg Vorbis; very quiet ones were amplified.

Soundscapes mixed from these recordings are published under
[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). CC BY 3.0 and CC0 recordings may be part of them; CC
BY-SA 3.0 (section 4b) allows a later version of the licence; the Free Art License 1.3 is declared compatible with CC
BY-SA 4.0. The package with Free Art recordings carries version 1.2 of that licence, whose section 6 lets the user
choose a later one. Recordings under the GPL are left out.

Captions come **from file names and credits, not verified by ear**; `confidence` says how far those support them (H: the
name says it, M: inferred). The words of telephone prompts are those of the list that was published with them.
Author names are spelled as the packages spell them. Where a package credits a team as a whole, the team is the author.

"""


def read_sources(path: Path) -> list[dict[str, str]]:
    """Read data/sources.csv; refuse a row without author, or with a licence that is not on the list."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not row["author"].strip() or row["licence"] not in LICENCES:
            raise ValueError(
                f"{path.name}, {row['id']}: expected an author and a licence of {sorted(LICENCES)}, "
                f"got author {row['author']!r} and licence {row['licence']!r}"
            )
    return rows


def build_clips(rows: list[dict[str, str]], cache: Path) -> list[bytes]:
    """Return the encoded sound of every row.

    Raises:
        ValueError: if a package, an original file or the length of a clip differs from the list.
    """
    folders, audio = {}, []
    for package in PACKAGES:
        if any(row["package"] == package.name for row in rows):
            folders[package.name, package.version] = unpack(package, cache)
    for row in tqdm(rows, desc="encode", unit="clip"):
        key = row["package"], row["version"]
        if key not in folders:
            raise ValueError(f"{row['id']}: expected one of the packages {sorted(folders)}, got {key}")
        content = (folders[key] / row["path"]).read_bytes()
        if (got := hashlib.sha256(content).hexdigest()) != row["sha256"]:
            raise ValueError(f"{row['id']}: expected an original with sha256 {row['sha256']}, got {got}")
        bed = row["role"] == "bed"
        samples = process_bed(content, row["path"]) if bed else process(content, row["path"], FOREGROUND_SECONDS)
        seconds = round(len(samples) / SAMPLE_RATE_HZ, 4)
        if seconds != float(row["seconds"]):
            raise ValueError(f"{row['id']}: expected {row['seconds']} s, got {seconds} s")
        audio.append(encode(samples))
    return audio


def write_pack(rows: list[dict[str, str]], audio: list[bytes], path: Path) -> None:
    """Write the pack beside ``path``, check its size, then move it into place."""
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]}
    columns["seconds"] = pa.array([float(row["seconds"]) for row in rows], pa.float64())
    columns["audio"] = pa.array(audio, pa.binary())
    partial = path.with_name(path.name + ".part")
    # all Vorbis streams start with the same 4 kB of codebooks: zstd takes them out again
    pq.write_table(pa.table(columns), partial, compression="zstd", compression_level=9, use_dictionary=False)
    megabytes = partial.stat().st_size / 1e6
    if megabytes > MAX_MEGABYTES:
        raise ValueError(f"expected a pack of at most {MAX_MEGABYTES} MB, got {megabytes:.1f} MB in {partial.name}")
    os.replace(partial, path)


def attribution(rows: list[dict[str, str]]) -> str:
    """Return the text of ATTRIBUTION.md."""
    names = sorted({row["package"] for row in rows})
    lines = [INTRODUCTION.format(n=f"{len(rows):,}", n_packages=len(names))]
    lines += ["## Licences", "", "| licence | clips | text |", "|--|--|--|"]
    for licence, link in LICENCES.items():
        lines.append(f"| {licence} | {sum(row['licence'] == licence for row in rows)} | <{link}> |")
    lines += [
        "",
        "## Packages",
        "",
        "| package | version | fetched with | clips | sha256 of the package |",
        "|--|--|--|--|--|",
    ]
    for package in PACKAGES:
        count = sum(row["package"] == package.name for row in rows)
        lines.append(f"| {package.name} | {package.version} | {package.client} | {count} | `{package.sha256}` |")
    lines += ["", "## Authors", ""]
    for name in names:
        lines += [f"### {name}", "", "| author | licence | clips | titles |", "|--|--|--|--|"]
        titles: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in rows:
            if row["package"] == name:
                titles[row["author"], row["licence"]].append(row["title"].replace("|", "/"))
        for (author, licence), group in sorted(titles.items()):
            named = ", ".join(sorted(set(group))) if licence == "CC-BY-3.0" else ""
            lines.append(f"| {author} | {licence} | {len(group)} | {named} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("cache/packages"), help="folder of the fetched packages")
    parser.add_argument("--sources", type=Path, default=DATA / "sources.csv", help="list of the clips to pack")
    parser.add_argument(
        "--output", type=Path, default=DATA / "sounds.parquet", help="the pack; ATTRIBUTION.md goes beside"
    )
    parser.add_argument("--only", type=int, metavar="N", help="pack the first N clips only: a quick trial")
    args = parser.parse_args()
    rows = read_sources(args.sources)[: args.only]
    write_pack(rows, build_clips(rows, args.cache), args.output)
    args.output.with_name("ATTRIBUTION.md").write_text(attribution(rows), encoding="utf-8", newline="\n")
    summary = {
        "clips": len(rows),
        "megabytes": round(args.output.stat().st_size / 1e6, 2),
        "bed_minutes": round(sum(float(row["seconds"]) for row in rows if row["role"] == "bed") / 60, 1),
        "source_groups": len({row["source_group"] for row in rows}),
        "sha256": sha256_of_file(args.output),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
