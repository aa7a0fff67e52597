"""The denoiser stage: a trained denoiser at half precision, small enough to publish.

Notebook: 04_generation.
"""

from pathlib import Path

from safetensors.torch import load_file, save_file


def compute(out: Path, upstream: dict[str, Path]) -> None:
    """Writes the last averaged weights of upstream["training"] as float16, with `unet.json`, in the layout of training.

    Half the size of what was trained, and near enough for the same clips (chapter 4 shows the cosine of their latents).
    """
    trained = upstream["training"]
    source = max((trained / "checkpoints").glob("ema_*.safetensors"))
    (out / "checkpoints").mkdir()
    save_file({name: weight.half() for name, weight in load_file(source).items()}, out / "checkpoints" / source.name)
    (out / "unet.json").write_text((trained / "unet.json").read_text())
