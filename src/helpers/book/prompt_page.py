"""The page of `helpers prompt`: what a model made of one prompt, each clip beside the training clip that it comes nearest to.

One HTML file; nothing is asked of any other place. The prompt and captions are untrusted: the template escapes all text.
"""

import shlex
from collections.abc import Sequence

from markupsafe import Markup

from helpers.base.profile import Profile
from helpers.book import one_page, players
from helpers.book.players import Item
from helpers.copies.prompted import Prompted


def prompt_page(found: Prompted, profile: Profile, n_train: int, honest: str, again: Sequence[str] = ()) -> str:
    """The page: of each seed two players, the position and what it means; below, captions to try next.

    honest: the share of the study's honest clips that the rule calls near-exact, in words. again: the options that ask the same
    model again.
    """
    cards = []
    for row, audio, nearest in zip(found.table.itertuples(), found.audio, found.nearest):
        card = {"seed": row.seed, "silent": row.silent, "says": in_words(row, profile.thresholds.theta)}
        if not row.silent:
            items = [
                Item("Generated", audio, found.prompt),
                Item("Nearest training clip", nearest, row.nearest_caption, float(row.score)),
            ]
            try:
                row_of_players = players.player_row(items, profile.corpus.sample_rate_hz, mel=profile.mel, pair=True)
                card["players"] = Markup(row_of_players.data)
            except ValueError:  # a click is no silence, but has no loudness
                card |= {"silent": True, "says": f"This clip is too faint to play. {card['says']}"}
        cards.append(card)
    n_copies = int(found.table["near_exact"].fillna(False).sum())
    return one_page.render(
        "prompt.html",
        "prompt",
        prompt=found.prompt,
        cards=cards,
        n_copies=n_copies,
        n_train=n_train,
        theta=profile.thresholds.theta,
        honest=honest,
        suggested=[shlex.join(["helpers", "prompt", one, *again]) for one in found.suggested if one != found.prompt],
    )


def in_words(row, theta: float) -> str:
    """What one row of `Prompted.table` says, in a sentence."""
    if row.silent:
        return "This clip came out silent, so there is nothing to compare."
    if row.position != row.position:
        return "Its position is undefined: an honest clip is as near to this training clip as a perfect replay."
    side = "near-exact" if row.near_exact else "not near-exact"
    return f"Position {row.position:.2f}: {side} by the book's rule, which asks for {theta:g}."
