"""What follows from where clips are searched: in each run's own training clips, or in one pool, the same for every run.

Notebooks: 04_generation to 07_findings.
"""

from helpers.base.profile import Profile
from helpers.book.summaries.findings import PAPER_SHARES

# By what a sentence tells: how it reads for a gallery of each run's own, and for one pool.
TEXTS = {
    "counted": (
        "So this book counts a near-exact clip only where the match is the clip of its own prompt, and sets the same count of "
        "honest clips beside it.",
        "The nearest of thousands of clips is near by chance. So this book asks how near a clip comes to the clip of its own prompt, "
        "whichever is nearest, and sets the same count of honest clips beside it.",
    ),
    "theta_chosen": (
        "θ was chosen on the pilot, with as many altered copies as clips that are no copies: it is the lowest position above which "
        "95 % of the clips are copies.",
        "θ was chosen on the first study's pilot, with as many altered copies as clips that are no copies: there it was the lowest "
        "position above which 95 % of the clips are copies. In that study a position was measured to the nearest clip. Here the same θ "
        "is asked of the prompt's own clip, and chapter 7 counts what the rule finds and misses.",
    ),
    "own_tau": (
        "With more training clips the best of them is nearer by chance alone, so each training size has a τ of its own.",
        "All sizes are searched in the same clips, so chance helps each alike. Still each has a τ of its own, set on twins of its "
        "own clips.",
    ),
    "folded_counts": (
        "The folded table has every run, and counts a match with any clip, as the paper does.",
        "The folded table has every run, and counts as the table above does; the paper counts a match with any clip.",
    ),
    "twins_by_size": (
        "And look at the twins as the training set grows: the more clips there are, the nearer the nearest, copied or not.",
        "And look at the twins at every size: they stand alike, as all were searched in the same clips.",
    ),
    "any_or_own": (
        "The list and the figures count near-exact of the own clip. The last two tables count a match with any clip, as the paper "
        "does. Where few of these are the own clip, the match is mostly another clip than the prompt asked for: a simple sound "
        "that resembles many, or a copy of the wrong clip. The count cannot tell which; the ear may.",
        "All of them count near-exact of the own clip. In the second table the column beside it says how many of these have no nearer clip in the "
        "gallery. A held-out prompt has no clip of its own, so a dash stands there. Prompts of another draw "
        "are captions of clips that this model never met, so what is near-exact of these is no copy.",
    ),
    "counts_any": (
        "The own clip must be the nearest as well. Two tables below also count matches with any clip; their headings say so.",
        "Such a clip counts even where another training clip is nearer.",
    ),
    "which_prompts": (
        "The models were asked for many prompts, but of each size only one can be heard at every moment: the middle one of its prompts.",
        "There are three prompts, drawn by a seed, and the same for all sizes whose models were asked for them. Choose a prompt, and see after "
        "how many updates its first dot appears. Then do the same for a larger set. Hatched cells have no clip of this prompt.",
    ),
    "simple_clips": (
        "A small set has more of them: draw 0 takes the first clips, which are a little simpler.",
        "Draws are dealt by chance, so no size has more of them by design.",
    ),
}  # fmt: skip


def of_gallery(profile: Profile) -> dict[str, str]:
    """The sentences of TEXTS as they are true of this profile."""
    return {name: texts[profile.pooled] for name, texts in TEXTS.items()}


def of_pool(profile: Profile) -> str:
    """What a page says before anything else where all runs are searched in one pool; "" where they are not."""
    if not profile.pooled:
        return ""
    return (
        f"**One search for all sizes.** What a model makes is searched in all {profile.corpus.n_train:,} training clips of the "
        "corpus, however few it learned, so that a score means the same at every size. The nearest may be one that it never met. "
        "Whether a clip is a copy is asked of one training clip only: the one whose caption was the prompt."
    )


def of_scale(profile: Profile, n_generated: int) -> dict[str, str]:
    """How training was kept alike, in a few words, and how many copies the largest model would make at the paper's rate."""
    expected = n_generated * PAPER_SHARES[max(PAPER_SHARES)]
    return {
        "training_kept": "longer for larger sets" if profile.schedules else "equal updates for all sizes",
        "at_papers_rate": "about one copy, or none" if expected >= 0.5 else "no copy, most likely",
    }
