"""Corpora of one's own from clips to a finished book, as the book says it: of an audio folder and of AudioCaps' layout."""

import re
from pathlib import Path

import book_checks
import checkouts
import pandas as pd
import pytest

N_CLIPS = 60
CAPS = """base: tiny
sizes: [8]
draws: [1]
corpus: {kind: audiocaps, path: data/caps/train.csv, audio_path: data/caps/audio, n_train: 24, n_heldout: 16, n_background: 16}
planted: {trained: false}
arms: {n_checkpoint: 0, n_raw: 0, n_heldout: 0, n_guidance: 0, n_seed_prompts: 0}
retrieval: {detectors: [mel, clap]}
"""
UNTRUE = ("of 0 verified pairs", "footsteps", "none of none", "mixed without")  # of clips that were not mixed here


def own_folder(checkout: Path, repository: Path) -> None:
    """A folder of clips with their table, and the profile that the book prints for it; `smoke`, its base, is small here."""
    names = [f"{i:02d}.wav" for i in range(N_CLIPS)]
    checkouts.write_clips(checkout / "clips", names)
    table = pd.DataFrame({"file_name": names, "text": [f"tones & <b>noise</b>, number {i}" for i in range(N_CLIPS)]})
    table.to_csv(checkout / "clips" / "metadata.csv", index=False)
    (printed,) = re.findall(
        r"^```yaml\n(.*?)^```", (repository / "book/running.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (checkout / "profiles" / "own.yml").write_text(printed)


def own_caps(checkout: Path, repository: Path) -> None:
    ids = [f"-aB{i:02d}xYz_Q" for i in range(N_CLIPS)]
    checkouts.write_clips(checkout / "data" / "caps" / "audio", [f"{90_000 + i}.wav" for i in range(N_CLIPS)])
    caps = pd.DataFrame({"audiocap_id": range(90_000, 90_000 + N_CLIPS), "youtube_id": ids, "start_time": 30})
    caps["caption"] = [f"A bell rings {i} times" for i in range(N_CLIPS)]
    caps.to_csv(checkout / "data" / "caps" / "train.csv", index=False)
    (checkout / "profiles" / "caps.yml").write_text(CAPS)


@pytest.fixture(scope="module", params=["own", "caps"])
def html(request, small_checkout, make_book, repository) -> Path:
    """The folder of the finished book's pages."""
    {"own": own_folder, "caps": own_caps}[request.param](small_checkout, repository)
    smoke = small_checkout / "profiles" / "smoke.yml"
    kept = smoke.read_text()
    smoke.write_text(f"{kept}planted: {{trained: false}}  # as in the real one\n")
    yield make_book(request.param)
    smoke.write_text(kept)


def test_the_whole_book_is_built_and_true_of_this_corpus(html):
    assert book_checks.check_outputs(html) == [] and book_checks.check_links(html) == []
    for page in sorted(html.glob("chapters/*.html")):
        article = book_checks.soup(page).article
        text = " ".join(article.get_text().split())
        assert not [words for words in UNTRUE if words in text], page.name
        assert not [table for table in article.select("table.data") if not table.tbody.find_all("tr")], page.name
        assert not article.select(".player b"), "a caption's markup is text"
