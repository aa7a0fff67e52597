"""What the rules say of one clip.

Notebook: 06_thresholds.
"""

import pandas as pd

from helpers.base.profile import Profile
from helpers.book.words import share_text
from helpers.copies.score_table import ScoreTable

WHY_UNDEFINED = "as null and ceiling cannot be told apart"


def of_line(table: ScoreTable, profile: Profile, detector: str, null: str) -> str:
    """What 0 and 1 are on the line of positions, with the score at 0 where it is one for all runs."""
    if not profile.pooled:
        return "0 is the median of the null, 1 is what its match scores after codec and vocoder."
    own, nearest = table.null_own(detector, null).median(), table.null_best(detector, null)["score"].median()
    return (
        "It asks how near a clip comes to the clip of its prompt, whichever is nearest. 0 is how near the typical clip of the null "
        f"comes to its own clip: {own:.3f} (to its nearest clip it comes nearer, {nearest:.3f}). 1 is what the clip of the prompt "
        "scores after codec and vocoder."
    )


def of_verdict(clip: pd.Series) -> str:
    """What the thresholds say of one clip, from `summaries.thresholds.hardest_to_judge`."""
    verdict = "τ is unattainable"
    if pd.notna(clip["tau"]):
        verdict = f"τ = {clip['tau']:.3f}: {'flagged' if clip['flagged'] else 'not flagged'}"
    if pd.isna(clip["position"]):
        place = f"Its position is undefined, {WHY_UNDEFINED}: neither near-exact nor not."
    else:
        exact = "near-exact" if clip["near_exact"] else "not near-exact"
        place = f"Position {clip['position']:.2f} between null and ceiling: {exact} by rule."
    return f"Normalised score {clip['normalised']:.3f}, {verdict}. {place}"


def of_judgement(
    clip: pd.Series, prompt: str, match: str, silence: float, one_gallery: bool = False
) -> tuple[str, ...]:
    """Why one clip is hard to judge, and what the rules say of it: its row of `summaries.thresholds.hardest_to_judge`, the two
    captions, and the share of frames in which it and its match are both silent. `one_gallery`: near-exact is of the own clip,
    whichever is nearest."""
    if not (pd.notna(clip["near_exact"]) and clip["near_exact"]) or clip["own_top1"]:
        told = "Of the clips that this book plays, none lies nearer to its threshold: the rules decide it by a hair."
        return told, of_verdict(clip)
    if one_gallery:
        return (
            f"The clip that was asked for is the third, “{prompt}”. The similarity to it is {clip['own_score']:.3f}, which is position "
            f"{clip['position']:.2f}: near-exact by rule. Yet the second, “{match}”, is nearer still, at {clip['score']:.3f}, and "
            "nobody asked for it. Clips that share most of what sounds come near to each other, copied or not, and the rule "
            "cannot tell which.",
        )  # fmt: skip
    told = (
        f"The similarity is {clip['score']:.3f}, and the rule calls the pair near-exact. Yet the prompt was “{prompt}”, and the "
        f"match is “{match}”. It is not the clip that was asked for."
    )
    if silence >= 0.5:
        told += f" For {share_text(silence)} of the time both are silent, and silence is like silence."
    return told, of_verdict(clip)
