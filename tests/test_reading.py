"""The study in words: each sentence says what its table, made by hand, says."""

import pandas as pd

from helpers.book import sentences

COLUMNS = ["n_train", "draw", "arm", "updates", "epochs"]
SHARES = ["near_exact_rate", "near_exact_low", "near_exact_high"]


def rows(*given):
    """Rows of (n_train, draw, arm, updates, near-exact share); 32 clips an update, half a width of 0.05, the null at 0.02."""
    table = pd.DataFrame([(n, d, arm, u, 32 * u / n, s, s - 0.05, s + 0.05) for n, d, arm, u, s in given])
    table.columns = COLUMNS + SHARES
    return table.assign(null_near_exact_rate=0.02, null_near_exact_low=0.0, null_near_exact_high=0.04)


STUDY = rows(
    (100, 0, "u00100", 100, 0.0), (100, 0, "u00400", 400, 0.5), (100, 0, "main", 2000, 0.9), (100, 1, "main", 2000, 0.8),
    (400, 0, "u00100", 100, 0.0), (400, 0, "u00400", 400, 0.01), (400, 0, "main", 2000, 0.05), (400, 0, "raw", 2000, 0.99),
    (4000, 0, "main", 2000, 0.02),
)  # fmt: skip


def plain(text):
    return text.replace("\u00a0", " ").replace("**", "")


def test_each_size_stands_beside_the_null():
    small, middle, large = map(plain, sentences.of_sizes(STUDY))
    assert (
        small
        == "After training on 100 clips, 85 % (75 to 95) of what is generated is near-exact, more than of twins (2 %)."
    )
    assert middle.endswith("5 % (0 to 10) of what is generated is near-exact, not clearly more than of twins (2 %).")
    assert large.endswith("no more than of twins (2 %), so the share is no sign of copying.")


def test_the_first_checkpoint_above_the_null_is_named():
    small, middle, large = map(plain, sentences.of_onset(STUDY))
    assert small == "With 100 clips copying begins between 100 and 400 updates, 32 and 128 epochs."
    assert middle == "With 400 clips it does not begin within 2,000 updates, 160 epochs."
    assert large == "With 4,000 clips it does not begin within 2,000 updates, 16 epochs."
    early = sentences.of_onset(rows((100, 0, "u00100", 100, 0.5), (100, 0, "main", 2000, 0.9)))
    assert plain(early[0]) == "With 100 clips copying begins by the first checkpoint, 100 updates, 32 epochs."


def test_two_sizes_are_compared_after_as_many_epochs():
    assert list(map(plain, sentences.of_epochs(STUDY))) == [
        "After about as many epochs with 100 and 400 clips: 32 and 32: none (at most 5 %) and 1 % (-4 to 6); "
        "128 and 160: 50 % (45 to 55) and 5 % (0 to 10)."
    ]
    assert sentences.of_epochs(STUDY[STUDY["n_train"] == 100]) == []


def test_equal_epochs_are_those_that_every_size_has():
    assert sentences.of_equal_epochs(STUDY) == "No number of epochs is common to all sizes here."
    both = rows((100, 0, "u00100", 100, 0.02), (100, 0, "main", 400, 0.9), (400, 0, "main", 400, 0.03))
    assert plain(sentences.of_equal_epochs(both)) == (
        "At equal epochs, 32, near-exact are 2 % (-3 to 7) with 100 clips, 3 % (-2 to 8) with 400 clips: no fall shows there. "
        "But with 100 clips these are only 100 of 400 updates, and a model that makes little real sound yet copies little."
    )
    both.loc[0, ["near_exact_rate", "near_exact_low", "near_exact_high"]] = (0.9, 0.8, 1.0)
    assert plain(sentences.of_equal_epochs(both)).endswith("3 % (-2 to 8) with 400 clips: it falls there too.")


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
    words = sentences.of_quality(table.assign(silent_low=0.0, silent_high=0.02))
    assert words["distances"] == (
        "by clap at 0.2 (0.1 to 0.3), where twins stand at 0.01 and held-out clips at 0.4; "
        "by aisfx at 0.5 (0.4 to 0.6), where twins stand at 0.02 and held-out clips at 0.3"
    )
    assert words["n_large"] == "50" and words["caption_agreement"] == "0.5 (0.4 to 0.6)"
    assert plain(words["silent"]) == "none (at most 2 %)"
    assert set(sentences.of_quality(table[:0]).values()) == {"unknown"}
