"""The page of an audit in a real browser: what it says and plays, names that are no markup, grades that are kept."""

import base64
import inspect
import io
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from scipy import signal
from test_audit import RATE, plant_few, sound

from helpers.base.paths import ROOT
from helpers.book import audit_page, listeners, recall
from helpers.book.listening import GRADES
from helpers.book.words import share_text
from helpers.copies.audit import audit, verdict as audit_verdict, within as audit_within
from helpers.copies.audit.landmarks import HOP
from helpers.sound.profiles import load_profile

SAMPLES = 16_384
MARKUP, FORMULA = "<script>document.title='run'<-script>.wav", "=cmd|' \"& 0.wav"
END = "<" + "/script><img src=x onerror=alert(1)>.wav"  # a file in a folder whose name is "<"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Generated: a copy of t1 0.3 s later after other sound, an exact one of t2, an exact one of t3; three strangers."""
    root = tmp_path_factory.mktemp("page")
    later = np.concatenate([0.3 * sound(800)[:4800], sound(1)])
    made = {FORMULA: later, MARKUP: sound(2), END: sound(3)} | {f"new{i}.wav": sound(900 + i) for i in range(3)}
    clips = {
        "generated": made,
        "training": {f"t{i}.wav": sound(i) for i in range(8)},
        "honest": {f"h{i}.wav": sound(100 + i) for i in range(60)},
    }
    for kind, files in clips.items():
        for name, samples in files.items():
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / kind / name, samples, RATE)
    (root / "generated" / "<b>broken.wav").write_bytes(b"not audio")
    return {kind: root / kind for kind in audit.KINDS}


@pytest.fixture(scope="module")
def found(folders):
    profile = load_profile("smoke").replace("corpus", clip_samples=SAMPLES).replace("retrieval", detectors=("mel",))
    with pytest.MonkeyPatch.context() as patch:
        plant_few(patch, 2, "exact", "noise 20 dB")
        return audit.audit(*folders.values(), profile, fpr=0.1)


@pytest.fixture(scope="module")
def markup(found, folders):
    return audit_page.audit_page(found, folders)


def decoded(player) -> np.ndarray:
    return soundfile.read(io.BytesIO(base64.b64decode(player.get_attribute("src").split(",")[1])))[0]


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """How many samples two waves that hold the same sound lie apart: where they correlate best, which must be well."""
    size = min(len(one), len(other))
    both = signal.correlate(one[:size], other[:size])
    assert both.max() > 0.9 * np.sqrt(np.sum(one[:size] ** 2) * np.sum(other[:size] ** 2))
    return abs(int(both.argmax()) - size + 1)


def test_the_verdict_is_told_in_three_lines_with_its_error_rates(markup, found, bare_page):
    page = bare_page(markup)
    together = found.verdicts[0]
    assert page.inner_text("h1") == "3 of 6 generated clips come too near to a training clip"
    flagged, stated, power = page.locator(".verdict li").all_inner_texts()
    assert flagged.startswith("50\u00a0%") and "95 % interval 12 % to 88 %" in " ".join(flagged.split())
    assert stated.startswith("10\u00a0%") and f"Of {together.verified.n} honest clips set aside" in " ".join(
        stated.split()
    )
    assert power.startswith(share_text(found.rates.iloc[0]["planted_rate"]))
    cards = page.locator(".card").all()
    order = found.table[(found.table["detector"] == "combined") & (found.table["kind"] == "generated")]
    assert [card.locator("h3 .name").inner_text() for card in cards] == order["clip"].tolist()
    assert [card.locator(".mark").inner_text() for card in cards] == ["Flagged"] * 3 + ["Not flagged"] * 3
    cards[0].locator("summary").click()
    assert cards[0].locator("tbody th").all_inner_texts() == ["mel", "landmarks"]
    assert page.locator(".bars tbody th").all_inner_texts() == ["exact", "noise 20 dB"]
    assert page.locator(".bar").first.bounding_box()["width"] > 50


