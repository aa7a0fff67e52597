"""What prevents copying, from the published runs of a study and of those that change one thing in it."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.base.paths import RESULTS
from helpers.base.profile import Profile
from helpers.book.tables import arrange, captioned
from helpers.book.words import limits, listed, share_text, shares
from helpers.copies.conclusions.prevention import (
    COLUMNS,
    at_equal_quality,
    judge_made,
    own_scores,
    replayed_by_one,
    stopped_early,
    trajectories,
)
from helpers.copies.pooled import of_all_runs, published_nulls, twins_and_ceiling
from helpers.copies.rates import flagged_rate
from helpers.sound.corpus import subset
from helpers.sound.profiles import load_profile

CHANGED = ("pocket_capped", "pocket_captions", "pocket_mixing")  # profiles that change one thing of `pocket`
STUDY, EARLY, TWINS = "unchanged", "early stopping", "twins"
CONFIDENCE = 0.95  # of intervals that are made here, as of all others
DETECTORS = {"mel": "log-mel", "aisfx": "aisfx"}  # in words; the second judges what the limit steers by likeness


def all_trajectories(study: Profile, results: Path = RESULTS) -> pd.DataFrame:
    """`copies.conclusions.prevention.trajectories` of the study's runs, as far as changed studies have the same size, and of all changed
    ones that are published."""
    null, parts = of_all_runs(results / study.name, "retrieval", "null.parquet"), [pd.DataFrame(columns=[*COLUMNS])]
    for profile in (study, *map(load_profile, CHANGED)):
        folder = results / profile.name
        made, quality = own_scores(folder, profile), _tables(folder, "quality")
        made = made[made["detector"].isin(list(DETECTORS))]
        if len(made) and len(quality):
            losses = _tables(folder, "loss_gap")
            parts.append(trajectories(made, null, quality, losses, profile.intervention or STUDY, profile))
    table = pd.concat(parts[1:] or parts, ignore_index=True).dropna(subset="kid")
    return table[table["n_train"].isin(sizes())].reset_index(drop=True)


def all_clips(study: Profile, results: Path = RESULTS) -> pd.DataFrame:
    """`copies.conclusions.prevention.judge_made` of the same runs and of twins, by log-mel: a row a clip, with `intervention` and
    `another`."""
    null, parts = of_all_runs(results / study.name, "retrieval", "null.parquet"), []
    for profile in (study, *map(load_profile, CHANGED)):
        made = own_scores(results / profile.name, profile)
        made = made[(made["detector"] == "mel") & made["n_train"].isin(sizes())]
        parts.append(judge_made(made, null, profile).assign(intervention=profile.intervention or STUDY))
    twins = twins_and_ceiling(null, "mel")[0]
    parts.append(twins[twins["n_train"].isin(sizes())].assign(intervention=TWINS, updates=0))
    clips = pd.concat(parts, ignore_index=True)
    return clips.assign(another=_another(clips, study, results))


def all_agreements(results: Path = RESULTS) -> pd.DataFrame:
    """agreement.csv of the changed studies that published it, with `intervention`."""
    parts = [
        of_all_runs(results / name, "agreement", "agreement.csv").assign(intervention=load_profile(name).intervention)
        for name in CHANGED
    ]
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _another(clips: pd.DataFrame, study: Profile, results: Path) -> pd.Series:
    """Whether the nearest clip, of all that were searched, is one that the clip's model was trained on, but not the prompt's."""
    corpus = pd.read_parquet(results / study.name / "clips.parquet").query("split == 'train'")
    known = pd.Series(False, clips.index)
    for (n_train, draw), part in clips.groupby(["n_train", "draw"]):
        learned = corpus["clip_id"].iloc[subset(study.training_run(n_train, draw), len(corpus))]
        known[part.index] = part["ref_id"].isin(learned) & (part["ref_id"] != part["own_id"])
    return known


def sizes() -> tuple[int, ...]:
    """Of the changed studies."""
    return load_profile(CHANGED[0]).sizes


def _tables(folder: Path, name: str) -> pd.DataFrame:
    table = of_all_runs(folder, name, f"{name}.csv")
    return table if len(table) else pd.DataFrame(columns=["n_train", "draw", "updates", "held_out"])


def compared(table: pd.DataFrame, detector: str = "mel") -> pd.DataFrame:
    """A row a run: the study and every changed one where its held-out clips are best, and the study stopped early."""
    study, changed = table[table["intervention"] == STUDY], table[table["intervention"] != STUDY]
    best = at_equal_quality(study, study, detector)
    early = stopped_early(study, detector).assign(intervention=EARLY)
    alone = best[[name for name in best if not name.startswith("study_")]]
    return pd.concat([alone, early, at_equal_quality(changed, study, detector)], ignore_index=True)


def in_words(rows: pd.DataFrame, detector: str, twins: str) -> pd.DataFrame:
    """`compared` as it is shown, and below it the share of `twins` that counts as near-exact by the same rule."""
    share, beside = limits("own_near_exact_rate"), [f"study_{name}" for name in limits("own_near_exact_rate")]
    columns = {
        "change": "intervention",
        "draw": rows["draw"].map(str), "read at, updates": rows["updates"].map("{:,.0f}".format),
        "KID": rows["kid"].map("{:.2f}".format), "CLAP": rows["caption_agreement"].map("{:.2f}".format), "near-exact": share,
    }  # fmt: skip
    if set(beside) <= set(rows):  # of changed runs
        columns["unchanged, when as good"] = shares(rows, *beside)
    caption = (
        f"What is changed, and the share of prompts that are replayed, by {DETECTORS[detector]}; "
        "held-out KID, and agreement with captions (CLAP)."
    )
    shown = arrange(rows, columns, caption)
    last = dict.fromkeys(shown, "–") | {"change": "twins: no copies", "near-exact": twins}
    return captioned(pd.concat([shown, pd.DataFrame([last])], ignore_index=True), caption)


def twins_in_words(study: Profile, detector: str) -> str:
    """`twins_share` with its interval, a size after another."""
    return ", ".join(shares(_twins(study, detector), *limits("own_near_exact_rate")))


def twins_share(study: Profile, detector: str) -> float:
    """The share of the study's twins, at the size of the changed studies, that counts as near-exact though none is a copy."""
    return float(_twins(study, detector)["own_near_exact_rate"].mean())


