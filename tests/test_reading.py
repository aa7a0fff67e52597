"""The study in words: each sentence says what its table, made by hand, says."""

import numpy as np
import pandas as pd
import pytest
from three_sizes import THREE_SIZES

from helpers.book import sentences, words
from helpers.book.summaries import findings

COLUMNS = ["n_train", "draw", "arm", "updates", "epochs"]
SHARES = ["near_exact_rate", "near_exact_low", "near_exact_high"]


def rows(*given):
    """Rows of (n_train, draw, arm, updates, near-exact share); 32 clips an update, half a width of 0.05, the null at 0.02."""
    table = pd.DataFrame([(n, d, arm, u, 32 * u / n, s, s - 0.05, s + 0.05) for n, d, arm, u, s in given])
    table.columns = COLUMNS + SHARES
    table = table.assign(null_near_exact_rate=0.02, null_near_exact_low=0.0, null_near_exact_high=0.04)
    return table.assign(n_generated=96, n_defined=96, prompt_set="train")


def undefined(table, **columns):
    """The rows without any position, so without a near-exact share; flags and own-clip top-1 are known."""
    shares = dict.fromkeys((*SHARES, *(f"null_{name}" for name in SHARES)), np.nan)
    shares |= {"flagged_rate": 0.3, "ci_low": 0.2, "ci_high": 0.4, "fpr_verified": 0.05, "fpr_verified_low": 0.02}
    shares |= {
        "fpr_verified_high": 0.1,
        "own_clip_top1_rate": 0.25,
        "own_clip_top1_low": 0.12,
        "own_clip_top1_high": 0.5,
    }
    shares |= dict.fromkeys(("twins_top1_rate", "twins_top1_low", "twins_top1_high"), np.nan)
    return table.assign(n_defined=0, **shares | columns)


STUDY = rows(
    (100, 0, "u00100", 100, 0.0), (100, 0, "u00400", 400, 0.5), (100, 0, "main", 2000, 0.9), (100, 1, "main", 2000, 0.8),
    (400, 0, "u00100", 100, 0.0), (400, 0, "u00400", 400, 0.01), (400, 0, "main", 2000, 0.05), (400, 0, "raw", 2000, 0.99),
    (4000, 0, "main", 2000, 0.02),
)  # fmt: skip


def plain(text):
    return text.replace("\u00a0", " ").replace("**", "")


def test_one_sentence_answers_for_every_size():
    assert sentences.of_answer(STUDY) == (
        "Trained for long enough on 100 clips, a model replays more than half of them. After 2,000 training updates on 400 clips, we cannot tell "
        "whether a model copies; on 4,000, we cannot tell: 2\u00a0% of its clips count as copies, but so do 2\u00a0% of clips that copied nothing."
    )
    late = pd.concat([STUDY, STUDY[STUDY["n_train"] == 100].assign(n_train=200)])
    assert sentences.of_answer(late).startswith(
        "Trained for long enough on 100 or 200 clips, a model replays more than half of them. After"
    )
    early = rows((100, 0, "u00100", 100, 0.4), (100, 0, "main", 2000, 0.45), (400, 0, "main", 2000, 0.99))
    assert sentences.of_answer(early) == (
        "Trained on 100 clips, a model replays some of them; on 400, nearly all of them."
    )
    assert sentences.of_answer(undefined(early)).startswith(
        "After 2,000 training updates on 100 or 400 clips, what a model does is undefined"
    )


def test_where_near_exact_is_undefined_what_is_known_is_said_instead():
    small = plain(sentences.of_undefined(undefined(STUDY[STUDY["n_train"] == 100]), "held-out clips"))
    assert small == (
        "After training on 100 clips, near-exact is undefined for 192 of 192, as null and ceiling cannot be told apart; "
        "flagged are 30 % (20 to 40), of held-out clips 5 % (2 to 10); "
        "the nearest clip is the one whose caption was the prompt for 25 % (12 to 50), by a guess for 1 %."
    )
    unattainable = undefined(STUDY, flagged_rate=np.nan, twins_top1_rate=0.2, twins_top1_low=0.1, twins_top1_high=0.3)
    small = plain(sentences.of_undefined(unattainable[unattainable["n_train"] == 100]))
    assert "; no threshold is attainable; the nearest" in small and small.endswith("50), of twins for 20 % (10 to 30).")


