"""What prevents copying, from the published runs of a study and of those that change one thing in it."""

from pathlib import Path

import pandas as pd

from helpers.base.paths import RESULTS
from helpers.base.profile import Profile
from helpers.book.tables import arrange, captioned
from helpers.book.words import limits, listed, share_text, shares, with_interval
from helpers.copies.conclusions.prevention import (
    COLUMNS,
    at_equal_quality,
    judge_made,
    own_scores,
    replayed_by_one,
    stopped_early,
    trajectories,
)
from helpers.copies.pooled import published_nulls, twins_and_ceiling
from helpers.copies.published import of_all_runs
from helpers.copies.rates import flagged_rate
from helpers.sound.corpus import subset
from helpers.sound.profiles import load_profile

CHANGED = ("pocket_capped", "pocket_captions", "pocket_mixing")  # profiles that change one thing of `pocket`
STUDY, EARLY, TWINS = "unchanged", "early stopping", "twins"
DETECTORS = {"mel": "log-mel", "aisfx": "aisfx"}  # in words; the second judges what the limit steers by likeness


def all_trajectories(study: Profile, results: Path = RESULTS) -> pd.DataFrame:
    """`copies.conclusions.prevention.trajectories` of the study's runs, as far as changed studies have the same size, and of all changed
    ones that are published."""
    null, parts = of_all_runs(results / study.name, "retrieval", "null.parquet"), [pd.DataFrame(columns=[*COLUMNS])]
    for name in (study.name, *CHANGED):
        profile = study if name == study.name else load_profile(name)
        made, quality = own_scores(results / name, profile), _tables(results / name, "quality")
        made = made[made["detector"].isin(list(DETECTORS))]
        if len(made) and len(quality):
            losses = _tables(results / name, "loss_gap")
            parts.append(trajectories(made, null, quality, losses, profile.intervention or STUDY, profile))
    table = pd.concat(parts[1:] or parts, ignore_index=True).dropna(subset="kid")
    return table[table["n_train"].isin(sizes())].reset_index(drop=True)


def all_clips(study: Profile, results: Path = RESULTS) -> pd.DataFrame:
    """`copies.conclusions.prevention.judge_made` of the same runs and of twins, by log-mel: a row a clip, with `intervention` and
    `of_its_set`."""
    null, parts = of_all_runs(results / study.name, "retrieval", "null.parquet"), []
    for name in (study.name, *CHANGED):
        profile = study if name == study.name else load_profile(name)
        made = own_scores(results / name, profile)
        made = made[(made["detector"] == "mel") & made["n_train"].isin(sizes())]
        parts.append(judge_made(made, null, profile).assign(intervention=profile.intervention or STUDY))
    twins = twins_and_ceiling(null, "mel")[0]
    parts.append(twins[twins["n_train"].isin(sizes())].assign(intervention=TWINS, updates=0))
    clips = pd.concat(parts, ignore_index=True)
    return clips.assign(of_its_set=_of_its_set(clips, study, results))


def _of_its_set(clips: pd.DataFrame, study: Profile, results: Path) -> pd.Series:
    """Whether the nearest clip, of all that were searched, is one that the clip's model was trained on."""
    corpus = pd.read_parquet(results / study.name / "clips.parquet").query("split == 'train'")
    known = pd.Series(False, clips.index)
    for (n_train, draw), part in clips.groupby(["n_train", "draw"]):
        learned = corpus["clip_id"].iloc[subset(study.training_run(n_train, draw), len(corpus))]
        known[part.index] = part["ref_id"].isin(learned)
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
        "read at": [f"draw {row.draw}, {row.updates:,.0f} updates" for row in rows.itertuples()],
        "held-out KID": with_interval(rows.round(2), "kid", "kid_low", "kid_high", percent=False),
        "caption agreement": rows["caption_agreement"].map("{:.2f}".format), "near-exact": share,
    }  # fmt: skip
    if set(beside) <= set(rows):  # of changed runs
        columns["unchanged, at the first checkpoint as good"] = shares(rows, *beside)
    caption = f"What is changed, and the share of prompts that bring back a near-exact copy, by {DETECTORS[detector]}."
    shown = arrange(rows, columns, caption)
    last = dict.fromkeys(shown, "–") | {"change": "twins: no copies", "near-exact": twins}
    return captioned(pd.concat([shown, pd.DataFrame([last])], ignore_index=True), caption)


def twins_in_words(study: Profile, detector: str) -> str:
    """The share of the study's twins, at the size of the changed studies, that counts as near-exact though none is a copy."""
    nulls = published_nulls(RESULTS / study.name, study, detector)
    twins = nulls[(nulls["kind"] == "twins") & nulls["n_train"].isin(sizes())]
    return ", ".join(shares(twins, *limits("own_near_exact_rate")))