def test_names_of_files_are_text(markup, bare_page):
    page = bare_page(markup)
    assert page.title() == "Audit: 3 of 6 flagged" and page.locator("img[src=x]").count() == 0
    names = page.locator(".card h3 .name").all_inner_texts()
    assert {MARKUP, FORMULA, END} <= set(names)
    assert "<b>broken.wav" in page.locator(".files .name").all_text_contents()
    assert page.locator(".listening-pair").evaluate_all("all => all.map(e => e.dataset.query)").count(END) >= 1


def test_both_players_begin_at_the_match_and_hold_the_same_sound_there(markup, bare_page):
    """The copy begins 0.3 s later than its source: what is played must be the same from the mark on."""
    page = bare_page(markup)
    card = next(one for one in page.locator(".card").all() if FORMULA in one.inner_text())
    page.wait_for_function("[...document.querySelectorAll('audio[data-start]')].every(a => a.readyState)")
    waves, begins = [], []
    for player in card.locator("audio").all():
        begins.append(float(player.get_attribute("data-start")))
        assert player.evaluate("a => a.currentTime") == pytest.approx(begins[-1], abs=0.01)
        waves.append(decoded(player))
    assert begins[0] == begins[1] and abs(len(waves[0]) - len(waves[1])) < 100
    assert apart(*(wave[round(begins[0] * RATE) :][: RATE // 4] for wave in waves)) <= HOP
    mark, view = (card.locator(f".player-{part}").first.bounding_box() for part in ("match", "view"))
    assert mark["x"] - view["x"] == pytest.approx(view["width"] * begins[0] * RATE / len(waves[0]), abs=3)
    card.locator("audio").evaluate_all(
        "all => all.forEach(a => a.loop = true)"
    )  # so that it plays on, however slow the test
    card.locator("button.switch").click()
    assert card.locator("audio").first.evaluate("a => !a.paused")
    card.locator("button.switch").click()
    assert card.locator("audio").evaluate_all("all => all.map(a => a.paused)") == [True, False]


def test_grades_outlive_a_reload_and_are_saved_as_labels_that_the_book_reads(markup, bare_page, tmp_path):
    page = bare_page(markup)
    n = page.locator(".listening-pair").count()
    assert n > 6 and page.locator("[data-catch=true]").count() >= 4
    page.fill("[name=listener]", "=me")
    page.click(".listening-answers button[value=similar]")
    page.reload()
    assert page.inner_text(".listening-count") == f"Pair 2 of {n}" and page.input_value("[name=listener]") == "=me"
    while (pair := page.locator(".listening-pair:visible")).count():
        made = re.match(r"catch (\w+)", pair.get_attribute("data-name"))
        page.click(f".listening-answers button[value={made[1] if made else 'near-exact'}]")
    with page.expect_download() as download:
        page.click(".listening-save")
    download.value.save_as(tmp_path / "labels.csv")
    labels = listeners.read_labels(tmp_path / "labels.csv")
    assert len(labels) == n and set(labels["grade"]) <= set(GRADES) and set(labels["listener"]) == {"me"}
    assert not re.search('(^|,)"?[=+@]', (tmp_path / "labels.csv").read_text(), re.MULTILINE)
    assert {f"'{FORMULA}", MARKUP, END} <= set(labels["query"]), "as in audit.csv"
    assert listeners.who_listened(labels)["catches"].item() == page.locator("[data-catch=true]").count()
    with pytest.raises(ValueError, match="expected pairs of this study's sizes .*, got one of an audit"):
        listeners.check(tmp_path / "labels.csv", load_profile("pocket"))


def test_catch_trials_are_one_clip_twice_and_two_that_no_detector_names_together(markup, found, bare_page):
    page = bare_page(markup)
    facts = page.locator("[data-catch=true]").evaluate_all(
        "all => all.map(e => [e.dataset.name, e.dataset.query, e.dataset.reference, ...[...e.querySelectorAll('audio')].map(a => a.src)])"
    )
    near = set(zip(found.matches["clip"], found.matches["nearest"]))
    for name, query, reference, one, other in facts:
        assert one.startswith("data:audio/mpeg") and (one == other) == name.startswith("catch identical")
        assert query == reference if one == other else (query, reference) not in near


def test_grades_are_kept_apart_for_other_sounds_of_the_same_names(found, folders, markup, tmp_path):
    def study(page: str) -> str:
        return re.search(r'"study": "(audit \w+)"', page)[1]

    assert study(audit_page.audit_page(found, folders)) == study(markup)
    shutil.copytree(folders["training"], tmp_path / "training")
    soundfile.write(tmp_path / "training" / "t1.wav", sound(77), RATE)
    other = audit_page.audit_page(found, folders | {"training": tmp_path / "training"})
    assert study(other) != study(markup)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways(markup, bare_page, width):
    page = bare_page(markup, viewport={"width": width, "height": 844})
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_no_fault(markup, bare_page, faults_of_axe, colours):
    page = bare_page(markup, color_scheme=colours)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    paper = [int(part) for part in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (max(paper) < 60) == (colours == "dark")
    assert faults_of_axe(page) == []


def test_the_players_are_there_without_javascript(markup, bare_page):
    page = bare_page(markup, java_script_enabled=False)
    assert page.locator(".card audio[src]").count() == 12 and page.locator(".listening").is_hidden()
    assert "needs JavaScript" in page.inner_text(".lab")


def test_where_no_rate_is_stated_the_page_says_why_and_what_helps(found, folders, bare_page, faults_of_axe):
    table = found.table.assign(p=np.nan, q=np.nan, tau=np.nan, flagged=pd.array([pd.NA] * len(found.table), "boolean"))
    apart = audit_verdict.Difference("lead_s", "s", 1.5, 0.01, 1.0, 8, 8)
    refused = found._replace(table=table, differing=[apart], power=found.power.assign(combined=np.nan))
    page = bare_page(audit_page.audit_page(refused, folders))
    assert page.inner_text("h1") == "No rate can be stated"
    why, _, remedy = page.locator(".verdict li").all_inner_texts()
    assert "silence before (median 1.5 s of generated, 0.01 s of honest)" in " ".join(why.split())
    assert "--match-honest" in remedy and page.locator(".mark").count() == 0
    assert page.locator(".differs th").inner_text() == "Silence before, s" and page.locator(".bar").count() == 0
    assert page.locator(".card audio").count() == 12 and "nan" not in page.inner_text("main")
    assert faults_of_axe(page) == []


def test_what_is_not_played_is_named(found, folders, bare_page, monkeypatch):
    """A file that is gone by then, and more flagged clips than the page plays."""
    monkeypatch.setattr(audit_page, "SHOWN", 1)
    page = bare_page(audit_page.audit_page(found, folders))
    assert page.locator(".card").count() == 1 and "2 more are flagged, without players here" in page.inner_text("main")
    monkeypatch.setattr(audit_page, "read_sound", lambda *_: (_ for _ in ()).throw(ValueError("cannot be opened")))
    page = bare_page(audit_page.audit_page(found, folders))
    assert "Cannot be played: cannot be opened" in page.inner_text(".card") and page.locator(".lab").count() == 0


def test_a_long_or_very_short_or_silent_part_is_played_all_the_same(folders, tmp_path):
    """Of two minutes EXCERPT_S is in the page; of 30 ms there is a player; where the match has no sound, the loudest part."""
    rng = np.random.default_rng(0)
    long = np.concatenate([np.zeros(100 * RATE), 0.3 * rng.standard_normal(20 * RATE)])
    for name, samples in (("long.wav", long), ("short.wav", sound(1)[4000:4480])):
        soundfile.write(tmp_path / name, samples, RATE)
    matches = [
        audit_page.Match("long.wav", "short.wav", 3.0, 0.0, 4.096),
        audit_page.Match("short.wav", "long.wav", np.nan, np.nan, np.nan),
    ]
    for card in audit_page._cards(matches, tmp_path, tmp_path, ("a", "b"), "mean"):
        assert not card["silent"]
        for player in re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', card["players"]):
            wave = soundfile.read(io.BytesIO(base64.b64decode(player)))[0]
            assert np.abs(wave).max() > 0.01 and len(wave) <= (audit_page.EXCERPT_S + 0.2) * RATE


def test_the_table_of_what_is_found_is_read_from_its_csv(tmp_path):
    assert recall.recall(tmp_path / "none.csv") == recall.NOT_YET
    rows = [
        ("mixtures", kind, fpr, detector, 100, percent, percent / 2, 99.0, percent - 60, -8.0, 12.0, refused)
        for kind, refused in (("unrelated, cut", True), ("exact", None)) for fpr in (0.05, 0.01)
        for detector, percent in (("combined", 97.0), ("mel", 5.0), ("Chromaprint", 60.0))
    ]  # fmt: skip
    columns = [
        "set",
        "kind",
        "fpr",
        "detector",
        "n",
        "percent",
        "low",
        "high",
        "over_chromaprint",
        "over_low",
        "over_high",
        "refused",
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "audit.csv", index=False)
    said = " ".join(recall.recall(tmp_path / "audit.csv").replace("\u00a0", " ").split())
    assert (
        "**Mixtures of 10 s, 100 clips a kind**, at a rate of 5 %: hardest to find is *exact*, with 97 % (48 to 99) found; easiest *exact*, with 97 % (48 to 99). "
        "Of 1 kinds of copy, the audit finds more than Chromaprint does for 0, fewer for 0, and the difference is unclear for 1."
        in said
    )
    assert (
        ":::{dropdown} Mixtures of 10 s, 100 clips a kind, at a rate of 5 % | Kind | audit | Chromaprint | difference |"
        in said
    )
    each = "97 % (48 to 99) | 60 % (30 to 99) | +37 (-8 to +12)"
    assert f"| exact | {each} | | unrelated, cut | no rate stated (97 % (48 to 99) would be flagged) | 60 %" in said, (
        "copies first"
    )
    assert ":::{dropdown} Mixtures of 10 s, 100 clips a kind, at a rate of 1 %" in said and "5 % (2.5" not in said
    assert "one detector alone" not in said
    table = pd.DataFrame(rows, columns=columns)
    table.loc[(table["detector"] == "mel") & (table["kind"] == "exact"), "percent"] = 99.0
    table.to_csv(tmp_path / "audit.csv", index=False)
    assert (
        "unclear for 1. For 1 of these kinds one detector alone, the best one picked afterwards, finds more than all together by more than "
        "a point. The largest gap is 2 points (*exact*, mel)." in recall.recall(tmp_path / "audit.csv")
    )
    leading = pd.DataFrame(rows, columns=columns).assign(over_low=1.0)
    leading.to_csv(tmp_path / "audit.csv", index=False)
    assert "Of all 1 kinds of copy the audit finds more than Chromaprint does." in recall.recall(tmp_path / "audit.csv")
    pd.DataFrame(rows, columns=columns)[lambda table: table["detector"] != "Chromaprint"].to_csv(tmp_path / "audit.csv")
    assert "Chromaprint |" not in recall.recall(tmp_path / "audit.csv"), "where fpcalc is not installed"


RECIPES = re.findall(r"```python\n(.*?)```", (ROOT / "book" / "audit.md").read_text(), re.DOTALL)


def small_stable_audio():
    """Its codec, small and random, and a pipeline that takes what the real one takes, and gives what that gives."""
    from diffusers import AutoencoderOobleck, StableAudioPipeline

    def call(*args, **kwargs):
        given = inspect.signature(StableAudioPipeline.__call__).bind(None, *args, **kwargs).arguments
        return SimpleNamespace(audios=torch.zeros(1, 2, round(given["audio_end_in_s"] * 44_100)))

    sizes = {
        "encoder_hidden_size": 8,
        "decoder_channels": 4,
        "decoder_input_channels": 4,
        "channel_multiples": [1, 1, 1],
    }
    call.vae = AutoencoderOobleck(downsampling_ratios=[4, 8, 8], **sizes)
    return call


def small_musicgen():
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    text = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    decoder = MusicgenDecoderConfig(vocab_size=32, num_hidden_layers=1, ffn_dim=16, num_attention_heads=2, hidden_size=16, num_codebooks=2,
                                    pad_token_id=32, bos_token_id=32)  # fmt: skip
    sizes = {"codebook_size": 32, "num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "num_lstm_layers": 1}
    codec = EncodecConfig(sampling_rate=32_000, upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[0.5], **sizes)
    model = MusicgenForConditionalGeneration(MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder))
    model.generation_config.decoder_start_token_id = model.generation_config.pad_token_id = 32
    return model.eval()


@pytest.mark.parametrize(("recipe", "rate"), list(zip(RECIPES, (44_100, 32_000))), ids=["diffusers", "musicgen"])
def test_a_recipe_fills_the_folders_of_an_audit(recipe, rate, tmp_path, monkeypatch):
    """As printed, with small random models of the real classes in the place of the weights."""
    import diffusers
    import transformers

    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.txt").write_text("a dog barks\nrain\n")
    (tmp_path / "not_learned").mkdir()
    soundfile.write("not_learned/one.flac", sound(1), RATE)
    words = {"input_ids": torch.ones(1, 3, dtype=torch.long), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    for owner, made in (
        (diffusers.StableAudioPipeline, small_stable_audio),
        (transformers.MusicgenForConditionalGeneration, small_musicgen),
        (transformers.AutoProcessor, lambda: lambda text, return_tensors: words),
    ):
        monkeypatch.setattr(owner, "from_pretrained", lambda name, made=made: made())
    torch.manual_seed(0)
    exec(recipe.replace("max_new_tokens=500", "max_new_tokens=5"), {})
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["00000.wav", "00001.wav"]
    coded, coded_rate = soundfile.read(tmp_path / "others" / "one.wav")
    assert coded_rate == rate and abs(len(coded) / rate - SAMPLES / RATE) < 0.05 and np.abs(coded).max() > 0


def test_a_file_that_is_gone_meanwhile_is_named(tmp_path):
    (card,) = audit_page._cards([audit_page.Match("a.wav", "b.wav", 0, 0, 1)], tmp_path, tmp_path, ("a", "b"), "mean")
    assert card["silent"] == "'a.wav' is no longer there" and not card["players"]


def test_a_page_says_how_many_duplicates_it_does_not_list(tmp_path, monkeypatch):
    columns = {
        "cluster": [1, 1, 1, 2, 2],
        "file": list("abcde"),
        "drop": [False, True, True, False, True],
        "seconds": 1.0,
    }
    table = pd.DataFrame(columns | {"like": list("baaed"), "score": 9.0} | dict.fromkeys(audit_within.PLACES, 0.0))
    found = audit_within.Duplicates(table, {})
    monkeypatch.setattr(audit_page, "LISTED", 3)
    assert "2 more files of such clusters are not listed here" in audit_page.within_page(found, tmp_path)
    monkeypatch.setattr(audit_page, "LISTED", 5)
    assert "not listed here" not in audit_page.within_page(found, tmp_path)


def test_duplicates_have_their_page(tmp_path, bare_page, faults_of_axe):
    (home := tmp_path / "set").mkdir()
    for i in range(10):
        soundfile.write(home / f"{i}.wav", np.concatenate([sound(i), sound(50 + i)]), RATE)
    soundfile.write(home / MARKUP, np.concatenate([sound(70), sound(3), sound(53), sound(71)]), RATE)
    page = bare_page(audit_page.within_page(audit_within.duplicates(home, load_profile("smoke")), home))
    assert page.inner_text("h1") == "1 file to drop, in 1 cluster" and page.locator(".card audio").count() == 2
    assert page.inner_text(".card h3 .name") == "3.wav" and MARKUP in page.inner_text(".card")
    assert apart(*(decoded(player)[:RATE] for player in page.locator(".card audio").all())) <= HOP
    assert faults_of_axe(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= 390
