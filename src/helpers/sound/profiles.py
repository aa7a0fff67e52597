"""Reads `profiles/*.yml`: each states its difference from its base, and `all` of a user's corpus becomes a number."""

from dataclasses import fields
from pathlib import Path

from helpers.base import plain_yaml
from helpers.base.paths import PROFILES
from helpers.base.profile import Profile
from helpers.base.settings import ALL, AUDIOCAPS_TRAINING, CorpusConfig


def load_profile(name: str, folder: Path = PROFILES) -> Profile:
    """Reads, merges and checks `profiles/<name>.yml`.

    There, `corpus.n_train: all` stands for the number of official training clips that can be used; where the data are
    not here, for as many as TANGO had of AudioCaps, so that what it would take can be told. `all` among the sizes is
    corpus.n_train. Raises ValueError or TypeError that names the section and field for an unknown, missing, mistyped or
    out-of-range entry, and what `user_audio.count_training` raises.
    """
    data = read_yaml(name, folder)
    single = ("sizes", "draws", "schedules", "intervention")
    sections = [f.name for f in fields(Profile) if f.name not in ("name", *single)]
    if unknown := set(data) - {*single, *sections}:
        raise ValueError(f"profile {name}: unknown section {min(unknown, key=str)!r}; expected {', '.join(sections)}")
    try:
        corpus = data.get("corpus", {})
        if isinstance(corpus, dict) and corpus.get("n_train") == ALL:
            data["corpus"] = corpus = {**corpus, "n_train": _usable(CorpusConfig(**{**corpus, "n_train": 2}))}
        if isinstance(corpus, dict) and isinstance(data.get("sizes"), list | tuple):
            n_all = corpus.get("n_train", CorpusConfig.n_train)
            data["sizes"] = tuple(n_all if size == ALL else size for size in data["sizes"])
        profile = Profile(name=name, **data)
        profile.check_detector()
        return profile
    except (TypeError, ValueError) as error:
        raise type(error)(f"profile {name}: {error}") from None


def read_yaml(name: str, folder: Path = PROFILES, above: tuple[str, ...] = ()) -> dict:
    """The merged mapping of profile `name`: its `base` first, then its own differences, section by section.

    `above`: the profiles that are based on this one. Raises ValueError where there is no such profile, and names those
    that there are; for what is no mapping of sections, an empty section, and a profile that is based on itself.
    """
    path, chain = folder / f"{name}.yml", " -> ".join((*above, name))
    if name in above:
        raise ValueError(f"profile {name}: expected another base, got itself ({chain})")
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yml") if p.stem != "base" and not p.stem.startswith("protocol"))
        raise ValueError(f"profile: expected one of {', '.join(known)}, got {name!r}{f' ({chain})' if above else ''}")
    own = plain_yaml.parse(path.read_bytes(), f"profile {name}")
    if not isinstance(own, dict):
        got = "an empty file" if own is None else f"{type(own).__name__} {own!r:.60}"
        raise ValueError(f"profile {name}: expected sections, as 'corpus: ...', got {got}")
    if empty := [key for key, value in own.items() if value is None]:
        raise ValueError(
            f"profile {name}: {empty[0]}: expected a value, got nothing; delete the line to leave it as it is"
        )
    base = own.pop("base", None)
    if not isinstance(base, str | None):
        raise ValueError(f"profile {name}: base: expected the name of a profile, got {base!r}")
    merged = read_yaml(base, folder, (*above, name)) if base else {}
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key, {}), dict)
        merged[key] = {**merged.get(key, {}), **value} if both else value
    return merged


def _usable(config: CorpusConfig) -> int:
    if config.mixed:
        raise ValueError(f"n_train: expected a number, as kind {config.kind} has no training split, got 'all'")
    from helpers.sound.user_audio import count_training  # where it is needed: it loads what reads audio

    try:
        return count_training(config)
    except FileNotFoundError:  # told where the corpus is asked for
        return AUDIOCAPS_TRAINING
