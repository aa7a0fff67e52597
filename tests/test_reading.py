"""The study in words: each sentence says what its table, made by hand, says."""

import pandas as pd

from helpers import reading

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
    small, middle, large = map(plain, reading.of_sizes(STUDY))
    assert small == "After training on 100 clips, near-exact are 85 % (75 to 95): more than of twins (2 %)."
    assert middle.endswith("5 % (0 to 10): not clearly more than of twins (2 %).")
    assert large.endswith("no more than of twins (2 %), so the share is no sign of copying.")


def test_the_first_checkpoint_above_the_null_is_named():
    small, middle, large = map(plain, reading.of_onset(STUDY))
    assert small == "With 100 clips copying begins between 100 and 400 updates, 32 and 128 epochs."
    assert middle == "With 400 clips it does not begin within 2,000 updates, 160 epochs."
    assert large == "With 4,000 clips it does not begin within 2,000 updates, 16 epochs."
    early = reading.of_onset(rows((100, 0, "u00100", 100, 0.5), (100, 0, "main", 2000, 0.9)))
    assert plain(early[0]) == "With 100 clips copying begins by the first checkpoint, 100 updates, 32 epochs."


def test_two_sizes_are_compared_after_as_many_epochs():
    assert plain(reading.of_epochs(STUDY)) == (
        "After about as many epochs, 128 and 160, near-exact are 50 % (45 to 55) with 100 clips and 5 % (0 to 10) with 400, "
        "though these had 5.0 times the updates."
    )
    assert reading.of_epochs(STUDY[STUDY["n_train"] == 100]) == ""


def test_machines_and_number_formats_are_counted():
    def trained(cpu, vectors=(), gpu=None, precision="auto"):
        return {"machine": {"cpu": cpu, "vectors": list(vectors), "gpu": gpu}, "config": {"precision": precision}}

    old, new, card = trained("A", ["avx2"]), trained("A", ["avx2", "avx512_bf16"]), trained("B", gpu="G")
    assert reading.of_machines([old, old]) == "All models were trained on one kind of machine: A (float32)."
    assert reading.of_machines([old, new, new, card, trained("A", ["amx_bf16"], precision="no")]) == (
        "The 5 models were trained, by processor and number format: 2 on A (bfloat16), 2 on A (float32), "
        "1 on G (bfloat16)."
    )
