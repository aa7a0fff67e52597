"""Players: equal loudness, sound that decodes, nothing from data unescaped, silence refused."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import soundfile
from bs4 import BeautifulSoup
from PIL import Image

from helpers.base.settings import MelConfig
from helpers.book.players import PEAK, Item, describe_spectrum, match_loudness, player_row
from helpers.book.tables import captioned, table_html

RATE = 16_000
TIME = np.arange(65_536) / RATE
TONE = np.float32(0.3 * np.sin(2 * np.pi * 440 * TIME))
NOISE = np.int16(np.random.default_rng(0).normal(size=TIME.size) * 300)
CLICK = np.float32(0.5 * (np.abs(TIME - 2) < 0.01) * np.sin(2 * np.pi * 1000 * TIME))


def parsed(row) -> BeautifulSoup:
    return BeautifulSoup(row.data, "html.parser")


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1], validate=True)


def test_clips_are_brought_to_one_loudness_without_clipping():
    meter = pyloudnorm.Meter(RATE)
    matched = match_loudness([TONE, NOISE, CLICK], RATE)
    loudness = [meter.integrated_loudness(wave.astype(np.float64)) for wave in matched]
    assert np.ptp(loudness) < 0.01
    assert loudness[0] <= -23.0 + 0.01
    assert max(np.abs(wave).max() for wave in matched) <= PEAK + 1e-6


def test_peaky_clip_lowers_its_row_and_two_steady_clips_reach_the_target():
    meter = pyloudnorm.Meter(RATE)
    assert meter.integrated_loudness(match_loudness([TONE, NOISE], RATE)[1].astype(float)) == pytest.approx(
        -23, abs=0.01
    )
    spike = np.float32(0.5 * (np.abs(TIME - 2) < 0.0005))
    tone, spiked = match_loudness([TONE, spike], RATE)
    assert np.abs(spiked).max() == pytest.approx(PEAK, abs=1e-4)
    assert -36.01 < meter.integrated_loudness(tone.astype(float)) < -23.01


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros(65_536, np.int16), "silence"),
        (np.full(65_536, np.nan, np.float32), "finite"),
        (np.zeros((2, 65_536), np.int16), r"mono.*\(2, 65536\)"),
        (TONE[:1000], "at least 0.4 s, got 0.062"),
    ],
)
def test_unplayable_clips_are_refused(clip, message):
    with pytest.raises(ValueError, match=message):
        player_row([Item("a", TONE), Item("b", clip)], RATE)


def test_empty_row_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        player_row([], RATE)


def test_sound_and_picture_decode_and_are_small():
    page = parsed(player_row([Item("tone", TONE), Item("noise", NOISE)], RATE))
    for audio in page.find_all("audio"):
        body = content(audio["src"])
        wave, rate = soundfile.read(io.BytesIO(body))
        assert rate == RATE and len(wave) / rate == pytest.approx(4.096, abs=0.15)
        assert len(body) < 20_000
    tone = soundfile.read(io.BytesIO(content(page.audio["src"])))[0]
    spectrum = np.abs(np.fft.rfft(tone))
    assert np.argmax(spectrum) * RATE / len(tone) == pytest.approx(440, abs=2)
    for image in page.find_all("img"):
        assert Image.open(io.BytesIO(content(image["src"]))).size == (256, 64)


def test_low_tones_lie_at_the_bottom_and_rows_share_one_colour_scale():
    quiet = np.concatenate([TONE[:32_768], 0.01 * TONE[32_768:]])
    page = parsed(player_row([Item("low", TONE), Item("fading", quiet)], RATE))
    low, fading = (
        np.asarray(Image.open(io.BytesIO(content(i["src"]))).convert("L"), float) for i in page.find_all("img")
    )
    assert low.mean(axis=1).argmax() > 32
    assert fading[:, 20:100].max() > fading[:, 150:240].max() + 30


def test_text_from_data_is_escaped_everywhere():
    evil = '"><script>alert(1)</script><b>'
    row = player_row([Item(evil, TONE, evil, 0.5)], RATE, score_name=evil)
    assert "<script>" not in row.data
    page = parsed(row)
    assert page.find("script") is None and page.find("b") is None
    assert page.figcaption.get_text() == evil
    assert page.audio["aria-label"] == f"{evil}: {evil}"
    assert evil in page.img["alt"]


def test_score_is_hidden_until_opened():
    page = parsed(player_row([Item("a", TONE, "c", 0.94149), Item("b", NOISE)], RATE))
    details = page.find_all("details")
    assert len(details) == 1 and not details[0].has_attr("open")
    assert "0.941" in details[0].get_text()
    details[0].extract()
    assert "0.941" not in page.get_text()


def test_players_can_be_used_without_sight_or_mouse():
    page = parsed(player_row([Item("Generated clip", TONE, "rain"), Item("Other", CLICK)], RATE))
    labels = [p.get_text() for p in page.select(".player-label")]
    assert labels == ["Generated clip", "Other"]
    assert all(audio.has_attr("controls") and audio["aria-label"] for audio in page.find_all("audio"))
    assert page.find("div", class_="players")["lang"] == "en"
    assert all(figure.find("audio") and figure.find("img")["alt"] for figure in page.find_all("figure"))


def test_description_says_where_the_energy_lies():
    config = MelConfig()
    spectrum = np.full((256, 64), -11.5, np.float32)
    spectrum[100, 20] = 0.0
    words = describe_spectrum(spectrum, config, RATE)
    low, high = map(int, re.search(r"from (\d+) to (\d+) Hz", words).groups())
    assert low == high and 800 < low < 1100  # the 21st of 64 Slaney bands up to 8 kHz
    assert "loudest at 1.6 s" in words


def test_the_caption_of_a_wide_table_can_be_read_on_a_phone(bare_page):
    wide = pd.DataFrame({f"column {number}": ["0.852 (0.756 to 0.934)"] for number in range(12)})
    caption = "What the columns of this wide table mean, in more words than a line holds."
    page = bare_page(table_html(captioned(wide, caption)))
    box = page.locator("table").bounding_box(), page.locator("caption").bounding_box()
    assert box[0]["width"] > 390 and box[1]["x"] + box[1]["width"] <= 390
