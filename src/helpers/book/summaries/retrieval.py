"""Tables of quality and of the detectors.

Notebook: 05_retrieval.
"""

from collections.abc import Iterable

import pandas as pd

from helpers.base.profile import Profile
from helpers.book.summaries.rows import is_checkpoint
from helpers.book.tables import arrange, captioned
from helpers.book.words import limits, plain, with_interval
from helpers.models import aisfx
from helpers.sound.transforms import TRANSFORMS
from helpers.study import publication, registry

NEGATIVES = {"twins": "twins", "same_bed": "same bed, other events", "heldout": "held-out clips"}


def quality_by_updates(quality: pd.DataFrame) -> pd.DataFrame:
    """The rows of every checkpoint, and those of held-out prompts at the last."""
    return quality[is_checkpoint(quality) | (quality["prompt_set"] == "heldout")]


def kernel_distances(rows: pd.DataFrame) -> pd.DataFrame:
    """Kernel distances with their intervals beside those of twins and of held-out clips, from rows of quality.csv."""
    distance = with_interval(rows, *limits("kid"), percent=False)
    columns = _asked(rows) | {"embedding": "embedding", "kernel distance": distance}
    columns |= {"of twins": plain(rows["twins_kid"]), "of held-out clips": plain(rows["floor_kid"])}
    return arrange(rows, columns, "Kernel distance at the last checkpoint, first draw, with 95 % intervals.")


def sound_of_clips(rows: pd.DataFrame) -> pd.DataFrame:
    """Caption agreement of the same clips, and the silent and turned-down ones, which are alike for every embedding."""
    rows = rows.drop_duplicates(["n_train", "prompt_set"])
    agreement = with_interval(rows, *limits("clap_agreement"), percent=False)
    columns = _asked(rows) | {"caption agreement": agreement}
    columns |= {"of real captions": plain(rows["real_agreement"]), "silent": limits("silent_rate")}
    columns |= {"turned down": plain(rows["clipped_rate"], ".0%")}
    return arrange(rows, columns, "Caption agreement of the same clips, and the silent and turned-down ones.")


def _asked(rows: pd.DataFrame) -> dict:
    return {"n": "n_train", "prompts": rows["prompt_set"].replace({"train": "training", "heldout": "held-out"})}


def winners(detection: pd.DataFrame) -> pd.DataFrame:
    """The table of `best_detectors` as it is shown."""
    best = best_detectors(detection)
    columns = {"alteration": best["transform"].str.replace("_", " "), "strength": "strength"}
    for place in [place for place in ("best", "second") if place in best]:
        columns_of_area = [f"{place}_{end}" for end in ("auroc", "low", "high")]
        columns |= {place: place, f"AUROC, {place}": with_interval(best, *columns_of_area, percent=False)}
    sizes = f"{detection['n_pos'].iloc[0]} copies, {detection['n_neg'].iloc[0]} held-out clips each"
    caption = f"The two best detectors for each alteration at its strongest ({sizes}; bootstrap intervals over source groups; "
    caption += f"ties in the profile's order). Units of strength: {strengths_in_words(best['transform'])}."
    return arrange(best, columns, caption, {"strength": "g"})


def all_areas(detection: pd.DataFrame) -> pd.DataFrame:
    """Areas under the ROC curve of every alteration, strength and detector, with their intervals."""
    area = with_interval(detection, *limits("auroc"), percent=False)
    columns = {"detector": "detector", "alteration": detection["transform"].str.replace("_", " ")}
    columns |= {"strength": "strength", "AUROC": area, "average precision": "average_precision"}
    formats = {"strength": "g", "average precision": ".3f"}
    return arrange(detection, columns, "Every alteration and detector, with 95 % intervals.", formats)


