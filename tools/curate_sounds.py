"""Choose the recordings of the sound pack and write data/sources.csv, the list that build_soundpack.py builds from.

Three small tables say what is chosen:

* ``sound_rules.csv``: which files (package, pattern of the path; the first match counts) get which class and caption,
  how far name and credits support the caption (H high, M medium), the longest length that still fits it, how many to
  keep;
* ``spoken_prompts.csv``: the words of the telephone prompts;
* ``sound_credits.csv``: who made a file and under which licence. Packages that carry this per sound in a form a program
  can read (OpenSFX, Sonic Pi's samples) are read instead.

A file that no rule names, or whose author or licence nobody states, stays out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
from sound_packages import PACKAGES, Package, unpack
from sound_processing import FOREGROUND_SECONDS, is_steady, measure, process, process_bed
from source_groups import assign_source_groups
from tqdm import tqdm

HERE = Path(__file__).parent
COLUMNS = (
    "id", "package", "version", "path", "sha256", "author", "licence", "title", "class", "role", "caption",
    "confidence", "seconds", "source_group",
)  # fmt: skip
BED_CLASSES = {"ambience", "weather", "water", "fire", "machine", "insect", "vehicle"}
NOT_BEDS = r"passes|sputters|boils|thunder|gust"  # events, however even their level is
CLASS_CAPS = {"speech": 300, "impact": 120, "synth": 60, "whoosh": 40}  # so that no kind of game sound dominates
MIN_SECONDS = 0.15
MAX_CLIPPED = 0.02


def read_table(name: str) -> list[dict[str, str]]:
    """Read a CSV file that lies beside this script."""
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_rules() -> dict[str, list[dict[str, str]]]:
    """Return the rules per package prefix; the telephone prompts become rules of their own."""
    rules = read_table("sound_rules.csv")
    for row in read_table("spoken_prompts.csv"):
        pattern = rf"/en_US_f_Allison/{re.escape(row['prompt'])}\.g722$"
        rules.append({
            "package": "asterisk", "pattern": pattern, "class": "speech", "caption": f'a woman says "{row["words"]}"',
            "confidence": "H", "max_seconds": "", "keep": "",
        })  # fmt: skip
    table: dict[str, list[dict[str, str]]] = {package.prefix: [] for package in PACKAGES}
    for index, rule in enumerate(rules):
        table[rule["package"]].append(rule | {"index": str(index)})
    return table


def opensfx_credit(label: str) -> tuple[str, str, str]:
    """Return (author, licence, title) from the label that OpenSFX embeds in each sound.

    >>> opensfx_credit('"Cow". Original "Moan.wav" by "Gib". Edited by "Wuzzy". License: Creative Commons Zero 1.0.')
    ('Gib, Wuzzy', 'CC0-1.0', 'Cow (from "Moan.wav")')
    """
    credit, _, licence = label.partition(" License: ")
    names = {"Zero 1.0": "CC0-1.0", "Attribution-ShareAlike 3.0": "CC-BY-SA-3.0", "Attribution 3.0": "CC-BY-3.0"}
    spdx = next((names[name] for name in names if f"Creative Commons {name}" in licence), "")
    title = re.match(r'"([^"]*)"', credit)[1]
    originals = re.findall(r'Original "([^"]+)"', credit)
    authors = re.findall(r'\b(?:by|and|aka) "([^"]+)"|\b[Bb]y ([^".()]+?)(?=\.|$| aka)', credit)
    authors = [a or b for a, b in authors if not re.search(r"\.(wav|mp3|aiff?|flac|ogg)$", a or b)]
    return ", ".join(dict.fromkeys(authors)), spdx, title + (f' (from "{originals[0]}")' if originals else "")


def sonic_pi_authors(provenance: str) -> dict[str, str]:
    """Return the author of each sample from PROVENANCE.md: a donor, or the freesound.org user of its link."""
    authors = {}
    for sample, rest in re.findall(r"^\* `:?(\w+)`\s*-\s*(.+)$", provenance, flags=re.MULTILINE):
        user = re.search(r"/people/([^/]+)/", rest, flags=re.IGNORECASE)
        donor = re.search(r"Donated by (.+?) under", rest)
        name = user[1].replace("%20", " ") + " (freesound.org)" if user else donor[1] if donor else ""
        authors[sample] = authors[re.sub(r"_(\d+)$", r"\1", sample)] = name  # listed perc_1, packed perc1
    return authors


class Credits:
    """Author, licence and title of every file of one package."""

    def __init__(self, package: Package, folder: Path) -> None:
        self.package, self.folder = package, folder
        self.rules = [row for row in read_table("sound_credits.csv") if row["package"] == package.prefix]
        if package.prefix == "supersonic":
            self.authors = sonic_pi_authors((folder / "package/PROVENANCE.md").read_text(encoding="utf-8"))

    def lookup(self, path: str) -> tuple[str, str, str]:
        """Return (author, licence, title); author and licence are empty where the package states none."""
        stem = Path(path).stem
        if self.package.prefix == "opensfx":
            return opensfx_credit((self.folder / f"credits/{stem}.txt").read_bytes().decode("latin1"))
        if self.package.prefix == "supersonic":
            return self.authors.get(stem, ""), "CC0-1.0", stem
        rule = next((rule for rule in self.rules if re.search(rule["pattern"], path)), None)
        return (rule["author"], rule["licence"], stem) if rule else ("", "", stem)


def clip_id(package: Package, path: str, sha256: str) -> str:
    """Return a readable id: package, name of the file, start of its sha256."""
    slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")
    return f"{package.prefix}-{slug}-{sha256[:6]}"


def examine(package: Package, path: str, content: bytes, rule: dict[str, str]) -> tuple[dict, np.ndarray] | str:
    """Return a row (credits and group still missing) and its 16 kHz waveform, or the reason why the clip stays out."""
    bed_candidate = rule["class"] in BED_CLASSES and not re.search(NOT_BEDS, rule["caption"])
    bed = process_bed(content, path) if bed_candidate else np.zeros(0)
    role = "bed" if is_steady(measure(bed)) else "foreground"
    samples = bed if role == "bed" else process(content, path, FOREGROUND_SECONDS)
    measures = measure(samples)
    if not len(samples):
        return "silent"
    if measures.seconds < MIN_SECONDS:
        return "shorter than 0.15 s"
    if measures.clipped > MAX_CLIPPED:
        return "clipped"
    if rule["max_seconds"] and measures.seconds > float(rule["max_seconds"]):
        return "longer than its caption allows"
    sha256 = hashlib.sha256(content).hexdigest()
    row = {
        "id": clip_id(package, path, sha256), "package": package.name, "version": package.version, "path": path,
        "sha256": sha256, "class": rule["class"], "role": role, "caption": rule["caption"],
        "confidence": rule["confidence"], "seconds": round(len(samples) / 16_000, 4), "rule": rule,
    }  # fmt: skip
    return row, samples


def thin(rows: list[dict]) -> list[dict]:
    """Keep at most ``keep`` rows of each rule, evenly spread over its files."""
    kept = []
    for index in dict.fromkeys(row["rule"]["index"] for row in rows):
        group = [row for row in rows if row["rule"]["index"] == index]
        keep = int(group[0]["rule"]["keep"] or len(group))
        picks = np.linspace(0, len(group) - 1, min(keep, len(group))).round().astype(int)
        kept += [group[i] for i in picks]
    return sorted(kept, key=lambda row: (row["package"], row["path"]))


def curate(cache: Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Choose the clips of all packages; return their rows and their 16 kHz waveforms by id."""
    rules, rows, waveforms, reasons = load_rules(), [], {}, Counter()
    seen: set[str] = set()
    for package in PACKAGES:
        folder = unpack(package, cache)
        credits = Credits(package, folder)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        for file in tqdm(files, desc=package.name, unit="file"):
            path = file.relative_to(folder).as_posix()
            rule = next((rule for rule in rules[package.prefix] if re.search(rule["pattern"], path)), None)
            if rule is None or file.suffix.lower() in {".txt", ".md", ".aiff"}:
                continue
            author, licence, title = credits.lookup(path)
            content = file.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            result = "no author or licence" if not (author and licence) else "duplicate" if sha256 in seen else None
            result = result or examine(package, path, content, rule)
            if isinstance(result, str):
                reasons[f"{package.prefix}: {result}"] += 1
                continue
            seen.add(sha256)
            row, waveforms[result[0]["id"]] = result
            rows.append(row | {"author": author, "licence": licence, "title": title})
    print("left out:", dict(reasons))
    return thin(rows), waveforms


def check_caps(rows: list[dict]) -> None:
    """Refuse a list in which one kind of sound dominates."""
    counts = Counter(row["class"] for row in rows)
    for name, cap in CLASS_CAPS.items():
        if counts[name] > cap:
            raise ValueError(
                f"expected at most {cap} clips of class {name}, got {counts[name]}: lower keep in the rules"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("cache/packages"), help="folder of the fetched packages")
    parser.add_argument("--output", type=Path, default=HERE.parent / "data/sources.csv")
    args = parser.parse_args()
    rows, waveforms = curate(args.cache)
    check_caps(rows)
    assign_source_groups(rows, waveforms)
    with args.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} clips, {sum(row['seconds'] for row in rows) / 60:.1f} min -> {args.output}")
    for column in ("package", "class", "role", "licence"):
        print(column, dict(Counter(row[column] for row in rows).most_common()))


if __name__ == "__main__":
    main()