def sentences(table: pd.DataFrame, clips: pd.DataFrame | None = None, detector: str = "mel") -> list[str]:
    """A sentence a change: its shares and the KID at which they are read, draw by draw; last, what follows so far.

    `clips` of `all_clips`: with them, prompts that only one of two models replays are told.
    """
    told, last, helping = [], at_the_end(table, detector), []
    rows_of = dict([*compared(table, detector).groupby("intervention", sort=False)])
    for name, rows in rows_of.items():
        here, quality = _listed(rows["own_near_exact_rate"]), f"(held-out KID {_kids(rows['kid'])})"
        end, after = last[last["intervention"] == name], ""
        if len(end):  # early stopping has no end of its own
            after = f"After the last update: {_listed(end['own_near_exact_rate'])} (KID {_kids(end['kid'])})."
        if name == EARLY:
            told.append(f"**{EARLY.capitalize()}**, where the loss on held-out clips is lowest {quality}: {here}.")
        elif name == STUDY:
            told.append(
                f"**{STUDY.capitalize()}**, where held-out clips sound best {quality}: {here} of the prompts bring back a near-exact "
                f"copy, a number a draw. {after}"
            )
        else:
            paired = _with_study(rows, rows_of[STUDY])
            first, overlap, others = paired["study_own_near_exact_rate"], "", ""
            beside = f"the unchanged model never sounds as good, and where it sounds best it is {_listed(first)}"
            if rows["study_own_near_exact_rate"].notna().any():
                beside = f"the unchanged model, when it first sounds as good, {_listed(first)}"
            if _overlap(paired):
                overlap = " The intervals overlap." + _one_by_one(rows, clips)
            elif (paired["own_near_exact_rate"] < first).all():
                helping.append(f"{name} ({len(rows)} draw{'s' * (len(rows) > 1)})")
                others = _others_instead(rows, clips)
            told.append(
                f"**{name.capitalize()}**, where its held-out clips sound best {quality}: {here}; {beside}.{overlap} "
                f"{_obeying(paired)}{others} {after}"
            )
    if any(name not in (STUDY, EARLY) for name in rows_of):
        told.append(
            f"**So far**, fewer prompts are replayed at equal quality with {listed(helping)}. KID does not see how well a clip follows "
            "its prompt; the agreement does."
            if helping
            else "**So far**, no change is shown to prevent copying at equal quality."
        )
    return told


def _with_study(rows: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """The runs of one change (`at_equal_quality`); where the study never is as good, beside it where it is best, same draw."""
    best = study.set_index(["n_train", "draw"]).reindex(pd.MultiIndex.from_frame(rows[["n_train", "draw"]]))
    known = {name: best[name.removeprefix("study_")].to_numpy() for name in rows if name.startswith("study_")}
    return rows.fillna(pd.DataFrame(known, index=rows.index))


def _obeying(paired: pd.DataFrame) -> str:
    """How well clips of held-out prompts agree with them, by CLAP, changed and unchanged."""
    changed, study = (listed([*map("{:.2f}".format, paired[f"{of}caption_agreement"])]) for of in ("", "study_"))
    return f"There its clips agree with their captions by {changed} (CLAP's cosine), those of the unchanged model by {study}."


def _others_instead(rows: pd.DataFrame, clips: pd.DataFrame | None) -> str:
    """Whether a change that brings back fewer clips of the prompts brings back others of the training set in their place."""
    if clips is None:
        return ""
    told, known = [], {}
    for row in rows.itertuples():
        run = clips[(clips["n_train"] == row.n_train) & (clips["draw"] == row.draw)]
        for name in (row.intervention, TWINS, STUDY):
            last = run[run["intervention"] == name]
            known[name] = flagged_rate(last.loc[last["updates"] == last["updates"].max(), "of_its_set"], 0.95)
        shown = [share_text(rate.rate, rate.low, rate.high) for rate in known.values()]
        some = (
            "It may bring back other training clips instead:"
            if known[row.intervention].low > known[TWINS].high
            else "Nor does it bring back other training clips instead:"
        )
        told.append(
            f"{some} after the last update {shown[0]} of its clips are nearest to one of its {row.n_train:,} training clips, of all "
            f"that are searched; of twins {shown[1]}, of the unchanged model {shown[2]}; exploratory."
        )
    return " " + " ".join(told)


def _one_by_one(rows: pd.DataFrame, clips: pd.DataFrame | None) -> str:
    """Of the runs of one change (`at_equal_quality`), how many of the prompts that only one of both models replays are whose."""
    told = []
    for row in rows.dropna(subset="study_updates").itertuples() if clips is not None else ():
        run = clips[(clips["n_train"] == row.n_train) & (clips["draw"] == row.draw)]
        ours, theirs = (
            run[(run["intervention"] == name) & (run["updates"] == updates)]
            for name, updates in ((row.intervention, row.updates), (STUDY, row.study_updates))
        )
        only, without, p = replayed_by_one(ours, theirs)
        told.append(
            f"{only} come back only with the change, {without} only without it (McNemar's exact test: p {p:.2g})"
        )
    return f" Prompt by prompt, {listed(told)}; exploratory." if told else ""


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
    return listed([*map(share_text, rates)])


def _kids(values: pd.Series) -> str:
    return listed([*map("{:.3f}".format, values)])
