"""What each model is asked for: the main clips, and smaller arms that change one thing (checkpoint, weights, prompts, ...).

Notebook: 04_generation.
"""

from dataclasses import replace

from helpers.base.profile import Profile
from helpers.base.settings import GenerationConfig

MAIN = "main"
N_FULL_CHECKPOINTS = 3  # earlier ones whose clips are searched in full in the pool


def list_arms(profile: Profile, n_train: int, draw: int) -> dict[str, GenerationConfig]:
    """The arms of one run by name, the main one first.

    `u00125`: an earlier checkpoint; `raw`: the last weights without averaging; `heldout`: captions of held-out clips;
    `heldout_u00125`: those at an earlier checkpoint; `other_draw`: captions of training clips that this model never met, as
    they are another draw's; `guidance3`: another guidance, at one training size; `seeds`: several
    clips a prompt. The last two for draw 0 only.
    """
    main = replace(profile.generation, n_train=n_train, draw=draw)
    arms, sizes = {MAIN: main}, profile.arms
    training = profile.training_run(n_train, draw)
    trained = not training.checkpoint_path  # weights that were loaded are one checkpoint
    earlier = sorted(set(training.checkpoints) - {training.updates}) if trained else ()
    # of earlier checkpoints: without keep_raw, raw weights are of the last alone
    kept = main.weights if training.keep_raw else "ema"
    if sizes.n_checkpoint:
        for updates in earlier:
            equal = 0 < sizes.equal_epochs == training.batch_size * updates / n_train
            n_prompts = main.n_prompts if equal else sizes.n_checkpoint
            seeds = main.seeds_per_prompt if main.prompts == "clusters" else 1  # there are few groups of copies
            arms[f"u{updates:05d}"] = _part(main, n_prompts, updates=updates, weights=kept, seeds_per_prompt=seeds)
    if sizes.n_heldout_checkpoint:
        of_heldout = replace(main, prompts="heldout")
        arms |= {
            f"heldout_u{n:05d}": _part(of_heldout, sizes.n_heldout_checkpoint, updates=n, weights=kept) for n in earlier
        }
    if sizes.n_raw and trained:
        arms["raw"] = _part(main, sizes.n_raw, weights="raw", updates=main.updates if training.keep_raw else 0)
    if sizes.n_heldout:
        arms["heldout"] = _part(main, sizes.n_heldout, prompts="heldout")
    if sizes.n_other_draw:
        arms["other_draw"] = _part(main, sizes.n_other_draw, prompts="other_draw")
    if sizes.n_guidance and n_train == sizes.guidance_size and draw == 0:
        for guidance in sizes.guidances:
            if guidance != main.guidance:
                arms[f"guidance{guidance:g}"] = _part(main, sizes.n_guidance, guidance=guidance)
    if sizes.n_seed_prompts and draw == 0:
        arms["seeds"] = _part(main, sizes.n_seed_prompts, seeds_per_prompt=sizes.n_seeds)
    return arms


def _part(main: GenerationConfig, n_prompts: int, **changes) -> GenerationConfig:
    return replace(main, **{"n_prompts": min(n_prompts, main.n_prompts), "seeds_per_prompt": 1, **changes})


def full_arms(profile: Profile, n_train: int, draw: int) -> list[str]:
    """The arms whose clips every detector searches for several neighbours, here and in the background.

    In the pool those at the last checkpoint, and the training prompts of a few earlier ones; else all.
    """
    arms = list_arms(profile, n_train, draw)
    if profile.retrieval.gallery == "run":
        return list(arms)
    earlier = [name for name, arm in arms.items() if arm.updates and arm.prompts == "train"]
    chosen = {earlier[len(earlier) * i // N_FULL_CHECKPOINTS] for i in range(N_FULL_CHECKPOINTS)} if earlier else set()
    return [name for name, arm in arms.items() if not arm.updates or name in chosen]


def checkpoint_arms(profile: Profile) -> set[str]:
    """The arms of all runs that differ from the main one in the checkpoint, and in how many prompts are asked, alone."""
    names = set()
    for run in profile.runs:
        arms = list_arms(profile, *run)
        main = replace(arms[MAIN], updates=0, n_prompts=1)
        like_main = (main, replace(main, seeds_per_prompt=1))
        alike = (
            name for name, arm in arms.items() if arm.updates and replace(arm, updates=0, n_prompts=1) in like_main
        )
        names |= {MAIN, *alike}
    return names


def describe_arms(profile: Profile, n_train: int, draw: int) -> dict[str, str]:
    """What each arm of one run changes, in words, by its name; from its settings."""
    arms = list_arms(profile, n_train, draw)
    return {name: _difference(config, arms[MAIN]) for name, config in arms.items()}


def _difference(config: GenerationConfig, main: GenerationConfig) -> str:
    if config.updates != main.updates:
        return f"{'held-out prompts ' if config.prompts != main.prompts else ''}after {config.updates:,} updates"
    if config.guidance != main.guidance:
        return f"guidance {config.guidance:g}"
    if config.weights != main.weights:
        return "weights not averaged"
    if config.prompts != main.prompts:
        return {"heldout": "held-out prompts", "other_draw": "prompts of another draw"}[config.prompts]
    return "more seeds" if config.seeds_per_prompt != main.seeds_per_prompt else "as in the study"
