"""The book's pages: which there are for a profile, and which settings each depends on."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from helpers.base.hashing import hash_file
from helpers.base.paths import ROOT, resolve
from helpers.base.profile import Profile
from helpers.base.settings import CorpusConfig
from helpers.book.chapters import CHAPTERS, PER_SIZE, Chapter
from helpers.models import aisfx
from helpers.study import input_files, store

# The files of models that first matter in a chapter, as they may lie outside of models/, at which Snakemake looks itself.
MODELS_OF: dict[str, Callable[[Profile], tuple[Path, ...]]] = {
    "02_codec": lambda profile: input_files.codec_files(profile.codec) + input_files.text_files(profile.text),
    "03_training": lambda profile: input_files.checkpoint_files(profile.training),
    "05_retrieval": lambda profile: input_files.clap_files(profile.retrieval, captions=True),
}
# Sections that first matter in a chapter beside its own: it and the chapters after it are rerun when they change.
FURTHER_SECTIONS = {
    "01_corpus": ("mel", "planted", "duplicates"),
    "02_codec": ("text",),
    "04_generation": ("arms", "twins", "controls"),
}


def list_pages(profile: Profile) -> dict[str, tuple[str, dict]]:
    """The book's chapter pages for a profile, in order: page name to chapter name and the settings beside the profile."""
    pages = {}
    for name in CHAPTERS:
        for n in profile.sizes if name in PER_SIZE else (None,):
            # padded, since the book's table of contents sorts names as text
            pages[name if n is None else f"{name}_n{n:05d}"] = (name, {} if n is None else {"n_train": n, "draw": 0})
    return pages


def own_page(chapter: Chapter) -> Path:
    """The notebook of a chapter that is run for itself: a folder for each profile and each set of values unlike its own."""
    values = {key: ",".join(map(str, new)) if isinstance(new, tuple) else new for key, new in chapter.changed.items()}
    words = "_".join([chapter.profile.name, *(f"{key}={value}" for key, value in sorted(values.items()))])
    if (folder := re.sub(r"[^\w.,=+-]", "-", words, flags=re.ASCII)[:80]) != words:
        folder += f"-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
    return store.runs_root() / "chapters" / chapter.name / folder / f"{chapter.name}.ipynb"


def page_settings(profile: Profile, page: str) -> dict:
    """The profile sections that a page is the first to depend on, JSON-ready: what Snakemake compares between runs."""
    name, settings = list_pages(profile)[page]
    section = CHAPTERS[name]
    if settings:
        profile = profile.replace(section, **settings)
    sections = [*([section] if section else []), *FURTHER_SECTIONS.get(name, ())]
    found = {"profile": profile.name, **{key: dataclasses.asdict(getattr(profile, key)) for key in sections}}
    if name == "01_corpus" and not profile.corpus.mixed:
        found["clips"] = _clips_of(profile.corpus)
    if name == "03_training" and profile.schedules:
        found["schedule"] = list(profile.training_run(**settings).checkpoints)
    if name in MODELS_OF:
        with input_files.telling_missing():  # the page says so when it runs
            stats = [(path, path.stat()) for path in MODELS_OF[name](profile)]
        found["models"] = [
            (path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats if not path.is_relative_to(ROOT)
        ]
    if name == "06_thresholds" and profile.thresholds.labels:
        labels = resolve(profile.thresholds.labels)
        files = sorted(labels.glob("*.csv")) if labels.is_dir() else [labels] if labels.is_file() else []
        found["labels"] = [(file.name, hash_file(file)) for file in files]
    if name == "05_retrieval":
        found["second_opinion"] = aisfx.installed()  # the page shows it where it can be had
    return found


def _clips_of(config: CorpusConfig) -> list[str] | str:
    """What a user's tables and files are known by; where they cannot be read, why: the page says so when it runs."""
    try:
        return [*map(hash_file, input_files.user_files(config)), input_files.listing(config)]
    except (OSError, ValueError) as error:
        return str(error)


def every_setting(profile: Profile) -> dict:
    """All sections of the profile, JSON-ready: what a page of a published study depends on, as no page waits for another."""
    return {**dataclasses.asdict(profile), "second_opinion": aisfx.installed()}


def remove_stale_pages(profile: Profile, folder: Path) -> list[str]:
    """Deletes notebooks in `folder` that are no page of this profile (another one's, failed ones); returns their names."""
    keep = {f"{page}.ipynb" for page in list_pages(profile)}
    stale = [path for path in sorted(folder.glob("*.ipynb")) if path.name not in keep]
    for path in stale:
        path.unlink()
    return [path.name for path in stale]
