"""Blind pairs and the listening lab in a real browser; labels read back and set beside the detectors."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.base.cosine import row_cosines
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig
from helpers.book import listeners, listening
from helpers.book.listening import COPIES, GRADES, WHICH
from helpers.book.parameters import check_parameters
from helpers.book.played_clips import PlayedClips
from helpers.book.summaries.rows import rows_of
from helpers.copies.score_table import ScoreTable
from helpers.sound.altered_copies import plan_alterations
from helpers.sound.corpus import Corpus, Mixed
from helpers.sound.mel import log_mel
from helpers.sound.profiles import load_profile
from helpers.study.entries import read_entries

PROFILE = load_profile("pocket")
CONFIG, NULL = PROFILE.thresholds, PROFILE.nulls[0]
N_PAIRS = 2 * len(WHICH)
HITS = 2  # of the five copy-or-not pairs, by the near-exact rule


@pytest.fixture(scope="module")
def published(repository):
    return repository / "results" / "pocket"


@pytest.fixture(scope="module")
def galleries(published):
    return {n: PlayedClips(published / "clips" / f"n{n}_d0") for n in PROFILE.sizes}


@pytest.fixture(scope="module")
def known(published):
    return PlayedClips(published / "blind" / "main")


@pytest.fixture(scope="module")
def table(published):
    return ScoreTable(published)


@pytest.fixture(scope="module")
def rates(published):
    rows = rows_of(pd.read_csv(published / "replication.csv"), arm="main", draw=0, null=NULL)
    return rows[np.isclose(rows["fpr"], CONFIG.fpr)]


@pytest.fixture(scope="module")
def blind(table, galleries, known, noise_corpus):
    return listening.blind_pairs(table, galleries, known, noise_corpus, PROFILE).data


@pytest.fixture(scope="module")
def lab(galleries, noise_corpus):
    return listening.lab(galleries, noise_corpus, PROFILE).data


def shown(page):
    return page.locator(".listening-pair:visible")


def play_through(page, choose) -> list[str]:
    """Answers every pair by `choose(pair's data)`; what was told."""
    told = []
    while shown(page).count():
        facts = shown(page).evaluate("e => ({...e.dataset})")
        page.click(f".listening-answers button[value='{choose(facts)}']")
        told.append(page.inner_text(".listening-told"))
        page.click(".listening-next")
    return told


def test_nothing_is_told_before_the_answer(blind, bare_page):
    page = bare_page(blind)
    for number in range(1, N_PAIRS + 1):
        pair = shown(page)
        assert pair.count() == 1 and pair.locator("audio").count() == 2
        said = page.inner_text(".listening")
        assert f"Pair {number} of {N_PAIRS}" in said and "caption" not in said and "rule" not in said
        assert page.locator("img, figcaption, details").count() == 0
        page.locator(".listening-answers button").first.click()
        assert re.match(
            r"(Right|Wrong)\. .*caption.*\. The near-exact rule (calls it a copy|calls it no copy"
            r"|misses it: chapter 7 counts such errors|calls it a copy all the same: chapter 7 counts such errors)\.",
            page.inner_text(".listening-told"),
        )
        assert page.locator(".flick-view img").count() == 2 and page.inner_text(".flick-name") == "A"
        page.click(".flick-view")
        assert page.inner_text(".flick-name") == "B"
        page.locator(".listening-next").focus()
        page.keyboard.press("Enter")  # "Next pair" has the focus


def test_the_players_and_answers_are_within_the_first_screen_of_a_phone(blind, bare_page):
    page = bare_page(blind)
    box = page.locator(".listening-answers").bounding_box()
    assert box["y"] + box["height"] < 400 and page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("right", [True, False])
def test_the_score_beside_the_detectors(blind, bare_page, right):
    page = bare_page(blind)
    wrong = {"A": "B", "B": "A", "yes": "no", "no": "yes"}
    told = play_through(page, lambda facts: facts["right"] if right else wrong[facts["right"]])
    assert all(text.startswith("Right." if right else "Wrong.") for text in told) and len(told) == N_PAIRS
    rows = [
        [cell.inner_text() for cell in row.query_selector_all("th, td")] for row in page.query_selector_all("table tr")
    ]
    assert rows[1][:2] == ["Which is the training clip?", f"{5 if right else 0} of 5"]
    assert rows[2][:2] == ["Copy or not?", f"{5 if right else 0} of 5"]
    assert rows[2][3] == f"{HITS} of 5"  # by the positions of results/pocket: see the next test
    drawn = f"The 5 copy-or-not pairs were drawn at random, by seed {PROFILE.retrieval.seed},"
    assert page.inner_text(".listening-told").startswith(drawn)


def test_what_is_right_is_how_the_pair_was_made(table, galleries, known, noise_corpus):
    letters, hits = set(), 0
    for place, slot in WHICH:
        n = PROFILE.sizes[place]
        pair = listening._blind(table, galleries[n], slot, "which", noise_corpus, PROFILE, n)
        letters.add(pair.right)
        assert pair.reference == galleries[n][slot]["own_id"] and galleries[n][slot]["kind"] == "generated"
        assert np.array_equal(pair.sounds["AB".index(pair.right)], noise_corpus.clip(pair.reference)[0])
    for row in known.table.itertuples():
        n = row.n_train
        pair = listening._blind(table, known, row.slot, "same", noise_corpus, PROFILE, n)
        best = table.best(("main", n, 0), "mel", row.kind)
        where = table.positions(("main", n, 0), "mel", best, NULL)
        (at,) = np.flatnonzero(best["query_id"] == row.query_id)
        assert pair.right == ("yes" if row.kind in COPIES else "no")
        assert pair.reference == (row.own_id or best["ref_id"][at])
        assert (pair.rule == "yes") == (where[at] >= CONFIG.theta)
        hits += pair.rule == pair.right
    assert letters == {"A", "B"} and hits == HITS


def test_the_pairs_are_drawn_by_the_seed_and_sound_as_what_was_scored(published, known, table, tmp_path):
    """The draw is that of a generator of the seed alone; and each clip made again reaches its published score."""
    rng, manifest = seeded(PROFILE.retrieval.seed, "blind pairs"), read_entries(published)["corpus"]
    clips = pd.read_parquet(published / "clips.parquet")
    data = Corpus(clips, Mixed(clips, CorpusConfig.from_digest_fields(manifest["config"]["corpus"])), None)
    for number, row in enumerate(known.table.itertuples()):
        n = PROFILE.sizes[number % len(PROFILE.sizes)]
        kind = ("altered", NULL)[rng.integers(2)]
        made = rng.integers({"altered": PROFILE.controls.n_altered, NULL: PROFILE.twins.n_twins}[kind])
        assert (row.n_train, row.kind) == (n, kind)
        if kind == "altered":
            assert row.query_id == plan_alterations(PROFILE, n, 0)["query_id"][made]
        best = table.best(("main", n, 0), "mel", kind).set_index("query_id").loc[row.query_id]
        sounds = np.stack([known.audio(row.slot), data.clip(best["ref_id"])[0]])
        mels = log_mel(sounds, PROFILE.mel, PROFILE.corpus.sample_rate_hz).reshape(2, -1)
        assert row_cosines(mels[:1], mels[1:], np.float64)[0] == pytest.approx(best["score"], abs=0.01)


def test_without_javascript_every_pair_stands_there_with_its_answer_folded(blind, bare_page):
    page = bare_page(blind, java_script_enabled=False)
    assert shown(page).count() == N_PAIRS
    assert page.locator("details p").first.is_hidden()
    page.locator("details summary").first.click()
    assert page.locator("details p").first.is_visible()


def order_of(page) -> list[str]:
    names = []
    while shown(page).count():
        names.append(shown(page).get_attribute("data-name"))
        page.click(".listening-answers button[value=similar]")
    return names


def test_the_seed_sets_the_order_with_a_catch_trial_in_each_block(lab, bare_page, repository):
    page = bare_page(lab)
    every = page.locator(".listening-pair").evaluate_all("all => all.map(e => e.dataset.name)")
    catches = len([name for name in every if name.startswith("catch")])
    lead = f"six among the {len(every)} pairs, one in every {len(every) // catches} of the order"
    assert catches == 6 and lead in (repository / "book" / "listening.md").read_text()
    orders, places = {}, set()
    for seed in ("1", "7", "1"):
        page.fill("[name=seed]", seed)
        if orders:  # a browser that is not told otherwise declines, and all grades stay
            page.click("text=Start anew")
            assert not shown(page).count()
            page.once("dialog", lambda dialog: dialog.accept())
        page.click("text=Start anew")
        order = order_of(page)
        assert sorted(order) == sorted(every) and order != every
        assert orders.setdefault(seed, order) == order
        blocks = [order[i : i + len(every) // catches] for i in range(0, len(every), len(every) // catches)]
        (dealt,) = zip(*([name.split()[1] for name in block if name.startswith("catch")] for block in blocks))
        assert all({*dealt[i : i + 2]} == {"identical", "different"} for i in (0, 2, 4))
        places.add(tuple(next(i for i, name in enumerate(block) if name.startswith("catch")) for block in blocks))
    assert len(places) == 2 and min(len({*one}) for one in places) > 1
    assert orders["1"] != orders["7"]


def test_catch_trials_are_a_clip_beside_itself_and_beside_another(lab, bare_page):
    page = bare_page(lab)
    found = page.locator("[data-catch=true]").evaluate_all(
        "all => all.map(e => [e.dataset.name, ...[...e.querySelectorAll('audio')].map(a => a.src)])"
    )
    assert len(found) == 2 * listening.N_CATCH
    for name, *sounds in found:
        first, second = (soundfile.read(io.BytesIO(base64.b64decode(s.split(",")[1])))[0] for s in sounds)
        assert np.array_equal(first, second) == name.startswith("catch identical")


def test_progress_is_kept_and_saved_as_labels_that_can_be_read(lab, bare_page, tmp_path):
    page = bare_page(lab)
    assert page.is_disabled(".listening-save") and page.is_visible("text=Write your name or initials above to save")
    page.fill("[name=listener]", '=A, "B"')
    assert page.is_enabled(".listening-save") and page.is_hidden("text=Write your name or initials above to save")
    page.fill("[name=seed]", "5")
    page.keyboard.press("Tab")
    for grade in GRADES:
        page.click(f".listening-answers button[value={grade}]")
    page.reload()
    assert page.input_value("[name=seed]") == "5" and "Pair 5 of" in page.inner_text(".listening-count")
    with page.expect_download() as download:
        page.click(".listening-save")
    assert download.value.suggested_filename == "labels-AB.csv"
    download.value.save_as(tmp_path / "my.csv")
    assert (tmp_path / "my.csv").read_text().splitlines()[0] == ",".join(listeners.COLUMNS)
    labels = listeners.read_labels(tmp_path / "my.csv")
    assert list(labels["grade"]) == list(GRADES)
    assert set(labels["listener"]) == {'A, "B"'} and set(labels["seed"]) == {"5"}
    assert sorted(labels["order"]) == ["1", "2", "3", "4"]
    page.click("text=Back")
    assert page.locator(".listening-answers [aria-pressed=true]").get_attribute("value") == "different"


@pytest.mark.parametrize("kind", ["blind", "lab"])
def test_axe_finds_no_fault(kind, request, bare_page, faults_of_axe):
    page = bare_page(request.getfixturevalue(kind))
    assert faults_of_axe(page) == []
    if kind == "blind":
        play_through(page, lambda facts: facts["right"])
        assert faults_of_axe(page) == []


HEADER = ",".join(listeners.COLUMNS)


def row(pair="n100_d0 quantile 0.50", grade="similar", listener="A", catch="false", query="q", reference="r", order=1):
    return f"{pair},{query},{reference},{grade},{listener},{catch},{order},1"


WRONG = {
    "pair_id,grade\nx,similar": "line 1: expected each of the columns pair_id, query",
    HEADER: "expected at least one grade, got none",
    f"{HEADER}\n{row(grade='alike')}": "line 2: expected a grade of identical, near-exact, similar, different, got 'alike'",
    f"{HEADER}\n{row(catch='no')}": "line 2: expected is_catch true or false, got 'no'",
    f"{HEADER}\n{row(pair='../../etc')}": "line 2: expected a pair of the listening lab",
    f"{HEADER}\n{row()}\n{row(grade='different')}": "line 3: 'A' graded 'n100_d0 quantile 0.50' already in my.csv, line 2",
    f"{HEADER}\n{row(pair='n7_d0 miss 1')}": "labels: expected pairs of this study's sizes",
    f"{HEADER}\n{row()},9": "line 2: expected 8 values, as the first line has, got 9",
    f"{HEADER}\n\0": "line 2: expected text, got a zero byte",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_labels_are_refused_in_one_line_before_anything_runs(text, tmp_path):
    path = tmp_path / "my.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(WRONG[text])) as raised:
        check_parameters("06_thresholds", {"profile": "pocket", "labels": str(path)})
    assert "\n" not in str(raised.value)


def test_a_folder_of_labels_is_read_as_one_file(tmp_path):
    for who in "AB":
        (tmp_path / f"labels-{who}.csv").write_text(f"{HEADER}\n{row(listener=who)}\n")
    assert list(listeners.read_labels(tmp_path)["listener"]) == ["A", "B"]
    (tmp_path / "labels-B (1).csv").write_text(f"{HEADER}\n{row(listener='B')}\n")
    with pytest.raises(ValueError, match=r"labels-B.csv, line 2: 'B' graded .* already in labels-B \(1\).csv, line 2"):
        listeners.read_labels(tmp_path)


def test_labels_that_are_not_there(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="labels: expected a CSV of the listening lab, or a folder of such, found none at"
    ):
        check_parameters("06_thresholds", {"profile": "pocket", "labels": str(tmp_path / "gone.csv")})


def test_labels_change_no_digest():
    changed = PROFILE.replace("thresholds", labels="my.csv")
    assert changed.thresholds.digest_fields() == PROFILE.thresholds.digest_fields()


def labels_of(tmp_path, *rows) -> pd.DataFrame:
    path = tmp_path / "my.csv"
    path.write_text("\n".join([HEADER, *rows]))
    return listeners.read_labels(path)


CAUGHT = [row(f"catch {grade} 1", grade, who, "true") for who in "ABCD" for grade in ("identical", "different")]


def test_who_fails_the_catch_trials_does_not_count(tmp_path):
    labels = labels_of(
        tmp_path, row(), *CAUGHT[:2], row(listener="E"), row("catch identical 1", "similar", "E", "true")
    )
    found = listeners.who_listened(labels).set_index("listener")
    assert found["counts"].to_dict() == {"A": True, "E": False}
    assert set(listeners.counted(labels)["listener"]) == {"A"}
    none = labels_of(tmp_path, row())
    assert listeners.counted(none).empty, "whoever met no catch trial cannot be told from a guesser"


def test_alpha_is_krippendorffs(tmp_path):
    """Data with missing grades, against the definition written out: 1 - D_o / D_e with the ordinal difference."""
    pytest.importorskip("krippendorff")
    given = {"A": "1124433112", "B": "112443321.", "C": "11.443321.", "D": ".224413312"}
    rows = [
        row(f"n100_d0 quantile {unit}", GRADES[int(grade) - 1], who)
        for who, grades in given.items() for unit, grade in enumerate(grades) if grade != "."
    ]  # fmt: skip
    labels = listeners.counted(labels_of(tmp_path, *rows, *CAUGHT))
    units = [[int(g[u]) - 1 for g in given.values() if g[u] != "."] for u in range(10)]
    coincidences = np.zeros((4, 4))
    for unit in units:
        for i, a in enumerate(unit):
            for j, b in enumerate(unit):
                coincidences[a, b] += (i != j) / (len(unit) - 1)
    n = coincidences.sum(axis=0)
    distance = np.array([
        [(n[min(a, b) : max(a, b) + 1].sum() - (n[a] + n[b]) / 2) ** 2 for b in range(4)] for a in range(4)
    ])  # fmt: skip
    expected = (np.outer(n, n) - np.diag(n)) / (n.sum() - 1)
    assert listeners.agreement(labels) == pytest.approx(
        1 - (coincidences * distance).sum() / (expected * distance).sum()
    )
    assert listeners.agreement(labels[labels["listener"] == "A"]) is None


def test_without_its_package_agreement_says_what_to_install(tmp_path, monkeypatch):
    labels = labels_of(tmp_path, row(), row(listener="B", grade="identical"), *CAUGHT)
    monkeypatch.setattr(listeners.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install krippendorff"):
        listeners.agreement(listeners.counted(labels))


def test_detectors_against_ears_that_hear_what_mel_flags(tmp_path, galleries, table, rates, published):
    """Listeners who call a copy just what mel flags: mel is right in all, and the others as their flags say."""
    decisions = rows_of(pd.read_parquet(published / "decisions.parquet"), arm="main", draw=0)
    taus = rates.set_index(["detector", "n_train"])["tau"].to_dict()
    mel, heard = rows_of(decisions, detector="mel"), []
    for n, gallery in galleries.items():
        for slot in gallery.rows("quantile").itertuples():
            flagged = bool(mel.set_index(["query_id", "n_train"]).loc[(slot.query_id, n), f"flagged_{NULL}"])
            grade = "near-exact" if flagged else "similar"
            heard.append(row(f"n{n}_d0 {slot.slot}", grade, query=slot.query_id, reference=slot.ref_id))
    pairs = listeners.by_ear(listeners.counted(labels_of(tmp_path, *heard, *CAUGHT)))
    found = listeners.against_detectors(pairs, table, taus, mel, PROFILE).set_index("detector")
    copies = int(pairs["copy"].sum())
    assert 0 < copies < len(pairs) == 7 * len(PROFILE.sizes)
    assert found.loc["mel", ["both", "ear alone", "detector alone"]].tolist() == [copies, 0, 0]
    clap = rows_of(decisions, detector="clap").set_index(["query_id", "ref_id", "n_train"])[f"flagged_{NULL}"]
    calls = [bool(clap.get((p.query, p.reference, p.n_train), False)) for p in pairs.itertuples()]
    assert found.loc["clap", "both"] == sum(call and copy for call, copy in zip(calls, pairs["copy"]))
    assert found.loc["clap", "detector alone"] == sum(call and not copy for call, copy in zip(calls, pairs["copy"]))
    rule = mel.set_index(["query_id", "n_train"])["near_exact"]
    near = [bool(rule[p.query, p.n_train]) for p in pairs.itertuples()]
    assert found.iloc[-1]["both"] == sum(a and b for a, b in zip(near, pairs["copy"]))


@pytest.mark.parametrize(
    ("kind", "own", "says"),
    [
        ("twins", "a", "is a twin of it: the same caption, mixed anew"),
        ("twins", "b", "was mixed for other words: “rain”"),
        ("same_bed", "a", "has its bed, the steady sound, under other events"),
        ("same_bed", "b", "was made of other sounds"),
        ("altered", "a", "is that clip, changed on purpose"),
        ("heldout", "", "is a held-out clip, of other recordings"),
    ],
)
def test_what_a_clip_is_to_the_one_beside_it_is_told_by_which_clip_it_was_made_from(kind, own, says):
    assert listening._made_as({"kind": kind, "own_id": own, "caption": "rain"}, "a") == says
