"""The page of an audit: one HTML file with all that it says, and with players; nothing is asked of any other place.

Clips are played as they were compared: mono, at the sample rate that a browser and the study share. At most SHOWN pairs of
EXCERPT_S each are in it, so that it stays below some MB. Names of files are untrusted: the templates escape all text.

Used by `helpers audit`.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
from markupsafe import Markup

from helpers.base.settings import MelConfig
from helpers.book import listening, one_page, players
from helpers.copies.audit import chromaprint
from helpers.copies.audit.p_values import honest_needed, smallest_p
from helpers.copies.audit.queries import PLANTED
from helpers.copies.audit.search import PLACES
from helpers.copies.audit.verdict import TOGETHER, Audit, caveats, remedies, set_by_one
from helpers.copies.audit.within import Duplicates
from helpers.sound.audio_file import read_sound
from helpers.sound.audio_folder import list_files, readable
from helpers.sound.likeness import COMPARED, IN_WORDS, MEASURES

RATE_HZ = 16_000
SHOWN, NEAREST = 20, 5  # pairs that are played: at most so many, and so many that are not flagged
EXCERPT_S, LEAD_S, LEAST_S = 8.0, 1.0, 0.5  # what is played of a clip; how much of it before the match; at least
LISTED = 1000  # files named in a list at most
MEASURED = {name: f"{IN_WORDS[name].capitalize()}, {COMPARED.get(name, 'dB')}" for name in MEASURES}


class Match(NamedTuple):
    """Two files that are shown beside one another: their names, and where the match begins in each and how long it is, in s."""

    query: str
    reference: str
    query_start_s: float
    reference_start_s: float
    length_s: float


def audit_page(found: Audit, folders: dict[str, Path], channel: str = "mean") -> str:
    """The page of an audit's result: verdict, candidates to hear and to grade, power, rates, folders, what was left out.

    `folders` has the generated clips and the training clips, which are read again for what is played of them.
    """
    table = found.table[found.table["kind"] == "generated"]
    together = table[table["detector"] == TOGETHER].sort_values("score", ascending=False, kind="stable")
    flagged = together["flagged"].fillna(False).astype(bool)
    chosen = pd.concat([together[flagged], together[~flagged].head(NEAREST if flagged.any() else 2 * NEAREST)]).head(
        SHOWN
    )
    matches = [Match(*row) for row in chosen[["clip", "nearest", *PLACES]].itertuples(index=False)]
    cards = _cards(matches, folders["generated"], folders["training"], ("generated", "training"), channel)
    others = table[table["detector"] != TOGETHER].groupby("clip")
    for card, row in zip(cards, chosen.to_dict("records")):
        card.update(row, opinions=others.get_group(row["clip"]).to_dict("records"))
    near = found.matches[found.matches["kind"] == "generated"].groupby("clip")["nearest"].agg(set).to_dict()
    power = found.power.dropna(subset=TOGETHER)
    return one_page.render(
        "audit.html",
        "audit",
        listed=LISTED,
        excerpt_s=EXCERPT_S,
        found=found,
        verdict=found.verdicts[0],
        rate=found.rates.iloc[0],
        rates=found.rates[found.rates["detector"] == TOGETHER].to_dict("records"),
        alone=found.verdicts[1:],
        cards=cards,
        n=len(together),
        n_flagged=int(flagged.sum()),
        unheard=together[flagged].iloc[SHOWN : SHOWN + LISTED].to_dict("records"),
        power=power.to_dict("records"),
        worst=power.loc[power[TOGETHER].idxmin()] if len(power) else None,
        smallest_p=smallest_p(len(found.null)),
        n_null=len(found.null),
        needed=honest_needed,
        set_by_one=set_by_one(found),
        unheard_below={chromaprint.NAME: chromaprint.LEAST_S},
        measured=MEASURED | {"clips": "clips used"},
        planted=PLANTED,
        caveats=caveats(found),
        remedies=remedies(found),
        sources={kind: readable(Path(folder).resolve().name) for kind, folder in folders.items() if folder},
        lab=_lab(cards, lambda query, reference: reference in near.get(query, ())),
        left_out=found.left_out,
    )


def within_page(found: Duplicates, folder: Path, channel: str = "mean") -> str:
    """The page of `duplicates`: each file to drop, beside the file of its cluster that it shares an excerpt with."""
    table, left_out = found
    dropped = table[table["drop"]].sort_values("score", ascending=False, kind="stable")
    matches = [Match(*row) for row in dropped[["file", "like", *PLACES]].head(SHOWN).itertuples(index=False)]
    cards = _cards(matches, folder, folder, ("to drop", "shares an excerpt"), channel)
    together = table.set_index("file")["cluster"].to_dict()
    return one_page.render(
        "within.html",
        "audit",
        listed=LISTED,
        cards=cards,
        clusters=[part.to_dict("records") for _, part in table.head(LISTED).groupby("cluster")],
        n_clusters=table["cluster"].nunique(),
        n_unlisted=max(0, len(table) - LISTED),
        n_dropped=len(dropped),
        lab=_lab(cards, lambda query, reference: together[query] == together[reference]),
        left_out={"within": left_out},
    )


def _cards(matches: Iterable[Match], query_folder: Path, reference_folder: Path, roles: tuple, channel: str) -> list:
    queries, references = (list_files(folder).files for folder in (query_folder, reference_folder))
    cards = []
    for number, match in enumerate(matches, 1):
        card = {"number": number, **match._asdict(), "players": None, "silent": ""}
        try:
            sounds = [
                read_sound(files[name], RATE_HZ, channel)[0]
                for files, name in ((queries, match.query), (references, match.reference))
            ]
            card["players"] = Markup(_players(number, match, sounds, roles))
        except (ValueError, KeyError) as error:  # changed meanwhile, or with no sound at this rate
            card["silent"] = str(error) if isinstance(error, ValueError) else f"{error} is no longer there"
        cards.append(card)
    return cards


def _players(number: int, match: Match, sounds: list[np.ndarray], roles: tuple[str, str]) -> str:
    """Both from LEAD_S before the match on, so that what matches lies at one place in both."""
    starts = np.nan_to_num(np.array(match[2:4], float))
    lead = min(LEAD_S, *starts)
    parts = []
    for sound, start in zip(sounds, starts):
        begin = round((start - lead) * RATE_HZ)
        part = sound[begin : begin + round(EXCERPT_S * RATE_HZ)].astype(np.float64)
        parts.append(part if part.any() else sound[np.abs(sound.astype(int)).argmax() :][: len(part) + 1].astype(float))
    size = max(round(LEAST_S * RATE_HZ), *map(len, parts))
    end = min(lead + match.length_s, min(map(len, parts)) / RATE_HZ)
    items = [
        players.Item(
            f"{letter} · {role} · {name}"
            + ("" if np.isnan(match.length_s) else f" · match {start:.1f} to {start + end - lead:.1f} s"),
            librosa.util.fix_length(part / np.abs(part).max() / 2, size=size),
            match=None if np.isnan(match.length_s) else (lead, end),
            name=f"play-{number}-{letter}",
        )
        for letter, role, name, part, start in zip("AB", roles, match[:2], parts, starts)
    ]
    return players.player_figures(items, RATE_HZ, mel=MelConfig())


def _lab(cards: list[dict], alike) -> Markup:
    """The listening lab over the cards that play, with catch trials: one clip twice, and two that nothing calls `alike`."""
    playing = [card for card in cards if card["players"]]
    pairs = [_pair(f"audit {card['number']}", card, card) for card in playing]
    for i, card in enumerate(playing[: listening.N_CATCH], 1):
        pairs.append(_pair(f"catch identical {i}", card, card, "identical"))
    apart = [(one, other) for one in playing for other in playing if not alike(one["query"], other["reference"])]
    for i, (one, other) in enumerate(apart[:: max(1, len(apart) // listening.N_CATCH)][: listening.N_CATCH], 1):
        pairs.append(_pair(f"catch different {i}", one, other, "different"))
    # grades are kept by what is heard: of another audit, whose files may have the same names, there are others
    sounds = [re.findall(r'src="(data:audio[^"]+)"', card["players"]) for card in playing]
    heard = [(pair.name, pair.query, pair.reference) for pair in pairs], sounds
    study = hashlib.sha256(repr(heard).encode()).hexdigest()[:16]
    return Markup(listening.page(pairs, "lab", f"audit {study}", RATE_HZ).data) if pairs else Markup("")


def _pair(name: str, one: dict, other: dict, right: str = "") -> listening.Pair:
    letter = "B" if right == "identical" else "A"
    query = one["reference"] if right == "identical" else one["query"]
    ids = f"play-{one['number']}-{letter}", f"play-{other['number']}-B"
    return listening.Pair(name, query, other["reference"], ids, "grade", right, is_catch=bool(right))
