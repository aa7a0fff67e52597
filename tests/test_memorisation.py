"""The memorisation map in a real browser, and two clips in one frame: values are those of the published tables."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.book import memorisation
from helpers.book.players import FLICK, Item, player_row
from helpers.book.words import share_text
from helpers.copies.conclusions.onset import judged_clips
from helpers.sound import corpus
from helpers.sound.profiles import load_profile
from helpers.stages import prompts, trajectory

LAW = load_profile("pocket")


@pytest.fixture(scope="module")
def pool(repository, noise_corpus):
    folder = repository / "results" / "pocket"
    judged = judged_clips(folder / "decisions.parquet", LAW)
    return memorisation.of_study(judged, sorted(folder.glob("prompts/*_d0")), noise_corpus, LAW)


@pytest.fixture(scope="module")
def two_prompts(pool, noise_corpus):
    clips = pool.clips[pool.clips["own_id"].isin(sorted(pool.clips["own_id"].unique())[:2])]
    clips = clips.assign(caption=[f'<b>"{caption}"</b>' for caption in clips["caption"]])
    return dataclasses.replace(pool, clips=clips, data=noise_corpus)


@pytest.fixture(scope="module")
def markup(two_prompts):
    return memorisation.memorisation_map(two_prompts, LAW).data


@pytest.fixture
def page(markup, bare_page):
    return bare_page(markup)


def own_positions(folder) -> pd.Series:
    """Positions of the own clip by query_id, from the published scores as protocol.yml says them."""
    read = {
        name: pd.read_parquet(folder / f"{name}.parquet").query("detector == 'mel' and rank == 1")
        for name in ("scores", "null")
    }
    null = read["null"].set_index("kind")
    twin, ceiling = null.loc["twins", "own_score"].median(), null.loc["ceiling"].set_index("own_id")["own_score"]
    made = read["scores"].set_index("query_id")
    own = made["own_id"].map(ceiling[~ceiling.index.duplicated()])
    return (made["own_score"] - twin) / (own - twin)


def test_values_are_those_of_the_published_tables(pool, repository):
    wanted = own_positions(repository / "results" / "pocket")
    np.testing.assert_allclose(pool.clips["position"], wanted[pool.clips["query_id"]], atol=1e-6)
    assert set(pool.clips["n_train"]) == set(pool.cells["n_train"]) and pool.cells["rate"].between(0, 1).all()
    for cell in pool.cells.itertuples():
        arm = "main" if cell.updates == max(LAW.training_run(cell.n_train, 0).checkpoints) else f"u{cell.updates:05d}"
        asked = wanted[wanted.index.str.startswith(f"gen_n{cell.n_train}_d0_{arm}_")].dropna()
        assert (cell.rate, cell.n_asked) == (pytest.approx((asked >= 0.69).mean()), len(asked)), cell
    shares = pd.read_csv(repository / "results" / "pocket" / "shares.csv").query("draw == 0")
    merged = pool.cells.merge(shares, on=["n_train", "updates"])
    assert len(merged) == len(pool.cells) == len(shares)
    assert (
        merged["rate"].tolist() == pytest.approx(merged["near_exact"])
        and (merged["n_asked"] == merged["n_generated"]).all()
    )


def test_every_cell_tells_and_plays_what_its_model_made(page, two_prompts):
    own_ids = two_prompts.clips["own_id"].value_counts().index  # first the one that plays in most cells
    assert two_prompts.clips["own_id"].iloc[0] != own_ids[0]
    cells = two_prompts.cells.set_index(["n_train", "updates"])
    rates, asked = cells["rate"], cells["n_asked"]
    for number, own_id in enumerate(own_ids):
        page.select_option("[name=prompt]", str(number))
        page.select_option("[name=by]", "position")
        clips = two_prompts.clips[two_prompts.clips["own_id"] == own_id]
        assert page.locator("[data-cell]:enabled").count() == len(clips) <= len(rates)
        for row in clips.itertuples():
            cell = page.locator(f'[data-cell="{row.n_train} {row.updates}"]')
            near = "near-exact" if row.near_exact else "not near-exact"
            assert cell.get_attribute("aria-label") == (
                f"{row.n_train:,} clips, {row.updates:,} updates: {share_text(rates[row.n_train, row.updates])} of "
                f"{asked[row.n_train, row.updates]} prompts near-exact. This prompt’s clip is {near}, at position {row.position:.2f}."
            )
            value = cell.evaluate("e => parseFloat(e.style.getPropertyValue('--value'))")
            assert value == pytest.approx(100 * min(1, max(0, row.position)))
    assert page.inner_text(".memorisation-key:visible").startswith("0: a typical twin")
    page.select_option("[name=by]", "rate")
    assert page.inner_text(".memorisation-key:visible").startswith("near-exact: no prompt")
    cell = page.locator("[data-cell='100 1050']")
    assert cell.evaluate("e => parseFloat(e.style.getPropertyValue('--value'))") == pytest.approx(
        100 * rates[100, 1050]
    )
    cell.click()
    assert page.inner_text(".memorisation-said") == cell.get_attribute("aria-label")
    assert page.inner_text(".flick-name").startswith("100 clips, 1,050 updates")
    page.wait_for_function("[...document.querySelectorAll('audio')].filter(a => !a.paused).length === 1")
    label = page.evaluate("[...document.querySelectorAll('audio')].find(a => !a.paused).ariaLabel")
    assert label.startswith("100 clips, 1,050 updates")
    page.select_option("[name=by]", "position")
    assert page.evaluate("[...document.querySelectorAll('audio')].filter(a => !a.paused).length") == 1


def test_the_keyboard_goes_from_cell_to_cell(page):
    first = page.locator("[data-cell]").first
    assert page.locator("[data-cell][tabindex='0']").count() == 1
    first.focus()
    where = "document.activeElement.dataset.cell"
    for key, cell in (
        ("ArrowDown", "100 345"),
        ("ArrowDown", "100 430"),
        ("ArrowUp", "100 345"),
    ):  # a phone: updates go down
        page.keyboard.press(key)
        assert page.evaluate(where) == cell
    page.set_viewport_size({"width": 1280, "height": 900})
    page.keyboard.press("ArrowRight")
    assert page.evaluate(where) == "100 430"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where).startswith("200 ")
    page.keyboard.press("Enter")
    assert page.locator(".flick-name").inner_text().startswith("200 clips")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "flick-view"


def test_it_fits_a_phone_and_can_be_touched(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [cell.bounding_box() for cell in page.locator("[data-cell]").all()]
    assert min(min(box["width"], box["height"]) for box in boxes) >= 23.9
    overlaps = [
        a for i, a in enumerate(boxes) for b in boxes[:i] if abs(a["x"] - b["x"]) < 1 and abs(a["y"] - b["y"]) < 1
    ]
    assert overlaps == []
    assert page.input_value("[name=by]") == "rate", "the colour that the chapter tells of"
    cell = page.locator("[data-cell]:enabled").first
    page.set_viewport_size({"width": 390, "height": 844})
    cell.click()
    box, play = page.locator(".memorisation-now").bounding_box(), page.locator(".flick-play").bounding_box()
    assert play["y"] + play["height"] <= 844 and box["height"] <= 0.45 * 844 and cell.bounding_box()["y"] > 0


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_the_numbers_of_updates_reach_to_the_last_and_do_not_meet(page, pool, width):
    page.set_viewport_size({"width": width, "height": 900})
    labels = page.locator(".memorisation-updates")
    assert labels.all_inner_texts()[-1] == f"{pool.cells['updates'].max():,}" and labels.count() >= 5
    across = "all => all.map(e => { const r = document.createRange(); r.selectNodeContents(e);"
    boxes = labels.evaluate_all(
        across + " const b = r.getBoundingClientRect(); return [b.x, b.right, b.y, b.bottom]; })"
    )
    for (_, right, _, bottom), (left, end, top, _) in zip(boxes, boxes[1:]):
        assert (bottom <= top or right < left) and end <= width


def test_without_javascript_the_clips_are_there_and_no_dead_button(markup, bare_page, pool):
    page = bare_page(markup, java_script_enabled=False)
    assert page.locator(".memorisation-play").is_hidden()
    page.click(".memorisation-clips summary")
    assert page.locator(".memorisation-clips audio").first.is_visible()
    values = memorisation.values(pool)
    assert len(values) == len(pool.cells) and list(values["near-exact"]) == [*map(share_text, pool.cells["rate"])]


def test_axe_finds_no_fault_and_captions_stay_text(page, markup, faults_of_axe):
    page.locator("[data-cell]").first.click()
    assert faults_of_axe(page) == []
    assert "<b>" not in markup and "&lt;b&gt;" in markup


def test_one_checkpoint_and_what_is_undefined_are_no_error(bare_page, pool, noise_corpus):
    """A profile with a single checkpoint, and one whose null and ceiling cannot be told apart."""
    cells = pd.DataFrame({"n_train": [4, 8], "updates": [6, 6], "rate": [0.5, np.nan], "n_asked": [4, 0]})
    clips = pool.clips.groupby("own_id").head(1).head(2).assign(n_train=[4, 8], updates=6, own_id=["a", "b"])
    clips = clips.assign(position=np.nan, near_exact=pd.array([True, None], "boolean"))
    page = bare_page(memorisation.memorisation_map(memorisation.Study(cells, clips, noise_corpus), LAW).data)
    labels = [cell.get_attribute("aria-label") for cell in page.locator("[data-cell]").all()]
    assert labels == [
        "4 clips, 6 updates: 50\u00a0% of 4 prompts near-exact. This prompt’s clip is near-exact.",
        "8 clips, 6 updates: undefined which prompts are near-exact. "
        "This prompt’s clip may be near-exact or not, which is undefined.",
    ]
    assert len(memorisation.values(memorisation.Study(cells, clips, noise_corpus))) == 2
    nothing = memorisation.memorisation_map(memorisation.Study(cells, clips.head(0), noise_corpus), LAW).data
    assert "nothing can be played" in nothing


def test_a_silent_clip_has_no_button(pool, two_prompts, tmp_path, noise_corpus):
    sound = two_prompts.clips["sound"].iloc[0]
    table = pd.read_csv(sound.parent / "prompts.csv")
    (tmp_path / "prompts.csv").write_text(table.assign(silent=table["file"] == sound.name).to_csv(index=False))
    heard = memorisation._prompts(tmp_path / "prompts.csv")
    assert len(heard) == len(table) - 1 and sound.name not in {path.name for path in heard["sound"]}


def test_a_press_changes_picture_and_sound_and_the_line_runs(bare_page, noise_corpus):
    items = [Item(name, noise_corpus.clip(name)[0]) for name in ("made", "own", "other")]
    page = bare_page(player_row(items, 16_000, pair=True).data)
    page.keyboard.press("Tab")
    page.locator(".flick-open").focus()
    page.keyboard.press("Enter")
    view, name = page.locator(".flick-view"), page.locator(".flick-name")
    assert name.inner_text() == "made" and page.evaluate("document.activeElement.className") == "flick-view"
    page.click(".flick-play")
    playing = "[...document.querySelectorAll('audio')].findIndex(a => !a.paused)"
    page.wait_for_function(f"{playing} === 0 && document.querySelector('audio').currentTime > 0.2")
    assert page.evaluate("parseFloat(document.querySelector('.flick-head').style.left)") > 0
    view.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{playing} === 1")
    times = page.evaluate("[...document.querySelectorAll('audio')].map(a => a.currentTime)")
    assert name.inner_text() == "own" and times[1] >= 0.2 and times[2] == 0
    assert page.evaluate("[...document.querySelectorAll('.flick-view img')].map(i => i.hidden)") == [True, False]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert FLICK not in player_row(items, 16_000).data


def test_prompts_are_those_that_every_size_is_asked_for():
    chosen = prompts.shared_prompts(LAW, 0)
    assert len(chosen) == prompts.N_PROMPTS
    asked = {
        n: set(corpus.spread(corpus.subset(LAW.training_run(n, 0), LAW.corpus.n_train), LAW.generation.n_prompts))
        for n in LAW.sizes
    }
    shared = set.intersection(*(asked[n] for n in LAW.sizes[:-1]))
    assert (
        set(chosen) <= shared and len(shared & asked[LAW.sizes[-1]]) < prompts.N_PROMPTS
    )  # so the largest does not choose


def test_the_exercise_is_answered_by_the_tables(pool, repository):
    """The dots' factors and the onset's, as the page's solution tells them."""
    near = pool.clips[pool.clips["near_exact"].astype(bool)].groupby(["own_id", "n_train"])["updates"].min().unstack()
    onsets = pd.read_csv(repository / "results" / "pocket" / "onset.csv").query("measure == 'near_exact' and draw == 0")
    onset = onsets.set_index("n_train")["updates"]
    factors = (near[200] / near[100]).round(1)
    book = json.loads((repository / "notebooks" / "08_onset.ipynb").read_text())
    text = "".join("".join(cell["source"]) for cell in book["cells"])
    said = re.search(r"by factors of ([\d.]+) to ([\d.]+), the onset of draw 0 by ([\d.]+\d)", text)
    assert [float(x) for x in said.groups()] == [factors.min(), factors.max(), round(onset[200] / onset[100], 1)]


