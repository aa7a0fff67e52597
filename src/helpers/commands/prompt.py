"""A prompt of one's own, to one of the book's models."""

from pathlib import Path

from helpers.base.paths import check_place
from helpers.base.profile import Profile
from helpers.base.room import telling_no_room
from helpers.commands.arguments import DEFAULT_PROFILE
from helpers.commands.errors import checking
from helpers.sound.profiles import load_profile
from helpers.study import entries, publication, registry
from helpers.study.graph import Graph
from helpers.study.manifest import read_manifest

MOST_SEEDS = 32  # clips of one prompt: all are in one page


def ask_prompt(arguments):
    """`prompt`: writes a page with what a trained model makes of one prompt, and prints how near each clip comes."""
    from helpers.book import prompt_page
    from helpers.book.words import share_text
    from helpers.copies import prompted  # imports torch
    from helpers.models.text import check_length
    from helpers.sound.corpus import load_corpus

    with checking():
        profile = load_profile(arguments.profile)
        n_train = min(profile.sizes) if arguments.n_train is None else arguments.n_train
        _check_prompt(arguments, profile, n_train)
        folder = publication.find(profile.name)
        _check_model(profile, n_train, folder)
        check_length(arguments.text, profile.text)
    with publication.use_publication(folder, command=f"helpers run scores --profile {profile.name}"):
        weights = registry.denoiser_folder(profile, n_train, 0)
        corpus, scores = (registry.finished(name, profile).path for name in ("corpus", "scores"))
    honest = prompted.honest_clips(scores / "null.parquet", profile.thresholds.theta, n_train)
    found = prompted.ask(
        arguments.text, arguments.seeds, weights, load_corpus(corpus), honest.median, profile, n_train, 0
    )
    share = share_text(honest.near_exact_rate)
    again = ["--profile", profile.name] * (profile.name != DEFAULT_PROFILE)
    again += ["--n-train", str(n_train)] * (n_train != min(profile.sizes))
    page = prompt_page.prompt_page(found, profile, n_train, share, again)
    draft = arguments.output.with_name(f"{arguments.output.name}.part")
    try:  # whole or not at all: an older page stays where the disk is full
        with telling_no_room(arguments.output.parent.resolve()):
            draft.write_text(page, encoding="utf-8")
        draft.replace(arguments.output)
    finally:
        draft.unlink(missing_ok=True)
    for row in found.table.itertuples():
        beside = "" if row.silent else f" Nearest: {row.nearest_caption!r} ({row.nearest_id})."
        print(f"seed {row.seed}: {prompt_page.in_words(row, profile.thresholds.theta)}{beside}")
    print(arguments.output)


def _check_prompt(arguments, profile: Profile, n_train: int):
    if not arguments.text.strip():
        raise ValueError("text: expected a prompt, as 'a dog barks', got nothing")
    try:
        arguments.text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"text: expected UTF-8, got {arguments.text!r}") from None
    if not 1 <= arguments.seeds <= MOST_SEEDS:
        raise ValueError(f"--seeds: expected 1 to {MOST_SEEDS}, got {arguments.seeds}")
    if not profile.pooled or "twins" not in profile.nulls:
        raise ValueError(
            "--profile: expected a study of mixtures whose runs are searched in one gallery (retrieval.gallery: pool), got "
            f"{profile.name}"
        )
    if n_train not in profile.sizes:
        raise ValueError(f"--n-train: expected one of {', '.join(map(str, profile.sizes))}, got {n_train}")
    output = arguments.output
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"--output: expected a file in a folder that is there, got {output}")
    check_place(output, "page", "prompt.html", [f"{output.name}.part"])


def _check_model(profile: Profile, n_train: int, folder: Path | None):
    """Raises ValueError, before anything is computed, where the model's weights or the study's scores are not at hand."""
    graph, published = Graph(profile), entries.read_entries(folder) if folder else {}
    trained, denoiser, scores = graph.training(n_train, 0), graph.denoiser(), graph.scores()
    if not (trained.folder() / "checkpoints").is_dir():
        first = n_train == min(profile.sizes)
        if not first or entries.key_of(denoiser) not in published:
            raise ValueError(
                f"--n-train: expected a model whose weights are here, got {n_train}; to train it: HELPERS_COMPUTE=all "
                f"helpers run training --profile {profile.name} --label {trained.label}"
            )
    if entries.key_of(scores) not in published and not read_manifest(scores):
        raise ValueError(
            f"--profile: expected a study that is published or computed, got {profile.name}; to compute it: "
            f"helpers run scores --profile {profile.name}"
        )