def with_second_opinion(detection: pd.DataFrame, profile: Profile) -> tuple[pd.DataFrame | None, str]:
    """`detection` with the rows of the optional detector after the others; or None, and a sentence that says why."""
    if aisfx.NAME in profile.retrieval.detectors:
        return (
            None,
            "This profile uses it in every search, so it is in all figures that compare detectors.",
        )
    if publication.find(profile.name):
        return None, "The published study of this profile was made without it."
    folder = registry.second_opinion(profile)
    if folder is None:
        return None, aisfx.ABSENT
    opinion = pd.read_csv(folder / "alterations.csv")
    return pd.concat([detection, opinion[opinion["detector"] == aisfx.NAME]], ignore_index=True), ""


def by_negatives(detection: pd.DataFrame, bias: str) -> pd.DataFrame:
    """AUROC of known copies against each kind of negatives, a column a detector, from detection.csv; `bias`: none or own."""
    rows = detection[(detection["transform"] == "all") & (detection["bias"] == bias)]
    area = pd.Series(with_interval(rows, *limits("auroc"), percent=False), index=rows.index)
    wide = rows.assign(area=area).pivot(index=["negatives", "n_train"], columns="detector", values="area")
    wide = wide.loc[[name for name in NEGATIVES if name in wide.index.get_level_values(0)]]
    order = list(dict.fromkeys(rows["detector"]))
    with_bias = {"none": "without a bias", "own": "each with the beta and K that served it best on the pilot"}[bias]
    table = wide[order].reset_index().replace({"negatives": NEGATIVES})
    columns = {"copies against": "negatives", "n": "n_train"} | {name: name for name in order}
    caption = f"AUROC of altered copies, {with_bias}; 95 % intervals over alterations and source groups."
    return arrange(table, columns, caption)


def areas_against(detection: pd.DataFrame) -> pd.DataFrame:
    """The mean over sizes of `by_negatives` with each detector's own bias, without intervals."""
    rows = detection[(detection["transform"] == "all") & (detection["bias"] == "own")]
    means = rows.pivot_table(index="negatives", columns="detector", values="auroc", sort=False)
    means = means.loc[[name for name in NEGATIVES if name in means.index], list(dict.fromkeys(rows["detector"]))]
    table = means.rename(index=NEGATIVES).rename_axis("copies against").reset_index().rename_axis(columns=None)
    formats = dict.fromkeys(means.columns, ".2f")
    return captioned(
        table, "AUROC of altered copies, means over training sizes: 1 finds every copy, 0.5 is a guess.", formats
    )


def mean_areas(detection: pd.DataFrame) -> pd.DataFrame:
    """The mean and the lowest area of each detector over all alterations, with the second opinion among them."""
    table = detection.groupby("detector", sort=False)["auroc"].agg(AUROC="mean", lowest="min").reset_index()
    return captioned(table, "All alterations, the second opinion included.", {"AUROC": ".3f", "lowest": ".3f"})


def strengths_in_words(names: Iterable[str]) -> str:
    """The units of these alterations' strengths, as "gain dB, shift s"."""
    return ", ".join(f"{name.replace('_', ' ')} {TRANSFORMS[name].unit}" for name in dict.fromkeys(names))


def best_detectors(detection: pd.DataFrame) -> pd.DataFrame:
    """For every alteration at its strongest: the two detectors of greatest AUROC.

    Columns: transform, strength, then best, best_auroc, best_low, best_high and the same for second (missing where there
    is one detector). Strengths are taken to come from weak to strong, as the alterations stage writes them.
    """
    rows = []
    for transform, part in detection.groupby("transform", sort=False):
        strength = part["strength"].iloc[-1]
        ordered = part[part["strength"] == strength].sort_values("auroc", ascending=False, kind="stable")
        row = {"transform": transform, "strength": strength}
        for place, found in zip(("best", "second"), ordered.itertuples()):
            row |= {place: found.detector, f"{place}_auroc": found.auroc}
            row |= {f"{place}_low": found.auroc_low, f"{place}_high": found.auroc_high}
        rows.append(row)
    return pd.DataFrame(rows)