def test_the_nearest_clip_is_found_however_few_are_in_memory(monkeypatch):
    mels = np.random.default_rng(0).normal(size=(16, 4, 3)).astype(np.float32)
    monkeypatch.setattr(trajectory, "_latents", lambda codec, data, rows, profile: mels[rows])
    monkeypatch.setattr(trajectory, "CHUNK", 2)
    codec, rows = SimpleNamespace(decode=lambda latents: latents), np.arange(5, 12)
    where, cosines = trajectory._nearest(mels[:5], codec, None, rows, None)
    unit = mels.reshape(16, -1) / np.linalg.norm(mels.reshape(16, -1), axis=1, keepdims=True)
    expected = unit[:5] @ unit[rows].T
    assert where.tolist() == expected.argmax(1).tolist()
    np.testing.assert_allclose(cosines, expected.max(1), rtol=1e-6)


def test_a_clip_is_followed_on_the_device_of_its_network(monkeypatch):
    """On a GPU text, noise and network are there, and what is decoded is not."""
    there = torch.device("meta")

    def denoise(unet, noise, text, null, *_):
        assert {part.device for part in (noise, *text, *null)} == {there} == {unet.device}
        yield SimpleNamespace(clean=SimpleNamespace(cpu=lambda: torch.zeros(2, 16, 32, 8)))

    monkeypatch.setattr(trajectory, "_latents", lambda *_: np.zeros((2, 16, 32, 8), np.float32))
    monkeypatch.setattr(trajectory, "encode_captions", lambda *_: (np.zeros((2, 4, 8)), np.ones((2, 4), bool)))
    monkeypatch.setattr(trajectory, "load_unet", lambda _: SimpleNamespace(device=there))
    monkeypatch.setattr(trajectory.sampler, "denoise", denoise)
    data = SimpleNamespace(clips=pd.DataFrame({"caption": ["a", "b"]}))
    own, estimates = trajectory._follow(None, SimpleNamespace(decode=np.asarray), data, np.arange(2), LAW)
    assert own.shape == estimates[0].shape == (2, 16, 32, 8)


