"""All published parts alike: exactly the tensors, no code, one line for what is missing, on fabricated checkpoints."""

import os
import shutil

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from published_inputs import RATE, random_mels, text_config, unet_config
from safetensors.torch import load_file, save_file

from helpers.base.hashing import hash_file
from helpers.models.codec import load_codec
from helpers.models.pretrained import audioldm, locate, tango
from helpers.models.pretrained.checkpoint import load_exactly, read_tensors
from helpers.models.pretrained.flan_t5 import load_flan_t5
from helpers.models.pretrained.laion import load_laion


def load_t5(folder):
    return load_flan_t5(text_config(folder))


PARTS = {
    "vae": ("audioldm", "vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias", load_codec),
    "vocoder": ("audioldm", "vocoder/model.safetensors", "conv_pre.bias", lambda f: audioldm.load_hifigan(str(f))),
    "tango_vae": ("tango", "pytorch_model_vae.bin", "decoder.mid.attn_1.q.bias", load_codec),
    "tango_vocoder": ("tango", "pytorch_model_vae.bin", "vocoder.ups.3.bias", lambda f: audioldm.load_hifigan(str(f))),
    "text": ("flan-t5", "model.safetensors", "encoder.final_layer_norm.weight", load_t5),
    "unet": ("tango", "pytorch_model_main.bin", "unet.conv_out.bias", None),
    "clap": (
        "clap",
        "630k-audioset-best.pt",
        "module.audio_projection.2.bias",
        lambda f: load_laion(str(f / "630k-audioset-best.pt"), RATE),
    ),
}


def save_state(path, state):
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)


@pytest.fixture(params=PARTS)
def part(request, fabricated, tmp_path, sizes):
    """A copy of one part's folder, the file of its weights, one of its tensors, and how it is loaded."""
    name, file, tensor, load = PARTS[request.param]
    folder = tmp_path / "copy"
    shutil.copytree(fabricated / name, folder)

    def load_unet(where):
        return tango.load_unet(unet_config(where, sizes), (8, 64, 16), 32)

    return folder, folder / file, tensor, load or load_unet


def read(path):
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=False)
    return state.get("state_dict", state)


def test_a_missing_an_unknown_a_misshapen_and_a_broken_tensor_are_refused(part):
    folder, path, tensor, load = part
    state = read(path)
    short = tensor.removeprefix("module.").removeprefix("unet.").removeprefix("vocoder.").rpartition(".")[2]
    cases = {
        rf"expected exactly \w+'s tensors, but it lacks \S*{short}": {k: v for k, v in state.items() if k != tensor},
        r"surplus": state | {f"{tensor.rpartition('.')[0]}.surplus": torch.zeros(3)},
        r"expected shape \(\d+,\), got \(1, \d+\)": state | {tensor: state[tensor][None]},
        "expected finite weights, got NaN or infinity": state | {tensor: state[tensor] * torch.nan},
    }
    for message, altered in cases.items():
        save_state(path, altered)
        audioldm.load_hifigan.cache_clear()
        load_flan_t5.cache_clear()
        with pytest.raises(ValueError, match=message) as caught:
            load(folder)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