def test_no_onset_and_no_fall_is_read_from_what_is_undefined():
    shows = "copying shows, beside twins"
    assert set(findings.sizes_in_words(undefined(STUDY))[shows]) == {
        "cannot be told: no checkpoint has an interval to judge by"
    }
    late = pd.concat([undefined(STUDY[STUDY["updates"] < 2000]), STUDY[STUDY["updates"] == 2000]])
    assert findings.sizes_in_words(late)[shows][0].startswith("by the first checkpoint, 2,000 updates")
    both = rows((100, 0, "u00100", 100, 0.02), (100, 0, "main", 400, 0.9), (400, 0, "main", 400, 0.03))
    for table in (undefined(both), pd.concat([both[:2], undefined(both[2:])])):
        said = "No moment is common to two sizes at which it is known what is near-exact."
        assert sentences.of_equal_moments(table) == said


@pytest.mark.parametrize(
    ("position", "near_exact", "said"),
    [
        (0.7, True, "Position 0.70 between null and ceiling: near-exact by rule."),
        (0.2, False, "Position 0.20 between null and ceiling: not near-exact by rule."),
        (
            np.nan,
            pd.NA,
            "Its position is undefined, as null and ceiling cannot be told apart: neither near-exact nor not.",
        ),
    ],
)
def test_the_verdict_on_one_clip(position, near_exact, said):
    clip = {"position": position, "near_exact": near_exact, "tau": 0.5, "flagged": False, "normalised": 0.4}
    assert sentences.of_verdict(pd.Series(clip)) == f"Normalised score 0.400, τ = 0.500: not flagged. {said}"


def test_a_near_exact_pair_of_other_words_is_told_as_such_and_its_silence_too():
    clip = pd.Series({"score": 0.9962, "near_exact": True, "own_top1": False, "position": 0.8, "normalised": 0.5})
    clip["tau"], clip["flagged"] = 0.4, True
    said = plain(sentences.of_judgement(clip, "<a> romeo", "fifty", 0.79)[0])
    assert said == (
        "The similarity is 0.996, and the rule calls the pair near-exact. Yet the prompt was “<a> romeo”, and the match is “fifty”. It "
        "is not the clip that was asked for. For 79 % of the time both are silent, and silence is like silence."
    )
    assert "silent" not in sentences.of_judgement(clip, "a", "b", 0.2)[0]
    for other in ({"own_top1": True}, {"near_exact": False}, {"near_exact": pd.NA, "position": np.nan}):
        assert sentences.of_judgement(pd.Series({**clip, **other}), "a", "b", 0.9)[0] == (
            "Of the clips that this book plays, none lies nearer to its threshold: the rules decide it by a hair."
        )


def test_only_sizes_without_any_position_are_told_by_other_measures():
    assert sentences.of_undefined(STUDY) == ""
    late = pd.concat([STUDY[STUDY["n_train"] < 4000], undefined(STUDY[STUDY["n_train"] == 4000])])
    said = sentences.of_undefined(late).replace("\u00a0", " ")
    assert (
        said.startswith("After training on 4,000 clips, near-exact is undefined for 96 of 96")
        and "flagged are 30 %" in said
    )


def test_what_the_rule_misses_and_what_the_ledger_decides_is_counted():
    known = pd.DataFrame({"kind": "altered copies", "n": [100, 4500, 9000], "near_exact": [0.56, 0.5, np.nan]})
    known = pd.concat([known, known.assign(kind="twins")])
    assert plain(sentences.of_missed(known)) == (
        "Of these the rule misses 44 % after training on 100 clips and 50 % after training on 4,500 clips."
    )
    assert sentences.of_missed(known[:0]) == ""
    verdicts = ["holds", "fails", "cannot tell", "not comparable", "unknown", "unknown", "holds"]
    assert sentences.of_ledger(pd.DataFrame({"verdict": verdicts})) == (
        "Of 7 claims 3 are decided, 2 are not decided by this run, and for 2 the paper's value is unknown."
    )
    assert sentences.of_ledger(pd.DataFrame({"verdict": ["holds", "another run"]})) == (
        "Of 2 claims 1 are decided, 0 are not decided by this run, 1 is asked of another model, and for 0 the paper's value is "
        "unknown."
    )


def test_the_first_checkpoint_above_the_null_is_named():
    table = findings.sizes_in_words(STUDY)
    assert table["training clips"].tolist() == [100, 400, 4000] and set(table["updates"]) == {2000}
    assert table["copying shows, beside twins"].tolist() == [
        "between 100 and 400 updates (32 and 128 epochs)",
        "not by 2,000 updates (160 epochs)",
        "not by 2,000 updates (16 epochs)",
    ]
    assert plain(table["near-exact of the own clip"][0]) == "85 % (75 to 95)"
    assert plain(table["the same of twins"][0]) == "2 %"
    early = findings.sizes_in_words(rows((100, 0, "u00100", 100, 0.5), (100, 0, "main", 2000, 0.9)))
    assert early["copying shows, beside twins"].tolist() == ["by the first checkpoint, 100 updates (32 epochs)"]


