"""AudioLDM's autoencoder and HiFi-GAN as plain functions of a checkpoint with the original names: a slow second answer.

Written after haoheliu/AudioLDM, audioldm/variational_autoencoder/modules.py and audioldm/hifigan/models.py, so that what
the loaders build from library classes can be compared with what the original code computes.
"""

import torch
import torch.nn.functional as F


class Ldm:
    """The autoencoder: `encode` gives the posterior's mean [N, 8, T / 4, M / 4], `decode` mels [N, 1, T, M]."""

    def __init__(self, state: dict[str, torch.Tensor], levels: int, blocks: int):
        self.state, self.levels, self.blocks = state, levels, blocks

    def conv(self, x, name, **options):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], **options)

    def norm(self, x, name):
        return F.group_norm(x, 32, self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=1e-6)

    def resnet(self, x, name):
        h = self.conv(F.silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1", padding=1)
        h = self.conv(F.silu(self.norm(h, f"{name}.norm2")), f"{name}.conv2", padding=1)
        return h + (self.conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.weight" in self.state else x)

    def middle(self, x, name):
        x = self.resnet(x, f"{name}.block_1")
        n, c, height, width = x.shape
        h = self.norm(x, f"{name}.attn_1.norm")
        q, k, v = (self.conv(h, f"{name}.attn_1.{part}").flatten(2) for part in "qkv")
        weights = torch.softmax(torch.einsum("nci,ncj->nij", q, k) * c**-0.5, dim=2)
        h = torch.einsum("ncj,nij->nci", v, weights).reshape(n, c, height, width)
        return self.resnet(x + self.conv(h, f"{name}.attn_1.proj_out"), f"{name}.block_2")

    def ends(self, x, name):
        return self.conv(F.silu(self.norm(x, f"{name}.norm_out")), f"{name}.conv_out", padding=1)

    def encode(self, x):
        x = self.conv(x, "encoder.conv_in", padding=1)
        for i in range(self.levels):
            for j in range(self.blocks):
                x = self.resnet(x, f"encoder.down.{i}.block.{j}")
            if i != self.levels - 1:
                x = self.conv(F.pad(x, (0, 1, 0, 1)), f"encoder.down.{i}.downsample.conv", stride=2)
        moments = self.conv(self.ends(self.middle(x, "encoder.mid"), "encoder"), "quant_conv")
        return moments.chunk(2, dim=1)[0]

    def decode(self, z):
        x = self.conv(self.conv(z, "post_quant_conv"), "decoder.conv_in", padding=1)
        x = self.middle(x, "decoder.mid")
        for i in reversed(range(self.levels)):
            for j in range(self.blocks + 1):
                x = self.resnet(x, f"decoder.up.{i}.block.{j}")
            if i != 0:
                x = self.conv(F.interpolate(x, scale_factor=2.0), f"decoder.up.{i}.upsample.conv", padding=1)
        return self.ends(x, "decoder")


def hifigan(state: dict[str, torch.Tensor], mels: torch.Tensor) -> torch.Tensor:
    """Audio [N, S] in [-1, 1] from mels [N, T, 64]; `state` without the prefix `vocoder.`."""

    def conv(x, name, **options):
        return F.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    x = conv(mels.transpose(1, 2), "conv_pre", padding=3)
    for i, (rate, kernel) in enumerate(zip([5, 4, 2, 2, 2], [16, 16, 8, 4, 4])):
        weight, bias = state[f"ups.{i}.weight"], state[f"ups.{i}.bias"]
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), weight, bias, stride=rate, padding=(kernel - rate) // 2)
        outputs = []
        for j, size in enumerate([3, 7, 11]):
            h = x
            for k, dilation in enumerate([1, 3, 5]):
                name = f"resblocks.{3 * i + j}"
                t = conv(
                    F.leaky_relu(h, 0.1), f"{name}.convs1.{k}", dilation=dilation, padding=dilation * (size - 1) // 2
                )
                h = h + conv(F.leaky_relu(t, 0.1), f"{name}.convs2.{k}", padding=(size - 1) // 2)
            outputs.append(h)
        x = sum(outputs) / 3
    return torch.tanh(conv(F.leaky_relu(x), "conv_post", padding=3))[:, 0]