def _twins(study: Profile, detector: str) -> pd.DataFrame:
    nulls = published_nulls(RESULTS / study.name, study, detector)
    return nulls[(nulls["kind"] == "twins") & nulls["n_train"].isin(sizes())]


def sentences(
    table: pd.DataFrame,
    clips: pd.DataFrame | None = None,
    agreements: pd.DataFrame | None = None,
    detector: str = "mel",
) -> list[str]:
    """A sentence a change, with more below it as a Markdown list: its shares and the KID at which they are read, draw by draw; last,
    what follows so far.

    `clips` of `all_clips`: with them, prompts that only one of two models replays are told. `agreements` of `all_agreements`:
    with them, what an agreement of clips and captions means.
    """
    told, last, helping = [], at_the_end(table, detector), []
    rows_of = dict([*compared(table, detector).groupby("intervention", sort=False)])
    for name, rows in rows_of.items():
        here, quality = _listed(rows["own_near_exact_rate"]), f"(held-out KID {_kids(rows['kid'])})"
        end, after = last[last["intervention"] == name], ""
        if len(end):  # early stopping has no end of its own
            after = f"After the last update: {_listed(end['own_near_exact_rate'])}."
        if name == EARLY:
            told.append(f"**{EARLY.capitalize()}**, where the loss on held-out clips is lowest {quality}: {here}.")
        elif name == STUDY:
            told.append(
                f"**{STUDY.capitalize()}**, where clips of held-out prompts are nearest to real sound {quality}: {here} of the prompts are "
                f"replayed, one number for each draw. {after}"
            )
        else:
            first, overlap, others = rows["study_own_near_exact_rate"], "", ""
            beside = "the unchanged model never has so low a KID"
            if first.notna().any():
                beside = f"the unchanged model, when its KID is first as low, {_listed(first)}"
                if _overlap(rows):
                    overlap = " The intervals overlap."
                elif (rows["own_near_exact_rate"] < first).all():
                    helping.append(f"{name} ({len(rows)} draw{'s' * (len(rows) > 1)})")
                    others = _others(rows, clips)
            told.append(
                f"**{name.capitalize()}**, where its clips of held-out prompts are nearest to real sound {quality}: {here}; {beside}.{overlap}"
                + "".join(
                    f"\n  - {part}"
                    for part in (
                        f"{after}{others}",
                        _beside_baseline(rows, rows_of.get(EARLY)),
                        _one_by_one(rows, clips),
                        _obeying(rows, agreements),
                    )
                    if part
                )
            )
    if any(name not in (STUDY, EARLY) for name in rows_of):
        told.append(
            f"**So far**, by log-mel, fewer prompts are replayed at equal quality with {listed(helping)}. KID does not see how well a clip follows "
            "its prompt; the agreement does. What a change does beside early stopping, the baseline of the plan, is told below."
            if helping
            else "**So far**, no change is shown to prevent copying at equal quality."
        )
    return told