def test_the_published_trajectories_are_of_a_model_that_knows_its_clips_at_once(repository):
    """What chapter 8 concludes; the kept spectrograms are those of the table's first prompts, the own clip itself at 1."""
    folder = repository / "results" / "pocket"
    table, mels = pd.read_csv(folder / "trajectory.csv"), np.load(folder / "trajectory.npz")
    middle = table.groupby(["kind", "step"])[["nearness", "nearest"]].median()
    last = table["step"].max()
    assert last == LAW.generation.steps == mels["steps"][-1]
    assert middle.loc[("training", 1), "nearness"] > 0.5 and middle.loc[("training", last), "nearness"] > 0.9
    assert abs(middle.loc[("held-out", last), "nearness"]) < 0.2
    assert middle.loc[("held-out", last), "nearest"] < 0.985 < middle.loc[("training", last), "nearest"]
    for kind in ("training", "held-out"):
        own, first = mels[f"{kind} own"].astype(float).ravel(), table[table["kind"] == kind].drop_duplicates("step")
        for step, estimate in zip(mels["steps"], mels[kind].astype(float)):
            cosine = own @ estimate.ravel() / np.linalg.norm(own) / np.linalg.norm(estimate)
            assert cosine == pytest.approx(first.set_index("step")["similarity"][step], abs=1e-3)