def test_equal_epochs_are_those_that_every_size_has():
    assert "Nearly equal epochs (128 to 160)" in findings.equal_moments(STUDY)["moment"].tolist()
    both = rows((100, 0, "u00100", 100, 0.02), (100, 0, "main", 400, 0.9), (400, 0, "main", 400, 0.03))
    assert findings.equal_moments(both)["moment"].unique().tolist() == ["Equal updates (400)", "Equal epochs (32)"]
    assert sentences.of_equal_moments(both) == (
        "At equal updates, 400 clips are copied far less than 100. At equal epochs no fall shows. But by then the model of 100 clips "
        "has had only 100 of its 400 updates. A model that makes little real sound so early copies little, too. Both by log-mel."
    )
    both.loc[0, ["near_exact_rate", "near_exact_low", "near_exact_high"]] = (0.9, 0.8, 1.0)
    assert "At equal epochs, 400 clips are clearly copied less than 100." in sentences.of_equal_moments(both)


def test_machines_and_number_formats_are_told_by_run():
    def trained(cpu, vectors=(), gpu=None, precision="auto"):
        return {"machine": {"cpu": cpu, "vectors": list(vectors), "gpu": gpu}, "config": {"precision": precision}}

    old, new, card = trained("A", ["avx2"]), trained("A", ["avx2", "avx512_bf16"]), trained("B", gpu="G")
    assert sentences.of_machines({"n1_d0": old, "n2_d0": old}) == (
        "All models were trained on one kind of machine: A (float32)."
    )
    runs = {
        "n1_d0": old,
        "n1_d1": new,
        "n2_d0": new,
        "n2_d1": card,
        "n3_d0": trained("A", ["amx_bf16"], precision="no"),
    }
    assert sentences.of_machines(runs).endswith(
        "format: on A (float32) n1_d0, n3_d0; on A (bfloat16) n1_d1, n2_d0; on G (bfloat16) n2_d1."
    )


def test_quality_of_the_largest_size_is_told_by_each_embedding():
    names = ["n_train", "prompt_set", "embedding", "kid", "kid_low", "kid_high", "twins_kid", "floor_kid"]
    table = pd.DataFrame([(10, "train", "clap", 9.0, 8.0, 10.0, 9.0, 9.0), (50, "train", "clap", 0.2, 0.1, 0.3, 0.01, 0.4),
                          (50, "train", "aisfx", 0.5, 0.4, 0.6, 0.02, 0.3), (50, "heldout", "clap", 9.0, 8.0, 10.0, 9.0, 9.0)],
                         columns=names)  # fmt: skip
    table = table.assign(clap_agreement=0.5, clap_agreement_low=0.4, clap_agreement_high=0.6, silent_rate=0.0)
    told = sentences.of_quality(table.assign(silent_low=0.0, silent_high=0.02))
    assert plain(told) == (
        "Kernel distance from the clips of the model of 50 clips (first draw) to its training clips: 0.2 (0.1 to 0.3) by clap, beside "
        "0.01 for twins and 0.4 for held-out clips; 0.5 (0.4 to 0.6) by aisfx, beside 0.02 for twins and 0.3 for held-out clips. "
        "Silent clips: none (at most 2 %)."
    )
    alone = sentences.of_quality(table.assign(twins_kid=np.nan, silent_low=0.0, silent_high=0.02))
    assert "0.2 (0.1 to 0.3) by clap, beside 0.4 for held-out clips; 0.5" in plain(alone)
    assert sentences.of_quality(table[:0]).startswith("No detector here is an embedding")


def test_mel_leads_where_the_whole_difference_lies_above_0():
    rows = [
        ("twins", "clap", "own", 0.1, 0.2),
        ("twins", "clap", "own", -0.1, 0.2),
        ("twins", "aisfx", "own", -0.3, -0.1),
    ]
    rows += [("heldout", "clap", "own", -0.1, 0.1), ("twins", "clap", "none", 0.1, 0.2)]
    table = pd.DataFrame(rows, columns=["negatives", "detector", "bias", "below_mel_low", "below_mel_high"])
    table = table.assign(transform="all", below_mel=0.0)
    assert sentences.of_negatives(table) == [
        "Against **twins**, mel leads clap at 1 of 2 sizes and aisfx at 0 of 1 sizes (and is behind at 1).",
        "Against **held-out clips**, mel leads clap at 0 of 1 sizes.",
    ]
    assert sentences.of_negatives(table[:0]) == []


