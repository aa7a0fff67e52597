"""`helpers prompt`: one prompt asked of a trained model, and the page that it writes."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from pooled import load_pooled

from helpers.book.prompt_page import prompt_page
from helpers.commands.errors import UserError
from helpers.commands.prompt import ask_prompt
from helpers.copies import prompted
from helpers.sound.corpus import load_corpus, subset
from helpers.sound.profiles import load_profile
from helpers.study import registry

HOSTILE = 'rain\'; <script>alert(1)</script> "and" wind'


@pytest.fixture(scope="module")
def profile():
    return load_pooled()


@pytest.fixture(scope="module")
def asked(profile):
    corpus, scores = (registry.finished(name, profile).path for name in ("corpus", "scores"))
    honest = prompted.honest_clips(scores / "null.parquet", profile.thresholds.theta, 4)
    weights = registry.denoiser_folder(profile, 4, 0)
    return prompted.ask(HOSTILE, 3, weights, load_corpus(corpus), honest.median, profile, 4, 0)


def test_each_seed_is_another_clip_and_is_compared_with_the_training_clips_alone(profile, asked):
    data = load_corpus(registry.finished("corpus", profile).path)
    train = data.clips.iloc[data.rows("train")].reset_index(drop=True)
    own = set(train["clip_id"].iloc[subset(profile.training_run(4, 0), len(train))])
    assert list(asked.table) == [*prompted.COLUMNS] and asked.table["seed"].tolist() == [0, 1, 2]
    assert set(asked.table["nearest_id"].dropna()) <= own
    assert set(asked.suggested) <= set(train.loc[train["clip_id"].isin(own), "caption"])
    assert asked.audio.shape == (3, profile.corpus.clip_samples) and len(np.unique(asked.audio, axis=0)) == 3
    for row, nearest in zip(asked.table.itertuples(), asked.nearest):
        assert row.silent or np.array_equal(nearest, data.clip(row.nearest_id)[0])


def test_a_training_clip_stands_at_position_one(profile, monkeypatch):
    """Where the model brings back a training clip as the codec gives it, that clip is found, and its position is 1."""
    folder = registry.finished("corpus", profile).path
    data = load_corpus(folder)
    row = data.rows("train")[subset(profile.training_run(4, 0), profile.corpus.n_train)][2]
    codec = prompted.load_codec(profile.codec.codec_path)
    latents = codec.encode(np.asarray(data.mels[[row]]))
    monkeypatch.setattr(prompted.sampler, "sample_latents", lambda *_: np.repeat(latents, 2, axis=0))
    found = prompted.ask("x", 2, registry.denoiser_folder(profile, 4, 0), data, 0.5, profile, 4, 0).table
    assert set(found["nearest_id"]) == {data.clips["clip_id"][row]}
    np.testing.assert_allclose(found["position"].astype(float), 1, atol=1e-3)
    assert found["near_exact"].all()


def test_silence_is_told_and_not_compared(profile, asked, monkeypatch):
    monkeypatch.setattr(prompted, "GENERATED_PEAK", 2**15)
    corpus, weights = registry.finished("corpus", profile).path, registry.denoiser_folder(profile, 4, 0)
    found = prompted.ask("x", 2, weights, load_corpus(corpus), 0.5, profile, 4, 0)
    assert found.table["silent"].all() and found.table[["nearest_id", "score", "position"]].isna().all(axis=None)
    page = prompt_page(found, profile, 4, "3 %")
    assert page.count("This clip came out silent") == 2 and "<audio" not in page and "0 of 2" in page


def test_the_page_escapes_the_prompt_and_asks_for_nothing(profile, asked):
    page = prompt_page(asked, profile, 4, "3.5 %")
    soup = BeautifulSoup(page, "html.parser")
    assert HOSTILE in soup.h1.text and "<script>alert" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    sounding = int((~asked.table["silent"]).sum())
    assert len(soup.find_all("article")) == 3 and len(soup.find_all("audio")) == 2 * sounding
    assert "3.5 % are near-exact of the clip whose caption they share" in " ".join(soup.text.split())
    assert [code.text.startswith("helpers prompt '") for code in soup.select("#next ~ ul code")] == [True] * 3


def test_what_to_try_next_asks_the_same_model(profile, asked):
    page = BeautifulSoup(
        prompt_page(asked, profile, 4, "3 %", ["--profile", "pooled", "--n-train", "8"]), "html.parser"
    )
    assert all(code.text.endswith(" --profile pooled --n-train 8") for code in page.select("#next ~ ul code"))


def test_a_clip_that_is_too_faint_to_play_is_told_and_the_others_are_shown(profile, asked):
    click = np.zeros_like(asked.audio)
    click[:, 100] = 40  # above the peak that silence has
    table = asked.table.assign(silent=False, position=0.2, near_exact=False, score=0.5, nearest_caption="x")
    audio = np.concatenate([click[:1], asked.nearest[:1], asked.nearest[:1]])
    faint = dataclasses.replace(asked, audio=audio, table=table)
    page = prompt_page(faint, profile, 4, "3 %")
    assert page.count("This clip is too faint to play. Position 0.20") == 1 and page.count("<audio") == 4


def arguments(**changes):
    given = {"text": "a dog barks", "seeds": 2, "n_train": None, "profile": "pocket", "output": Path("prompt.html")}
    return SimpleNamespace(**given | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": " "}, "text: expected a prompt, as 'a dog barks', got nothing"),
        (
            {"text": "rain " * 47},
            "text: expected at most 48 tokens, as the model was trained on (a word has one or two), got 49",
        ),
        ({"seeds": 0}, "--seeds: expected 1 to 32, got 0"),
        ({"n_train": 0}, "--n-train: expected one of 100, 200, 500, 1000, 2000, 4500, got 0"),
        ({"profile": "smoke"}, "expected a study of mixtures whose runs are searched in one gallery"),
        ({"profile": "nothing"}, "profile: expected one of"),
        (
            {"profile": "pocket_capped"},
            "to train it: HELPERS_COMPUTE=all helpers run training --profile pocket_capped --label n500_d0",
        ),
        ({"output": Path("/dev/null")}, "--output: expected a name for the page, as prompt.html"),
        ({"output": Path(__file__)}, "--output: expected a name for the page, as prompt.html"),
        ({"text": "a\udcff"}, "text: expected UTF-8"),
        ({"output": Path("nowhere/page.html")}, "--output: expected a file in a folder that is there"),
        ({"output": Path()}, "--output: expected a file in a folder that is there, got ."),
    ],
)
def test_a_mistake_is_told_in_one_line_before_any_work(changes, message):
    with pytest.raises(UserError) as error:
        ask_prompt(arguments(**changes))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_weights_is_told_with_the_command_that_trains_it():
    with pytest.raises(UserError) as error:
        ask_prompt(arguments(n_train=500))
    assert str(error.value) == (
        "--n-train: expected a model whose weights are here, got 500; to train it: HELPERS_COMPUTE=all helpers run training "
        "--profile pocket --label n500_d0"
    )
    stage = registry.build("training", load_profile("pocket"), 500, 0)[0]
    assert not stage.folder().exists(), "nothing was restored that would be taken for a trained model"


def test_the_command_asks_the_published_model(tmp_path, capsys):
    page = tmp_path / "prompt.html"
    ask_prompt(arguments(text="rain on a tin roof", output=page))
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("seed 0: Position") and "Nearest: " in told[0] and told[-1] == str(page)
    assert "A model that was trained on 100 clips" in page.read_text()
