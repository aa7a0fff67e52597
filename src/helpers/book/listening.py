"""Pairs to judge by ear before anything is told: ten on the first page, and the listening lab with its catch trials.

What is right is known by how a pair was made, never by a listener or a rule. Without JavaScript every pair stands below the
other, its answer folded.

Notebooks: 06_thresholds, 07_findings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from helpers.base.arms import MAIN
from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.base.settings import MelConfig
from helpers.book.inline import inline
from helpers.book.played_clips import PlayedClips
from helpers.book.players import FLICK, ONE_AT_A_TIME, STYLE, data_uri, encode_mp3, match_loudness, spectrograms
from helpers.copies.replication import near_exact
from helpers.copies.score_table import ScoreTable
from helpers.sound.corpus import Corpus

GRADES = ("identical", "near-exact", "similar", "different")
QUESTIONS = {
    "which": ("Which of these two is the training clip?", {"A": "A", "B": "B"}),
    "same": ("Is one of these a copy of the other?", {"yes": "Yes, a copy", "no": "No, two clips"}),
    "grade": ("How alike are these two?", {grade: grade.capitalize() for grade in GRADES}),
}
# Which of two is the training clip: a model's place among the sizes (0: the smallest, -1: the largest), and the clip's slot.
WHICH = ((0, "quantile 0.50"), (-1, "quantile 0.50"), (1, "quantile 0.95"), (0, "quantile 0.05"), (1, "quantile 0.50"))
LAB = ("quantile", "false alarm twins", "miss", "perfect replay")  # whose clips the lab plays, of every model
N_CATCH = 3  # of each kind: a clip beside itself, and beside an unrelated one
COPIES = ("altered", "empirical")  # kinds that are copies by construction: of their own clip


@dataclass(frozen=True, eq=False)
class Pair:
    """Two sounds int16 [S] to compare, or the ids of players of the same page that have them: `right` is the answer, empty where
    none is known; `told` is said afterwards."""

    name: str
    query: str
    reference: str
    sounds: tuple[np.ndarray, np.ndarray] | tuple[str, str]
    question: str
    right: str = ""
    told: str = ""
    rule: str = ""  # its answer
    is_catch: bool = False


def blind_pairs(
    table: ScoreTable,
    galleries: Mapping[int, PlayedClips],
    known: PlayedClips,
    data: Corpus,
    profile: Profile,
) -> HTML:
    """The first page's pairs, one at a time, with the listener's score at the end beside the near-exact rule's.

    In turn a clip of `galleries`, chosen by rank (WHICH), beside its match; and one of `known` kind, drawn at random by the
    stage `blind`, beside the clip that it copies, or the training clip that the rule compares it with.
    """
    sizes, pairs = sorted(galleries), []
    for (place, slot), drawn in zip(WHICH, known.table["slot"]):
        n = sizes[place if place < len(sizes) else -1]
        if slot in galleries[n]:
            pairs.append(_blind(table, galleries[n], slot, "which", data, profile, n))
        n = int(known[drawn]["n_train"])
        pairs.append(_blind(table, known, drawn, "same", data, profile, n))
    return page(pairs, "blind", profile.name, profile.corpus.sample_rate_hz, profile.mel, profile.retrieval.seed)


def _blind(table, gallery: PlayedClips, slot: str, question: str, data: Corpus, profile: Profile, n: int) -> Pair:
    row = gallery[slot]
    kind, name, copy = row["kind"], f"n{n}_d0 {slot}", row["kind"] in COPIES
    detector, theta = profile.thresholds.detector, profile.thresholds.theta
    best = table.best(("main", n, 0), detector, kind, MAIN if kind == "generated" else "")
    best = best[best["query_id"] == row["query_id"]]
    of_own = row["own_id"] and (copy or profile.pooled)  # in a pool the rule asks of no other
    reference = row["own_id"] if of_own else best["ref_id"].iloc[0]
    other, caption = data.clip(reference)
    where = table.positions(("main", n, 0), detector, best, profile.nulls[0])
    called = near_exact(where, theta)[0]  # NA where the rule cannot tell
    sounds, swapped = (gallery.audio(slot), other), bool(seeded(profile.retrieval.seed, "blind", name).integers(2))
    says = "The near-exact rule cannot tell."
    if called is not pd.NA:
        says = f"The near-exact rule calls it {'a copy' if called else 'no copy'}."
    trained, other_one = ("A", "B") if swapped else ("B", "A")
    if question == "which":
        right = trained
        prompt = "the same words" if row["caption"] == caption else f"“{row['caption']}”"
        made = f"{other_one} was made by the model of {n:,} clips, from {prompt}"
        told = f"{right} is the training clip, “{caption}”. {made}. {says}"
    else:
        right = "yes" if copy else "no"
        if called is not pd.NA and copy != called:
            says = f"The near-exact rule {'misses it' if copy else 'calls it a copy all the same'}: chapter 7 counts such errors."
        told = f"{'A copy' if copy else 'No copy'}. {trained} is the training clip, “{caption}”. {other_one} {_made_as(row, reference)}. {says}"
    answer = {True: "yes", False: "no"}.get(called, "") if question == "same" else ""
    return Pair(name, row["query_id"], reference, sounds[::-1] if swapped else sounds, question, right, told, answer)


def _made_as(row, reference: str) -> str:
    """What a clip of known kind is, beside the training clip `reference`, in words. `row`: kind, own_id, caption."""
    of_it = row["own_id"] == reference
    return {
        "altered": "is that clip, changed on purpose",
        "empirical": "is that clip, as a model brings it back that can only copy",
        "twins": "is a twin of it: the same caption, mixed anew"
        if of_it
        else f"was mixed for other words: “{row['caption']}”",
        "same_bed": "has its bed, the steady sound, under other events" if of_it else "was made of other sounds",
        "heldout": "is a held-out clip, of other recordings",
    }[row["kind"]]


def lab(galleries: Mapping[int, PlayedClips], data: Corpus, profile: Profile) -> HTML:
    """The listening lab: what is played of every model beside its match, with catch trials, to be graded by GRADES."""
    pairs = []
    for n, gallery in sorted(galleries.items()):
        for slot in gallery.table["slot"][gallery.table["slot"].str.startswith(LAB)]:
            row = gallery[slot]
            reference = row["own_id"] if row["kind"] in COPIES else row["ref_id"]
            sounds = gallery.audio(slot), data.clip(reference)[0]
            pairs.append(Pair(f"n{n}_d0 {slot}", row["query_id"], reference, sounds, "grade"))
        middle = gallery["quantile 0.50"]
        for pick in range(N_CATCH)[sorted(galleries).index(n) :: len(galleries)]:
            slot = f"quantile {('0.75', '0.25', '0.05')[pick]}"
            clip, apart = gallery[slot]["ref_id"], gallery[slot]["random_id"]
            once = data.clip(clip)[0]
            name = f"catch identical {pick + 1}"
            pairs.append(Pair(name, clip, clip, (once, once), "grade", "identical", is_catch=True))
            sounds = gallery.audio("quantile 0.50"), data.clip(apart)[0]
            name = f"catch different {pick + 1}"
            pairs.append(Pair(name, middle["query_id"], apart, sounds, "grade", "different", is_catch=True))
    return page(pairs, "lab", profile.name, profile.corpus.sample_rate_hz)


def page(
    pairs: Sequence[Pair], kind: str, study: str, rate_hz: int, mel: MelConfig | None = None, seed: int | None = None
) -> HTML:
    """The pairs, one at a time: "blind" with what is right, or a "lab", whose grades the browser keeps under `study`."""
    sections = "".join(_section(number, pair, rate_hz, mel or MelConfig()) for number, pair in enumerate(pairs, 1))
    answers = {name: options for name, (_, options) in QUESTIONS.items()}
    about = {"kind": kind, "answers": answers, "study": study, "seed": seed}
    facts = json.dumps(about).replace("<", "\\u003c")
    return HTML(
        f'{STYLE}{inline("scripts/listening.css")}<div class="listening" lang="en">{sections}'
        f'<script type="application/json" class="listening-facts">{facts}</script></div>'
        f"{FLICK}{inline('scripts/listening.js')}"
    )


def _section(number: int, pair: Pair, rate_hz: int, mel: MelConfig) -> str:
    on_page = isinstance(pair.sounds[0], str)  # names of players that stand there already
    waves = [] if on_page else match_loudness(pair.sounds, rate_hz)
    sources = [f'src="{data_uri(encode_mp3(wave, rate_hz), "audio/mpeg")}"' for wave in waves]
    sources = sources or [f'data-of="{escape(player)}"' for player in pair.sounds]
    players = "".join(
        f'<figure><span aria-hidden="true">{letter}</span><audio controls preload="metadata" onplay="{ONE_AT_A_TIME}"'
        f' aria-label="Pair {number}, clip {letter}" {source}></audio></figure>'
        for letter, source in zip("AB", sources)
    )
    facts = {"name": pair.name, "query": pair.query, "reference": pair.reference, "question": pair.question,
             "right": pair.right, "rule": pair.rule, "catch": str(pair.is_catch).lower()}  # fmt: skip
    told = ""
    if pair.told:
        views = "".join(spectrograms(waves, ["A", "B"], mel, rate_hz))
        told = f'<details><summary>The answer</summary><p>{escape(pair.told)}</p><div class="listening-views">{views}</div></details>'
    return (
        f'<section class="listening-pair" aria-label="Pair {number}" '
        + " ".join(f'data-{name}="{escape(value)}"' for name, value in facts.items())
        + f'><p class="listening-question">{QUESTIONS[pair.question][0]}</p>'
        f'<div class="listening-players">{players}</div>{told}</section>'
    )