def second_judge(table: pd.DataFrame, study: Profile, detector: str = "aisfx") -> str:
    """What another detector says of the changed runs and of the unchanged ones beside them; "" where there are none."""
    rows = compared(table, detector)
    if "study_updates" not in rows or rows["study_updates"].isna().all():
        return ""
    parts = [
        f"{_listed(part['own_near_exact_rate'])} with {name} instead of {_listed(part['study_own_near_exact_rate'])}"
        + (", and the intervals overlap" if _overlap(part) else ", and no intervals overlap")
        for name, part in rows.dropna(subset="study_updates").groupby("intervention", sort=False)
    ]
    nulls = published_nulls(RESULTS / study.name, study, detector)
    nulls = nulls[nulls["n_train"].isin(sizes())].set_index("kind")
    twins, foreign = (
        ", ".join(shares(nulls.loc[[kind]], *limits("own_near_exact_rate"))) for kind in ("twins", "other draw")
    )
    told = (
        f"By {DETECTORS[detector]}, at the same checkpoints: {'; '.join(parts)}. Twins reach {twins}, but clips that unchanged models "
        f"make for captions that they never met, {foreign}."
    )
    begun = rows["study_own_near_exact_low"].max() > nulls.loc["twins", "own_near_exact_high"]
    return told if begun else f"{told} So beside twins the unchanged models show no sign of copying there."


def _beside_baseline(rows: pd.DataFrame, early: pd.DataFrame | None) -> str:
    """Whether a change is better than early stopping, the plan's baseline, of the same training clips."""
    if early is None or not len(both := rows.merge(early, on=["n_train", "draw"], suffixes=("", "_early"))):
        return ""
    rate, low, high = limits("own_near_exact_rate")
    over = ((both[low] <= both[f"{high}_early"]) & (both[f"{low}_early"] <= both[high])).any()
    less = both[rate] < both[f"{rate}_early"]
    better = "fewer" if less.all() else "in some draws fewer, in others more" if less.any() else "more"
    return (
        f"Early stopping of the same draws: {_listed(both[f'{rate}_early'])} (held-out KID {_kids(both['kid_early'])}). "
        + (
            "The intervals overlap."
            if over
            else f"The intervals do not overlap: with the change {better} prompts are replayed."
        )
    )


def _obeying(rows: pd.DataFrame, agreements: pd.DataFrame | None) -> str:
    """How well clips of held-out prompts agree with them, by CLAP, changed and unchanged, and on which scale."""
    changed, study = (listed([*map("{:.2f}".format, rows[f"{of}caption_agreement"].dropna())]) for of in ("", "study_"))
    beside = f", those of the unchanged model by {study}" if study else ""
    return f"Of held-out prompts, its clips agree with their captions by {changed} (CLAP's cosine){beside}.{_scale(rows, agreements)}"


