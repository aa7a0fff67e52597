"""Published weights: where their files lie, and whether they are the expected ones. `checkpoint` reads them.

A part is given as a folder in the layout of its repository on the Hugging Face hub, relative to this repository's root,
or as `hub:<owner>/<name>`, what the hub's cache holds of it. Nothing is fetched: a missing file is an error that says
what to fetch and where to put it.
"""

from dataclasses import dataclass
from pathlib import Path

from helpers.base.paths import resolve
from helpers.base.settings import TextConfig

HUB = "hub:"


@dataclass(frozen=True)
class Layout:
    """The files of one published part by role, each with the names it may have, in order of preference."""

    repository: str  # on the hub
    files: dict[str, tuple[str, ...]]


# Names as the repositories have them: AudioLDM's as `AudioLDMPipeline.save_pretrained` writes them, TANGO's as its
# `tango.py` reads them. FLAN-T5's tokenizer.json needs no sentencepiece, spiece.model would.
AUDIOLDM_VAE = Layout(
    "cvssp/audioldm",
    {
        "config": ("vae/config.json",),
        "weights": ("vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
    },
)
AUDIOLDM_VOCODER = Layout(
    "cvssp/audioldm",
    {"config": ("vocoder/config.json",), "weights": ("vocoder/model.safetensors", "vocoder/pytorch_model.bin")},
)
TANGO_VAE = Layout(  # the vocoder's weights are in the same file
    "declare-lab/tango", {"config": ("vae_config.json",), "weights": ("pytorch_model_vae.bin",)}
)
TANGO_MAIN = Layout("declare-lab/tango", {"weights": ("pytorch_model_main.bin",)})
FLAN_T5 = Layout(
    "google/flan-t5-large",
    {
        "config": ("config.json",),
        "tokenizer": ("tokenizer.json",),
        "tokenizer_config": ("tokenizer_config.json",),
        "weights": ("model.safetensors", "pytorch_model.bin"),
    },
)
ROBERTA_TOKENIZER = Layout("FacebookAI/roberta-base", {"vocabulary": ("vocab.json",), "merges": ("merges.txt",)})


def locate(where: str, name: str) -> Path | None:
    """The file `name` of the folder or `hub:<owner>/<name>` that `where` gives; None where there is none.

    Raises ValueError for a `hub:` that is not followed by an owner and a name.
    """
    if not where.startswith(HUB):
        path = resolve(Path(where) / name)
        return path if path.is_file() else None
    owner, _, rest = where.removeprefix(HUB).partition("/")
    repository, _, folder = rest.partition("/")
    if not owner or not repository:
        raise ValueError(f"expected {HUB}<owner>/<name>, got {where!r}")
    from huggingface_hub import try_to_load_from_cache  # only where the hub's cache is meant

    cached = try_to_load_from_cache(f"{owner}/{repository}", f"{folder}/{name}" if folder else name)
    return Path(cached) if isinstance(cached, str) else None


def find(part: str, where: str, *layouts: Layout) -> tuple[Layout, dict[str, Path]]:
    """The first of `layouts` whose files are all in `where`, and those files by role.

    Raises FileNotFoundError in one line: what is missing, what to fetch, where to put it. `part` names the setting.
    """
    tried = []
    for layout in layouts:
        paths = {
            role: next((p for n in names if (p := locate(where, n))), None) for role, names in layout.files.items()
        }
        if all(paths.values()):
            return layout, paths
        tried.append((sum(map(bool, paths.values())), layout, paths))
    # the first of those with the most files, or of equally many the one that the hub has there
    _, layout, paths = max(tried, key=lambda item: (item[0], where == HUB + item[1].repository))
    missing = [layout.files[role] for role, path in paths.items() if path is None]
    raise FileNotFoundError(_fetch_line(part, where, layout.repository, missing))


def is_audioldm(path: str | Path) -> bool:
    """Whether the path names AudioLDM's published autoencoder: on the hub, or a folder in one of its two layouts."""
    path = str(path)
    names = [name for layout in (AUDIOLDM_VAE, TANGO_VAE) for role in layout.files.values() for name in role]
    return path.startswith(HUB) or any(locate(path, name) for name in names)


def find_vae(where: str) -> tuple[Layout, dict[str, Path]]:
    """Configuration and weights of AudioLDM's autoencoder."""
    return find("codec.codec_path", where, AUDIOLDM_VAE, TANGO_VAE)


def find_hifigan(where: str) -> tuple[Layout, dict[str, Path]]:
    """Configuration (in TANGO's layout the autoencoder's) and weights of AudioLDM's HiFi-GAN."""
    return find("codec.vocoder_path", where, AUDIOLDM_VOCODER, TANGO_VAE)


def find_flan_t5(config: TextConfig) -> dict[str, Path]:
    """Configuration, tokenizer and weights of FLAN-T5; the weights are TANGO's checkpoint where the profile says so."""
    if not config.encoder_weights_path:
        return find("text.encoder_path", config.encoder_path, FLAN_T5)[1]
    rest = Layout(FLAN_T5.repository, {role: names for role, names in FLAN_T5.files.items() if role != "weights"})
    files = find("text.encoder_path", config.encoder_path, rest)[1]
    return files | find("text.encoder_weights_path", config.encoder_weights_path, TANGO_MAIN)[1]


def find_main(where: str) -> Path:
    """TANGO's checkpoint of UNet and text encoder."""
    return find("training.checkpoint_path", where, TANGO_MAIN)[1]["weights"]


def is_laion(path: str | Path) -> bool:
    """Whether the path names a CLAP checkpoint as LAION publishes it, one file."""
    return str(path).endswith(".pt")


def find_clap(where: str) -> Path:
    """LAION's checkpoint, one file: a path relative to the root, or `hub:<owner>/<name>/<file>`. Raises as `find`."""
    folder, _, name = str(where).rpartition("/")
    path = locate(folder, name)
    if path is None:
        raise FileNotFoundError(_fetch_line("retrieval.clap_path", folder, "lukewys/laion_clap", [(name,)]))
    return path


def find_roberta(where: str) -> dict[str, Path]:
    """The tokenizer of LAION's checkpoint `where`, no part of it: the hub's cache, else the folder `roberta-base` beside it."""
    hub = HUB + ROBERTA_TOKENIZER.repository
    cached = all(locate(hub, name) for names in ROBERTA_TOKENIZER.files.values() for name in names)
    beside = str(Path(where).parent / "roberta-base")
    place = hub if cached or str(where).startswith(HUB) else beside
    return find("the tokenizer of retrieval.clap_path", place, ROBERTA_TOKENIZER)[1]


def _fetch_line(part: str, where: str, repository: str, missing: list[tuple[str, ...]]) -> str:
    needed = " and ".join(" or ".join(names) for names in missing)
    fetch = f"hf download {repository} {' '.join(names[0] for names in missing)}"
    if where.startswith(HUB):
        place, target = f"the hub's cache of {where.removeprefix(HUB)}", ""
    else:
        place, target = str(resolve(where)), f" --local-dir {resolve(where)}"
    return f"{part}: expected {needed} in {place}, found none; `{fetch}{target}` puts it there"
