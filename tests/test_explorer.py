"""The threshold explorer in a real browser: what it counts is what Python counts from the same published scores."""

import numpy as np
import pandas as pd
import pytest

from helpers.book.explorer import explorer
from helpers.book.played_clips import PlayedClips
from helpers.copies.calibration import calibrate_threshold, flag, split_calibration
from helpers.copies.replication import near_exact
from helpers.copies.score_table import ScoreTable
from helpers.sound.profiles import load_profile

PROFILE = load_profile("pocket")
DETECTOR, NULL, CONFIG = PROFILE.thresholds.detector, PROFILE.nulls[0], PROFILE.thresholds


@pytest.fixture(scope="module")
def table(repository):
    return ScoreTable(repository / "results" / "pocket")


@pytest.fixture(scope="module")
def markup(table, repository, noise_corpus):
    galleries = {n: PlayedClips(repository / "results" / "pocket" / "clips" / f"n{n}_d0") for n in PROFILE.sizes}
    return explorer(table, galleries, noise_corpus, PROFILE).data


@pytest.fixture
def page(markup, bare_page):
    return bare_page(markup)


def move(page, **values):
    """Sets fields of the form as a hand does: the value, then the event."""
    for name, value in values.items():
        page.eval_on_selector(
            f".explorer [name={name}]",
            "(e, v) => { if (e.type === 'checkbox') e.checked = v; else e.value = v;"
            " e.dispatchEvent(new Event('input', {bubbles: true})) }",
            value,
        )


def counted(page) -> dict:
    """The counts on the page as (hits, of)."""
    texts = {tag.get_attribute("data-count"): tag.inner_text() for tag in page.query_selector_all("[data-count]")}
    return {name: tuple(map(int, text.split(" (")[0].split(" of "))) for name, text in texts.items() if " of " in text}


def expected(table, n: int, beta: float, k: int, theta: float, tau: float | None = None) -> tuple[dict, float]:
    run = ("main", n, 0)
    clips, null = table.best(run, DETECTOR, "generated", "main"), table.best(run, DETECTOR, NULL)
    part = split_calibration(null["query_id"], CONFIG.seed)
    scores, honest = (table.normalised(run, DETECTOR, rows, beta, k) for rows in (clips, null))
    tau = calibrate_threshold(honest[part == "C2"], CONFIG.fpr) if tau is None else tau
    flagged = flag(np.float32(scores), tau)
    place = table.positions(run, DETECTOR, clips, NULL)
    near, defined = near_exact(place, theta).to_numpy(bool, na_value=False), ~np.isnan(place)
    return {
        "flagged": (int(flagged.sum()), len(flagged)),
        "false_alarms": (int(flag(honest[part == "C3"], tau).sum()), int((part == "C3").sum())),
        "precision": (int((flagged & near).sum()), int((flagged & defined).sum())),
        "near": (int(near.sum()), int(defined.sum())),
    }, tau


SETTINGS = [(0.5, 10, 0.69), (0.0, 10, 0.69), (0.35, 3, 0.5), (2.0, 1, 0.9), (1.15, 7, 0.0)]


@pytest.mark.parametrize("n", PROFILE.sizes)
def test_counts_are_those_of_python(page, table, n):
    move(page, n=str(n))
    for beta, k, theta in SETTINGS:
        move(page, beta=beta, k=k, theta=theta)
        wanted, tau = expected(table, n, beta, k, theta)
        assert counted(page) == {name: of for name, of in wanted.items() if of[1]}, (n, beta, k, theta)
        assert page.inner_text("[data-value=tau]") == f"{tau:.4f}"


def test_at_the_settings_of_the_study_it_says_what_the_study_says(page, repository):
    rows = pd.read_csv(repository / "results" / "pocket" / "replication.csv").query(
        f"training_set == 'main' and draw == 0 and arm == 'main' and detector == '{DETECTOR}' and null == '{NULL}' "
        f"and fpr == {CONFIG.fpr}"
    )
    assert len(rows) == len(PROFILE.sizes)
    for row in rows.itertuples():
        move(page, n=str(row.n_train))
        found = counted(page)
        assert found["flagged"] == (row.flagged, row.n_generated) and found["near"] == (row.near_exact, row.n_defined)
        assert found["precision"] == (row.flagged_near_exact, row.flagged_n_defined)
        assert found["false_alarms"][0] / found["false_alarms"][1] == pytest.approx(row.fpr_verified)


def test_the_key_names_what_is_drawn_and_says_what_the_height_of_a_dot_means(page):
    assert page.locator(".explorer-key span").all_inner_texts() == ["generated", "twins", "τ"]
    assert page.inner_text(".explorer-key").endswith("How high it lies means nothing.")
    titles = page.locator(".explorer-counts dt").all_inner_texts()
    assert titles == ["Flagged", "False alarms, checked", "Of the flagged, near-exact", "Near-exact"]


def test_tau_by_hand_stays_until_it_follows_again(page, table):
    move(page, n="500")
    _, own = expected(table, 500, CONFIG.beta, CONFIG.k, CONFIG.theta)
    move(page, tau=own + 0.01)
    assert not page.is_checked("[name=follow]")
    tau = float(page.eval_on_selector("[name=tau]", "e => e.value"))
    assert counted(page) == expected(table, 500, CONFIG.beta, CONFIG.k, CONFIG.theta, tau)[0]
    move(page, follow=True)
    assert page.inner_text("[data-value=tau]") == f"{own:.4f}"
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelector('[name=follow]').checked")


def test_the_histogram_is_numpys(page, table):
    move(page, n="500")
    run = ("main", 500, 0)
    scores = [
        table.normalised(run, DETECTOR, table.best(run, DETECTOR, *kind), 0.35, 4)
        for kind in (("generated", "main"), (NULL,))
    ]
    scores[0] = np.float32(scores[0]).astype(float)
    move(page, beta=0.35, k=4)
    edges = np.histogram_bin_edges(np.concatenate(scores), 40)
    heights = page.evaluate("document.querySelector('.explorer').plotted()")
    np.testing.assert_allclose(heights[0], edges, rtol=1e-12)
    for found, values in zip(heights[1:], scores):
        np.testing.assert_allclose(found[:-1], np.histogram(values, edges)[0] / len(values), atol=1e-12)


def test_a_dot_plays_its_pair_and_the_keyboard_reaches_it(page):
    assert page.locator(".explorer-heard audio").count() == 0
    dot = page.locator(".explorer-dot").first
    dot.focus()
    page.keyboard.press("Enter")
    assert page.locator(".explorer-heard audio").count() == 2
    assert dot.get_attribute("aria-pressed") == "true"
    assert page.locator(".explorer-heard .player-label").first.inner_text() in dot.get_attribute("aria-label")
    page.locator(".explorer-dot").nth(1).click()
    assert page.locator(".explorer-heard audio").count() == 2
    assert page.locator("[name=beta]").evaluate("e => { e.focus(); return document.activeElement === e }")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("[data-value=beta]") == f"{CONFIG.beta + 0.05:.2f}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_javascript_the_clips_are_there_and_no_dead_slider(markup, bare_page):
    page = bare_page(markup, java_script_enabled=False)
    assert page.locator(".explorer-play").is_hidden()
    page.click(".explorer-clips summary")
    assert page.locator(".explorer-clips audio").first.is_visible()


def test_axe_finds_no_fault(page, faults_of_axe):
    page.locator(".explorer-dot").first.click()
    assert faults_of_axe(page) == []


def test_captions_stay_text(markup):
    assert "<b>" not in markup and "&lt;b&gt;" in markup