def _scale(rows: pd.DataFrame, agreements: pd.DataFrame | None) -> str:
    """What clips that ignore their captions would reach, of the runs whose agreement was measured so, and what recorded clips do."""
    if agreements is None or not len(agreements):
        return ""
    run = ["intervention", "n_train", "draw"]
    made = rows[[*run, "updates"]].merge(agreements[agreements["kind"] == "generated"], on=[*run, "updates"])
    real = rows[run].merge(agreements[agreements["kind"] == "recorded"], on=run)
    if not len(made):
        return ""
    columns = {"made": made["another"], "own": real["own"], "another": real["another"]}
    numbers = {name: _once(map("{:.2f}".format, column)) for name, column in columns.items()}
    return (
        f" With the captions of other clips the changed model's agree by {numbers['made']}. Recorded held-out clips (more of them) agree "
        f"with their own by {numbers['own']}, with others' by {numbers['another']}."
    )


def _others(rows: pd.DataFrame, clips: pd.DataFrame | None) -> str:
    """Whether a change brings back training clips other than that of the prompt, after the last update: draws alike together."""
    told: dict[str, list[tuple[str, ...]]] = {}
    for row in rows.itertuples() if clips is not None else ():
        run = clips[(clips["n_train"] == row.n_train) & (clips["draw"] == row.draw)]
        rates = {}
        for name in (row.intervention, TWINS):
            last = run[run["intervention"] == name]
            rates[name] = flagged_rate(last.loc[last["updates"] == last["updates"].max(), "another"], CONFIDENCE)
        ours, twins = rates.values()
        sign = "Others may be replayed" if ours.low > twins.high else "There is no sign that others are replayed"
        told.setdefault(sign, []).append(tuple(share_text(one.rate, one.low, one.high) for one in (ours, twins)))
    lines = [
        f"{sign}: {listed([ours for ours, _ in shares])} of its last clips are nearest to another clip of its training set than the "
        f"prompt's, of twins {listed([twins for _, twins in shares])}; exploratory."
        for sign, shares in told.items()
    ]
    return " ".join(["", *lines])


def _one_by_one(rows: pd.DataFrame, clips: pd.DataFrame | None) -> str:
    """Of the runs of one change (`at_equal_quality`), how many of the prompts that only one of both models replays are whose."""
    told: list[tuple[str, ...]] = []
    for row in rows.dropna(subset="study_updates").itertuples() if clips is not None else ():
        run = clips[(clips["n_train"] == row.n_train) & (clips["draw"] == row.draw)]
        ours, theirs = (
            run[(run["intervention"] == name) & (run["updates"] == updates)]
            for name, updates in ((row.intervention, row.updates), (STUDY, row.study_updates))
        )
        only, without, p = replayed_by_one(ours, theirs)
        told.append((str(only), str(without), "below 0.001" if p < 0.001 else f"{p:.2g}"))
    if not told:
        return ""
    only, without, chance = map(_once, zip(*told))
    return (
        f"Prompt by prompt, {only} {'is' if only == '1' else 'are'} replayed only with the change, {without} only without it (McNemar's exact "
        f"test: p {chance}); exploratory."
    )


def _once(texts: Iterable[str]) -> str:
    """Each draw's text, or one for all draws where they are the same."""
    texts = list(texts)
    return texts[0] if len(set(texts)) == 1 else listed(texts)


def _overlap(rows: pd.DataFrame) -> bool:
    """Whether in any draw the interval of a change reaches into that of the study at equal quality."""
    _, low, high = limits("own_near_exact_rate")
    return bool(((rows[low] <= rows[f"study_{high}"]) & (rows[f"study_{low}"] <= rows[high])).any())


def at_the_end(table: pd.DataFrame, detector: str = "mel") -> pd.DataFrame:
    """The rows after the last update of each run."""
    rows = table[table["detector"] == detector]
    return rows[rows["updates"] == rows.groupby(["intervention", "n_train", "draw"])["updates"].transform("max")]


def _listed(rates: pd.Series) -> str:
    """ "11 % and 12 %", a draw each."""
    return listed(["never" if pd.isna(rate) else share_text(rate) for rate in rates])


def _kids(values: pd.Series) -> str:
    return listed([*map("{:.3f}".format, values)])
