"""Cards: a clip of the gallery beside its nearest training clip and a random one, and what is folded away below a title.

Notebooks: 01_corpus, 04_generation to 07_findings.
"""

from collections.abc import Iterable, Mapping
from html import escape

import librosa
import numpy as np
from IPython.display import HTML

from helpers.base.profile import Profile
from helpers.book.inline import inline
from helpers.book.played_clips import PlayedClips
from helpers.book.players import FLICK, STYLE, Item, player_row
from helpers.sound.corpus import Corpus

SAME = "the same caption"
QUANTILE_LABELS = {
    "quantile 1.00": "The nearest of all",
    "quantile 0.95": "Nearer than 95 % of the others",
    "quantile 0.75": "Nearer than 75 %",
    "quantile 0.50": "The median",
    "quantile 0.25": "Nearer than 25 %",
    "quantile 0.05": "Nearer than 5 %",
    "quantile 0.00": "The least near",
}
KIND_LABELS = {
    "twins": "Twin",
    "heldout": "Held-out clip",
    "same_bed": "Same bed, other events",
    "altered": "Altered copy",
    "empirical": "Perfect replay",
    "generated": "Generated clip",
}


def card(
    gallery: PlayedClips,
    slot: str,
    data: Corpus,
    profile: Profile,
    label: str = "",
    with_random: bool = True,
    own_id: str = "",
) -> HTML:
    """Players of a slot's clip, its nearest training clip by the slot's detector, and a random training clip, or the clip of its
    prompt (`own_id`).

    The score stays folded. Without a `label` the first player is called by what the clip is.
    """
    row = gallery[slot]
    nearest, caption = data.clip(row["ref_id"])
    items = [
        Item(label or KIND_LABELS[row["kind"]], gallery.audio(slot), row["caption"]),
        Item(
            "Nearest training clip",
            nearest,
            SAME if caption and caption == row["caption"] else caption,
            float(row["score"]),
        ),
    ]
    if own_id:
        items.append(Item("The clip of the prompt", *data.clip(own_id)))
    elif with_random:
        items.append(Item("Random training clip", *data.clip(row["random_id"])))
    rate_hz = profile.corpus.sample_rate_hz
    return player_row(items, rate_hz, score_name=f"{row['detector']} similarity", mel=profile.mel, pair=True)


def several(
    gallery: PlayedClips, labels: Mapping[str, str], data: Corpus, profile: Profile, with_random: bool = True
) -> list[HTML]:
    """`card` of each slot with its label."""
    return [card(gallery, slot, data, profile, label, with_random) for slot, label in labels.items()]


def played(gallery: PlayedClips, data: Corpus, profile: Profile) -> dict[str, list[HTML]]:
    """All that the book plays of one model by rank, by title: from near to far, the worst errors, and seeds where there are."""
    errors = dict.fromkeys([*gallery.rows("false alarm")["slot"], *gallery.rows("miss")["slot"]], "")
    seeds = {slot: slot.capitalize() for slot in gallery.rows("seed")["slot"]}
    parts = {
        "from the clip nearest to training to the one least near": several(gallery, QUANTILE_LABELS, data, profile),
        "the worst false alarms and misses": several(gallery, errors, data, profile, with_random=False),
    }
    if seeds:
        parts[f"one prompt, {len(seeds)} seeds"] = several(gallery, seeds, data, profile, with_random=False)
    return parts


def fooled(gallery: PlayedClips, data: Corpus, profile: Profile) -> list[HTML]:
    """For each detector the clip that shares but a bed with its match and scores highest; a card for all that it fools."""
    cards = []
    for _, same in gallery.rows("fooled").groupby(["query_id", "ref_id"], sort=False):
        label = f"Fools {', '.join(same['detector'])}"
        cards.append(card(gallery, same["slot"].iloc[0], data, profile, label, with_random=False))
    return cards


def recordings(rule: str, pair, sounds: Iterable[np.ndarray], profile: Profile) -> HTML:
    """Players of the first two seconds of two recordings that may be one, `sounds` int16 [S] each.

    `pair` has caption_a, caption_b and correlation, which stays folded; `rule` says why it was taken.
    """
    rate_hz = profile.corpus.sample_rate_hz
    first, second = (librosa.util.fix_length(sound, size=2 * rate_hz) for sound in sounds)
    items = [
        Item(f"One recording ({rule})", first, pair.caption_a),
        Item("The other", second, pair.caption_b, pair.correlation),
    ]
    return player_row(items, rate_hz, score_name="waveform correlation of the beginnings:", mel=profile.mel, pair=True)


def number_line(theta: float, null: str) -> HTML:
    """The near-exact rule as a line from a typical clip of the null (0) to a perfect replay (1), with θ between them."""
    marks = {
        0: ("0", f"a typical {KIND_LABELS[null].lower()}"),
        theta: (f"θ = {theta:g}", "near-exact from here"),
        1: ("1", "a perfect replay"),
    }
    ticks = "".join(
        f'<span style="left:{10 + 72 * at:.4g}%"><b>{escape(name)}</b><br>{escape(meaning)}</span>'
        for at, (name, meaning) in marks.items()
    )
    left = 10 + 72 * theta
    line = (
        "background:linear-gradient(to right,var(--pst-color-border,#bbb) {0}%,var(--pst-color-primary,#11655e) {0}%)"
    )
    return HTML(
        inline("scripts/number_line.css")
        + f'<div class="number-line" lang="en"><i style="{line.format(f"{left:.4g}")}"></i>{ticks}</div>'
    )


def folded(title: str, parts: Iterable[HTML | str]) -> HTML:
    """`parts` one below the other under a title that opens and closes them."""
    text = escape(title).replace(" %", "\u00a0%")
    summary = f'<summary style="cursor:pointer;font-weight:600;margin:.4rem 0">{text}</summary>'
    markup = "".join(part if isinstance(part, str) else part.data for part in parts)
    for shared in (STYLE, FLICK):  # once is enough
        markup = markup.replace(shared, "") + (shared if shared in markup else "")
    return HTML(f"<details>{summary}{markup}</details>")


def told(title: str, *sentences: str) -> HTML:
    """Sentences, a paragraph each and escaped, under a title that opens and closes them."""
    return folded(title, [f"<p>{escape(sentence, quote=False)}</p>" for sentence in sentences])
