"""Corpora of one's own from clips to a finished book: of an audio folder and of AudioCaps' layout, as the book says it; and
the profiles `paper` and `tango` with fabricated checkpoints in place of the published ones; and a study with one gallery."""

import json
import re
from pathlib import Path

import book_checks
import checkouts
import pandas as pd
import pytest
from pooled import POOLED

N_CLIPS = 60
CAPS = """base: tiny
sizes: [8]
draws: [1]
corpus: {kind: audiocaps, path: data/caps/train.csv, audio_path: data/caps/audio, n_train: 24, n_heldout: 16, n_background: 16}
planted: {trained: false}
arms: {n_checkpoint: 0, n_raw: 0, n_heldout: 0, n_guidance: 0, n_seed_prompts: 0}
retrieval: {detectors: [mel, clap]}
"""
# `paper` or `tango` with other widths and fewer clips and steps; all choices of parts are their own.
REDUCED = """base: {base}
sizes: {sizes}
draws: {draws}
corpus: {{path: data/official, audio_path: data/official/audio, n_heldout: 18, n_background: 6, clip_samples: 40960}}
planted: {{n_train: 16, groups_per_cell: 1, copies: [2, 4]}}
codec: {{codec_path: "{codec}", vocoder_path: "{codec}", codec_sha256: "", vocoder_sha256: "", n_roundtrip: 4}}
text: {{encoder_path: "{folder}/flan-t5", encoder_weights_path: "{weights}", encoder_sha256: "", max_tokens: 16}}
training: {{n_train: 4, {unet}, batch_size: 2, micro_batch: 2, updates: 4, checkpoints: [2, 4], checkpoint_path: "{weights}", checkpoint_sha256: ""}}
generation: {{n_train: 4, n_prompts: 8, steps: 2}}
arms: {{n_checkpoint: {earlier}, equal_epochs: {earlier}, n_heldout: 2, n_guidance: 0, n_seed_prompts: 1, n_seeds: 2}}
twins: {{n_train: 4}}
controls: {{n_altered: 4, n_empirical: 1}}
retrieval: {{clap_path: "{folder}/clap/630k-audioset-best.pt", detectors: [mel, clap], top_k: 3, k_max: 4, n_detection: 10, n_strengths: 1}}
thresholds: {{fpr: 0.2, further_fprs: [0.1], k: 2, ks: [1, 2], n_bootstrap: 100}}
"""
UNTRUE = ("of 0 verified pairs", "footsteps", "none of none", "mixed without")  # of clips that were not mixed here


def own_folder(checkout: Path, repository: Path, *_) -> None:
    """A folder of clips with their table, and the profile that the book prints for it; `smoke`, its base, is small here."""
    names = [f"{i:02d}.wav" for i in range(N_CLIPS)]
    checkouts.write_clips(checkout / "clips", names)
    table = pd.DataFrame({"file_name": names, "text": [f"tones & <b>noise</b>, number {i}" for i in range(N_CLIPS)]})
    table.to_csv(checkout / "clips" / "metadata.csv", index=False)
    (printed,) = re.findall(
        r"^```yaml\n(.*?)^```", (repository / "book/running.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (checkout / "profiles" / "own.yml").write_text(printed)


def own_caps(checkout: Path, *_) -> None:
    ids = [f"-aB{i:02d}xYz_Q" for i in range(N_CLIPS)]
    checkouts.write_clips(checkout / "data" / "caps" / "audio", [f"{90_000 + i}.wav" for i in range(N_CLIPS)])
    caps = pd.DataFrame({"audiocap_id": range(90_000, 90_000 + N_CLIPS), "youtube_id": ids, "start_time": 30})
    caps["caption"] = [f"{i:03d}" for i in range(N_CLIPS)]  # text, whatever it looks like
    caps.to_csv(checkout / "data" / "caps" / "train.csv", index=False)
    (checkout / "profiles" / "caps.yml").write_text(CAPS)


def official(checkout: Path) -> None:
    """AudioCaps as it comes: a caption a clip in train.csv, five in val.csv and test.csv, audio by video and second."""
    folder, names = checkout / "data" / "official", []
    if folder.exists():
        return
    for split, clips, captions in (("train", 8, 1), ("val", 10, 5), ("test", 14, 5)):
        videos = [f"{split}{i:07d}" for i in range(clips)]
        rows = [
            (
                f"{split}{i}{j}",
                video,
                30,
                f"a {('dog', 'cat', 'bird')[i % 3]} {('barks', 'sings', 'falls')[(i + j) % 3]}",
            )
            for i, video in enumerate(videos)
            for j in range(captions)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        columns = ["audiocap_id", "youtube_id", "start_time", "caption"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / f"{split}.csv", index=False)
        names += [f"{video}_30.wav" for video in videos]
    checkouts.write_clips(folder / "audio", names)


def paper(checkout: Path, repository: Path, fabricated: Path, sizes: dict) -> None:
    official(checkout)
    values = {
        "base": "paper",
        "sizes": "[4, all]",
        "draws": "[1, 1]",
        "codec": fabricated / "audioldm",
        "weights": "",
        "earlier": 1,
    }
    write_reduced(checkout / "profiles" / "standin.yml", fabricated, sizes, values)


def tango(checkout: Path, repository: Path, fabricated: Path, sizes: dict) -> None:
    official(checkout)
    folder = fabricated / "tango"
    values = {"base": "tango", "sizes": "[all]", "draws": "[1]", "codec": folder, "weights": folder, "earlier": 0}
    write_reduced(checkout / "profiles" / "published.yml", fabricated, sizes, values)


def write_reduced(path: Path, fabricated: Path, sizes: dict, values: dict) -> None:
    path.write_text(REDUCED.format(folder=fabricated, unet=json.dumps(sizes["unet"])[1:-1], **values))


def pooled(checkout: Path, *_) -> None:
    (checkout / "profiles" / "pooled.yml").write_text(POOLED)


CORPORA = {"own": own_folder, "caps": own_caps, "standin": paper, "published": tango, "pooled": pooled}


@pytest.fixture(scope="module", params=[*CORPORA])
def html(request, small_checkout, make_book, repository, fabricated, sizes) -> Path:
    """The folder of the finished book's pages."""
    CORPORA[request.param](small_checkout, repository, fabricated, sizes)
    smoke = small_checkout / "profiles" / "smoke.yml"
    kept = smoke.read_text()
    smoke.write_text(f"{kept}planted: {{trained: false}}  # as in the real one\n")
    yield make_book(request.param)
    smoke.write_text(kept)


def test_the_whole_book_is_built_and_true_of_this_corpus(html, request):
    untrue = () if request.node.callspec.params["html"] == "pooled" else UNTRUE  # that one is mixed
    assert book_checks.check_outputs(html) == [] and book_checks.check_links(html) == []
    for page in sorted(html.glob("chapters/*.html")):
        article = book_checks.soup(page).article
        text = " ".join(article.get_text().split())
        assert not [words for words in untrue if words in text], page.name
        assert not [table for table in article.select("table.data") if not table.tbody.find_all("tr")], page.name
        assert not article.select(".player b"), "a caption's markup is text"
