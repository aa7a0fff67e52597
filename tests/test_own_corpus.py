"""Corpora of one's own from clips to a finished book: all chapters and the HTML, of an audio folder and of AudioCaps' layout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import book_checks
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.base.settings import load_profile
from helpers.book.pages import list_pages

RATE, SAMPLES, N_CLIPS = 16_000, 65_536, 60
PROFILE = """base: tiny
sizes: {sizes}
draws: {draws}
corpus: {{{corpus}, n_train: 24, n_heldout: 16, n_background: 16}}
planted: {{trained: false}}
arms: {{n_checkpoint: 0, n_raw: 0, n_heldout: {n_heldout}, n_guidance: 0, n_seed_prompts: 0}}
retrieval: {{detectors: {detectors}}}
"""
PROFILES = {
    "own_folder": {
        "corpus": "kind: audiofolder, path: data/clips", "sizes": [4, 8], "draws": [1, 1], "n_heldout": 3,
        "detectors": "[mel, mel_aligned, clap]",
    },
    "own_caps": {
        "corpus": "kind: audiocaps, path: data/caps/train.csv, audio_path: data/caps/audio", "sizes": [8], "draws": [1],
        "n_heldout": 0, "detectors": "[mel, clap]",
    },
}  # fmt: skip
UNTRUE = ("of 0 verified pairs", "footsteps", "none of none", "mixed without")  # of clips that were not mixed here


def write_clips(folder: Path, names: list[str]) -> None:
    """A few tones that come and go in each, unlike those of the others."""
    folder.mkdir(parents=True)
    t = np.arange(SAMPLES) / RATE
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        tones = (
            np.sin(2 * np.pi * f * t) * np.exp(-((t - c) ** 2) / 0.2)
            for f, c in rng.uniform((80, 0), (7000, 4), (4, 2))
        )
        soundfile.write(folder / name, 0.1 * sum(tones) + 0.003 * rng.standard_normal(SAMPLES), RATE)


@pytest.fixture(scope="module")
def checkout(repository, tmp_path_factory) -> Path:
    """A checkout with two corpora and their profiles, as a stranger would make it."""
    root = tmp_path_factory.mktemp("own")
    for name in ("src", "profiles"):
        shutil.copytree(repository / name, root / name)
    for name in ("notebooks", "models"):
        (root / name).symlink_to(repository / name)
    (root / "data").mkdir()
    (root / "data" / "sounds.parquet").symlink_to(repository / "data" / "sounds.parquet")
    names = [f"{i:02d}.wav" for i in range(N_CLIPS)]
    write_clips(root / "data" / "clips", names)
    table = pd.DataFrame({"file_name": names, "text": [f"tones & <b>noise</b>, number {i}" for i in range(N_CLIPS)]})
    table.to_csv(root / "data" / "clips" / "metadata.csv", index=False)
    ids = [f"-aB{i:02d}xYz_Q" for i in range(N_CLIPS)]
    write_clips(root / "data" / "caps" / "audio", [f"{90_000 + i}.wav" for i in range(N_CLIPS)])
    caps = pd.DataFrame({"audiocap_id": range(90_000, 90_000 + N_CLIPS), "youtube_id": ids, "start_time": 30})
    caps.assign(caption=[f"A bell rings {i} times" for i in range(N_CLIPS)]).to_csv(
        root / "data" / "caps" / "train.csv", index=False
    )
    for name, fields in PROFILES.items():
        (root / "profiles" / f"{name}.yml").write_text(PROFILE.format(**fields))
    return root


def run(checkout: Path, *command) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "HELPERS_RUNS": str(checkout / "runs")}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=checkout, env=environment)


@pytest.fixture(scope="module", params=PROFILES)
def html(request, checkout, repository) -> Path:
    """Every chapter executed and the book built, by one profile after the other: the folder of its pages."""
    profile, book = load_profile(request.param, checkout / "profiles"), checkout / request.param / "book"
    shutil.copytree(repository / "book", book, ignore=shutil.ignore_patterns("_build", "chapters"))
    for page, (chapter, settings) in list_pages(profile).items():
        values = [f"{name}={value}" for name, value in settings.items()]
        arguments = ["--profile", profile.name, "--output", book / "chapters" / f"{page}.ipynb", "--set", *values]
        done = run(checkout, sys.executable, "-m", "helpers", "chapter", chapter, *arguments)
        assert done.returncode == 0, done.stderr[-2000:]
    build = Path(sys.executable).parent / "jupyter-book", "build", book, "-W", "-n", "--keep-going"
    done = run(checkout, *build)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return book / "_build" / "html"


def test_the_whole_book_is_built_and_true_of_this_corpus(html):
    assert book_checks.check_outputs(html) == [] and book_checks.check_links(html) == []
    for page in sorted(html.glob("chapters/*.html")):
        article = book_checks.soup(page).article
        text = " ".join(article.get_text().split())
        assert not [words for words in UNTRUE if words in text], page.name
        assert not [table for table in article.select("table.data") if not table.tbody.find_all("tr")], page.name
        assert not article.select(".player b"), "a caption's markup is text"
