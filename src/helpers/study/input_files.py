"""The files from outside the store that decide a stage's result: frozen models, published weights, a user's own data."""

import contextlib
import functools
import hashlib
import os
from contextvars import ContextVar
from pathlib import Path

from helpers.base.hashing import hash_file
from helpers.base.paths import resolve, runs_root
from helpers.base.progress import progress
from helpers.base.settings import CodecConfig, CorpusConfig, RetrievalConfig, TextConfig, TrainingConfig
from helpers.models.pretrained.locate import (
    find_clap,
    find_flan_t5,
    find_hifigan,
    find_main,
    find_roberta,
    find_vae,
    is_audioldm,
    is_laion,
)
from helpers.sound.audio_folder import fingerprint
from helpers.sound.user_table import listed_files, places

_lacking: ContextVar[list[str] | None] = ContextVar("lacking", default=None)  # what plans are told of


@contextlib.contextmanager
def telling_missing():
    """Within the block, files that are not here are no error but lines of the list that it gives: for plans."""
    lacking: list[str] = []
    token = _lacking.set(lacking)
    try:
        yield lacking
    finally:
        _lacking.reset(token)


def _told(empty):
    """Of a function that looks for files: what it gives, within `telling_missing`, where one is not here."""

    def decorate(function):
        @functools.wraps(function)
        def looking(*given):
            try:
                return function(*given)
            except FileNotFoundError as error:
                lacking = _lacking.get()
                if lacking is None:
                    raise
                if str(error) not in lacking:
                    lacking.append(str(error))
                return empty

        return looking

    return decorate


def model_files(folder: str) -> tuple[Path, ...]:
    """What decides the results of a model made here; its figures and card may be remade without changing them."""
    place = resolve(folder)
    return (*sorted(place.glob("*.safetensors")), place / "config.json")


def codec_files(config: CodecConfig, vocoder: bool = True) -> tuple[Path, ...]:
    """What decides latents and, with `vocoder`, how clips come back as sound."""
    return _vae_files(config.codec_path) + (_vocoder_files(config) if vocoder else ())


@_told(())
def _vae_files(path: str) -> tuple[Path, ...]:
    return tuple(find_vae(path)[1].values()) if is_audioldm(path) else model_files(path)


@_told(())
def _vocoder_files(config: CodecConfig) -> tuple[Path, ...]:
    if config.vocoder == "hifigan":
        return tuple(find_hifigan(config.vocoder_path)[1].values())
    return model_files(config.vocoder_path) if config.vocoder == "vocos" else ()


@_told(())
def text_files(config: TextConfig) -> tuple[Path, ...]:
    """Weights of a published text encoder; MiniLM's are a locked package's."""
    return tuple(find_flan_t5(config).values()) if config.encoder == "flan_t5" else ()


def clap_files(config: RetrievalConfig, captions: bool = False) -> tuple[Path, ...]:
    """What decides CLAP's embeddings of sounds and, with `captions`, of captions."""
    return _clap_files(config.clap_path) + (_tokenizer_files(config.clap_path) if captions else ())


@_told(())
def _clap_files(path: str) -> tuple[Path, ...]:
    return (find_clap(path),) if is_laion(path) else model_files(path)


@_told(())
def _tokenizer_files(path: str) -> tuple[Path, ...]:
    return tuple(find_roberta(path).values()) if is_laion(path) else ()


@_told(())
def checkpoint_files(config: TrainingConfig) -> tuple[Path, ...]:
    """TANGO's weights, where they are loaded instead of trained."""
    return (find_main(config.checkpoint_path),) if config.checkpoint_path else ()


@_told(())
def user_files(config: CorpusConfig) -> tuple[Path, ...]:
    """The tables that list a user's own clips. Raises FileNotFoundError where one or the folder of audio is missing."""
    return places(config)[0]


@_told("")
@functools.cache
def listing(config: CorpusConfig) -> str:
    """What a user's files are known by: names and contents, wherever and whenever they were copied.

    To read them takes minutes, so what came out is kept with the results until a size or time of one changes.
    """
    files = listed_files(config)
    kept = runs_root() / "checked" / f"{fingerprint(files)}.contents"
    if kept.is_file() and (known := kept.read_text()):
        return known
    read = [
        (name, hash_file(file) if os.access(file, os.R_OK) else "")
        for name, file in progress(files.items(), desc="reading your clips", unit="file")
    ]
    found = hashlib.sha256(repr(read).encode()).hexdigest()
    with contextlib.suppress(OSError):  # a place that may not be written: read again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        (part := kept.with_suffix(f".{os.getpid()}")).write_text(found)
        part.replace(kept)
    return found