def test_the_relation_is_told_with_its_interval_and_what_became_of_its_prediction():
    row = {
        "exponent": 1.11,
        "exponent_low": 1.01,
        "exponent_high": 1.21,
        "sizes_fitted": "100 500",
        "n_predicted": 4500,
    }
    row |= {
        "predicted_updates": 60_289.0,
        "predicted_low": 42_204.0,
        "predicted_high": 86_123.0,
        "verdict": "undecided",
        "leave_one_out_low": np.nan,
        "leave_one_out_high": np.nan,
    }
    said = sentences.of_relation(pd.DataFrame([row | {"observed_updates": np.nan}]))
    assert "1.11 (1.01 to 1.21; sizes 100 and 500" in said and "in proportion to n is excluded" in said
    assert "Twice as many clips delay it by a factor of 2.16 (2.01 to 2.31)" in said
    assert "60,000 updates (42,000 to 86,000): no run here was trained for long enough to tell." in said
    assert said.endswith(
        "Two sizes cannot show that the growth follows a power of n at all, and luck that the runs of one size share is not in these intervals."
    )
    linear = sentences.of_relation(pd.DataFrame([row | {"exponent_low": 0.9, "observed_updates": np.nan}]))
    assert "in proportion to n is not excluded" in linear
    three = {
        "sizes_fitted": "100 200 500",
        "leave_one_out_low": 1.05,
        "leave_one_out_high": 1.2,
        "observed_updates": np.nan,
    }
    assert sentences.of_relation(pd.DataFrame([row | three])).endswith(
        "enough to tell. When one size is left out, the exponent is 1.05 to 1.20."
    )
    assert sentences.of_relation(pd.DataFrame(columns=list(row))).startswith("Too few sizes")


def test_what_follows_for_the_papers_sizes_is_an_inference_from_exponent_and_rise():
    curve = 1 / (1 + np.exp(-4 * np.log(np.array([500, 1000, 2000, 4000, 8000]) / 2000)))
    run = pd.DataFrame({"n_train": 100, "draw": 0, "updates": [500, 1000, 2000, 4000, 8000], "near_exact": curve})
    shares = pd.concat([run, run.assign(n_train=500, near_exact=run["near_exact"] / 10)]).assign(n_generated=1000)
    row = {"exponent": 1.1, "exponent_low": 1.0, "exponent_high": 1.2}
    said = sentences.of_papers_sizes(pd.DataFrame([row]), shares)
    assert "5.9 times as late (5.0 to 6.9)" in said and "come after 1.2 times the epochs (1.0 to 1.4)" in said
    steep = f"{81**0.25 * (19 / 9) ** 0.25:.1f}"  # from odds of 1 : 19 to 9 : 1
    assert f"a model of 100 clips needs {steep} to {steep} times" in said
    assert "updates could give such a fall, and equal epochs could not." in said
    slow = pd.concat([shares, run.assign(n_train=1000, near_exact=run["near_exact"] / 2, n_generated=1000)])
    told = sentences.of_papers_sizes(pd.DataFrame([row | {"verdict": "refuted", "n_predicted": 4500}]), slow)
    assert (
        "With 1,000 clips the share did not reach 90 % before training ended. So equal updates may or may not" in told
    )
    assert told.endswith("And here the exponent failed its own test, at 4,500 clips.")
    wide = sentences.of_papers_sizes(pd.DataFrame([row | {"exponent_low": 0.1, "exponent_high": 3}]), shares)
    assert "updates may or may not give such a fall, and equal epochs may or may not." in wide
    none = shares.assign(near_exact=0.0)
    assert sentences.of_papers_sizes(pd.DataFrame([row]), none).startswith("Too few models")


def test_departures_from_tango_follow_from_the_settings():
    from helpers.sound.profiles import load_profile

    paper, tango = map(load_profile, ("paper", "tango"))
    said = sentences.of_departures(THREE_SIZES, THREE_SIZES.training, 2_000_000)
    assert said == (
        "Here the network is 433 times smaller, the text encoder is MiniLM, the number of updates is the same at every "
        "size, weights are averaged (EMA) and some captions are dropped, so that the model also learns the empty prompt, which guidance needs."
    )
    said = sentences.of_departures(paper, paper.training, 866_000_000)
    assert said == "Here the number of updates is the same at every size."
    assert "MiniLM" not in said and "not trained but loaded" in sentences.of_departures(
        tango, tango.training, 866_000_000
    )


def test_a_file_to_download_is_called_by_the_first_whole_words_of_its_caption():
    assert words.file_stem("Heat maps of the area under the ROC curve") == "heat-maps-of-the-area-under-the-roc"
    assert words.file_stem("<b>: ?") == "b" and words.file_stem("?") == "table" and len(words.file_stem("x" * 60)) == 40
