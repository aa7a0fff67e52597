"""Cards show a slot of the gallery beside its nearest training clip and fold the rest away."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from bs4 import BeautifulSoup

from helpers.book.cards import KIND_LABELS, QUANTILE_LABELS, card, folded, number_line
from helpers.book.played_clips import PlayedClips
from helpers.book.summaries.corpus import read_recording_pairs
from helpers.sound.corpus import Corpus
from helpers.sound.profiles import load_profile
from helpers.stages.clips import COLUMNS, QUANTILES

RNG = np.random.default_rng(0)


@pytest.fixture
def gallery(tmp_path) -> PlayedClips:
    row = ("miss 1", "altered", "", "altered_00001", "train_00001", "train_00000", "train_00001", "mel", 0.75, "<i>rain</i>",
           "miss_1.ogg")  # fmt: skip
    pd.DataFrame([row], columns=COLUMNS).to_csv(tmp_path / "gallery.csv", index=False)
    soundfile.write(tmp_path / "miss_1.ogg", RNG.normal(0, 0.1, 16_000), 16_000, format="OGG", subtype="VORBIS")
    return PlayedClips(tmp_path)


@pytest.fixture
def data() -> Corpus:
    clips = pd.DataFrame({"clip_id": ["train_00000", "train_00001"], "split": "train", "caption": ["a dog", "a cat"]})
    return Corpus(clips, RNG.normal(0, 3000, (2, 16_000)).astype(np.int16), None)


def test_a_card_plays_the_clip_its_nearest_and_a_random_one(gallery, data):
    soup = BeautifulSoup(card(gallery, "miss 1", data, load_profile("tiny")).data, "html.parser")
    assert [tag.get_text() for tag in soup.select(".player-label")] == [
        "Altered copy", "Nearest training clip", "Random training clip",
    ]  # fmt: skip
    assert [tag.get_text() for tag in soup.find_all("figcaption")] == ["<i>rain</i>", "a dog", "a cat"]
    (score,) = soup.find_all("details")
    assert score.get_text() == "Show the scoremel similarity 0.750" and not score.has_attr("open")


def test_a_match_with_the_caption_of_the_prompt_is_said_to_have_the_same(gallery, data):
    data.clips["caption"] = "<i>rain</i>"
    soup = BeautifulSoup(card(gallery, "miss 1", data, load_profile("tiny"), with_random=False).data, "html.parser")
    assert [tag.get_text() for tag in soup.find_all("figcaption")] == ["<i>rain</i>", "the same caption"]


def test_a_card_can_be_named_and_go_without_the_random_clip(gallery, data):
    html = card(gallery, "miss 1", data, load_profile("tiny"), "a < b", with_random=False).data
    labels = [tag.get_text() for tag in BeautifulSoup(html, "html.parser").select(".player-label")]
    assert labels == ["a < b", "Nearest training clip"]


def test_what_is_folded_opens_below_an_escaped_title(gallery, data):
    html = folded("n < 5", [card(gallery, "miss 1", data, load_profile("tiny"))] * 2).data
    details = BeautifulSoup(html, "html.parser").details
    assert details.summary.get_text() == "n < 5" and not details.has_attr("open")
    assert len(details.find_all("audio")) == 6
    assert len(details.find_all("style")) == len(details.find_all("script")) == 1


@pytest.mark.parametrize(("null", "called"), [("twins", "a typical twin"), ("heldout", "a typical held-out clip")])
def test_the_line_of_the_rule_begins_at_the_null_that_there_is(null, called):
    """A corpus that cannot be mixed anew has no twins."""
    assert called in BeautifulSoup(number_line(0.69, null).data, "html.parser").select_one(".number-line").get_text(" ")


def test_every_slot_has_a_name():
    assert list(QUANTILE_LABELS) == [f"quantile {q:.2f}" for q in QUANTILES]
    assert {"twins", "heldout", "same_bed", "altered", "empirical", "generated"} == set(KIND_LABELS)


def test_what_someone_wrote_stays_text_in_every_table(gallery):
    """Captions and names that read as numbers, or as missing values."""
    file = gallery.folder / "gallery.csv"
    for caption in ("0012", "1e5", "NA", "null", "", "True"):
        pd.read_csv(file).assign(caption=caption).to_csv(file, index=False)
        assert PlayedClips(gallery.folder)["miss 1"]["caption"] == caption
    pair = dict.fromkeys(("id_a", "id_b", "caption_a", "caption_b", "package_a", "package_b"), "0012")
    pd.DataFrame([pair | {"score": 1.0, "correlation": np.nan, "verified": True}]).to_csv(
        gallery.folder / "recordings.csv", index=False
    )
    (row,) = read_recording_pairs(gallery.folder).to_dict("records")
    assert {row[name] for name in pair} == {"0012"} and np.isnan(row["correlation"]) and row["verified"]
