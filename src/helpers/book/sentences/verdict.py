"""What the rules say of one clip.

Notebook: 06_thresholds.
"""

import pandas as pd

from helpers.book.words import share_text

WHY_UNDEFINED = "as null and ceiling cannot be told apart"


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


def of_mistake(clip: pd.Series, prompt: str, match: str, silence: float, one_gallery: bool = False) -> str:
    """Why one clip is hard to judge: its row of `summaries.thresholds.hardest_to_judge`, the two captions, and the share of
    frames in which it and its match are both silent. `one_gallery`: near-exact is of the own clip, whichever is nearest."""
    if not (pd.notna(clip["near_exact"]) and clip["near_exact"]) or clip["own_top1"]:
        return "Of the clips that this book plays, none lies nearer to its threshold: the rules decide it by a hair."
    if one_gallery:
        return (
            f"The rule calls the clip near-exact of the clip that was asked for, “{prompt}”. But a different clip of the gallery is "
            f"nearer: “{match}”, with a similarity of {clip['score']:.3f}."
        )
    text = (
        f"The similarity is {clip['score']:.3f}, and the rule calls the pair near-exact. Yet the prompt was “{prompt}”, and the "
        f"match is “{match}”. It is not the clip that was asked for."
    )
    if silence >= 0.5:
        text += f" For {share_text(silence)} of the time both are silent, and silence is like silence."
    return text