class Code:
    """A pickle of this makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_in_a_pickle_is_refused_and_not_run(part, tmp_path):
    folder, path, _, load = part
    target = tmp_path / "code-was-run"
    if path.suffix == ".safetensors":
        state = read(path)
        path.unlink()
        path = path.with_name(
            {"diffusion_pytorch_model": "diffusion_pytorch_model.bin", "model": "pytorch_model.bin"}[path.stem]
        )
    else:
        state = read(path)
    torch.save({**state, "extra": Code(target)}, path)
    audioldm.load_hifigan.cache_clear()
    load_flan_t5.cache_clear()
    with pytest.raises(
        ValueError, match="expected nothing but tensors, got GLOBAL posix.mkdir; it was not run"
    ) as caught:
        load(folder)
    assert not target.exists() and "\n" not in str(caught.value)
    torch.load(path, weights_only=False)  # the trap itself works
    assert target.exists()


def test_damaged_and_odd_files_are_refused(fabricated, tmp_path):
    whole = (fabricated / "tango" / "pytorch_model_vae.bin").read_bytes()
    (tmp_path / "cut.bin").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.safetensors").write_bytes(whole[:100])
    torch.save({"a": torch.ones(1), "b": 3}, tmp_path / "number.bin")
    torch.save([torch.ones(1)], tmp_path / "list.bin")
    for name, message in {
        "cut.bin": "expected",
        "cut.safetensors": "expected a whole checkpoint, got a damaged one",
        "number.bin": "expected a tensor under 'b', got int",
        "list.bin": "expected tensors by name, got list",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            read_tensors(tmp_path / name)


def test_numpys_numbers_are_allowed_only_where_they_are_expected(fabricated):
    with pytest.raises(ValueError, match="numpy"):
        read_tensors(fabricated / "clap" / "630k-audioset-best.pt")


def test_a_missing_file_gives_one_line_on_what_to_fetch_and_where_to_put_it(part):
    folder, path, _, load = part
    path.unlink()
    audioldm.load_hifigan.cache_clear()
    load_flan_t5.cache_clear()
    with pytest.raises(FileNotFoundError) as caught:
        load(folder)
    line = str(caught.value)
    wanted = path.relative_to(folder).as_posix()
    assert "\n" not in line
    assert f"expected {wanted}" in line and f"in {folder}, found none" in line
    assert f"hf download {_repository(line)} {wanted} --local-dir {folder}` puts it there" in line


def _repository(line: str) -> str:
    known = ("cvssp/audioldm", "declare-lab/tango", "google/flan-t5-large", "lukewys/laion_clap")
    return next(name for name in known if f"hf download {name} " in line)


def test_a_folder_without_any_codec_says_what_to_fetch(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_codec(tmp_path)
    line = str(caught.value)
    assert "\n" not in line and f'`hf download cvssp/audioldm --include "vae/*" --local-dir {tmp_path}` puts' in line


def test_the_hubs_cache_is_read_and_what_it_lacks_is_named(fabricated, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_codec("hub:cvssp/audioldm")
    assert str(caught.value) == (
        "codec.codec_path: expected vae/config.json and vae/diffusion_pytorch_model.safetensors or "
        "vae/diffusion_pytorch_model.bin in the hub's cache of cvssp/audioldm, found none; `hf download cvssp/audioldm "
        "vae/config.json vae/diffusion_pytorch_model.safetensors` puts it there"
    )
    repository = tmp_path / "models--cvssp--audioldm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    shutil.copytree(fabricated / "audioldm", repository / "snapshots" / "abc123")
    latents = load_codec("hub:cvssp/audioldm").encode(random_mels(1))
    np.testing.assert_array_equal(latents, load_codec(fabricated / "audioldm").encode(random_mels(1)))
    repository = tmp_path / "models--lukewys--laion_clap"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("def456")
    shutil.copytree(fabricated / "clap", repository / "snapshots" / "def456")
    assert locate.find_clap("hub:lukewys/laion_clap/630k-audioset-best.pt").is_file()
    with pytest.raises(ValueError, match="expected hub:<owner>/<name>, got 'hub:audioldm'"):
        load_codec("hub:audioldm")


def test_sha256_is_checked_by_its_first_digits(fabricated):
    path = fabricated / "tango" / "pytorch_model_vae.bin"
    right = hash_file(path)
    load_codec(fabricated / "tango", right[:8])
    load_codec(fabricated / "tango", right)
    wrong = "7d49e188"  # the published file's
    with pytest.raises(ValueError, match=rf"pytorch_model_vae.bin: expected sha256 {wrong}, got {right[:16]}"):
        load_codec(fabricated / "tango", wrong)
    with pytest.raises(ValueError, match="expected 8 to 64 hex digits, got 'abc'"):
        load_codec(fabricated / "tango", "abc")


def test_buffers_and_weights_are_both_counted():
    model = torch.nn.BatchNorm1d(2)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del state["running_mean"]
    with pytest.raises(ValueError, match="here: expected exactly BatchNorm1d's tensors, but it lacks running_mean"):
        load_exactly(model, state, "here")
