"""Keeps a sampler off the training clips: a limit to how alike a predicted clean latent may be to the nearest one.

Anti-memorisation guidance (Chen, Liu and Xu, 2024) follows the gradient that makes an image less like its nearest training
image, where their similarity passes a threshold. That gradient vanishes where the two are the same. Here the part of the
latent that points to the training clip is cut down to what the limit allows, which takes no pass back through the network.
"""

import torch
from torch.nn.functional import normalize

ROUNDS = 20  # of turning: what is turned away from one training clip may come near to one that is like it


class SimilarityCap:
    """`SimilarityCap(latents, limit)(clean)`: latents [n, C, h, w] of the training clips; `limit` of the cosine, 0 to 1."""

    def __init__(self, latents: torch.Tensor, limit: float):
        self.centre, self.limit = latents.mean(0), limit
        self.directions = normalize((latents - self.centre).flatten(1))

    def __call__(self, clean: torch.Tensor) -> torch.Tensor:
        """`clean` [N, C, h, w], those too near a training latent turned away from it, the nearest first, until none is.

        Cosines are of latents less the mean training latent, as what all clips share says nothing. Lengths stay, but for a
        latent that points exactly to a training clip: that has no direction to turn to, and is shortened.
        """
        offset = (clean - self.centre).flatten(1)
        unit = normalize(offset)
        for _ in range(ROUNDS):
            cosine, nearest = (unit @ self.directions.T).max(1, keepdim=True)
            if (cosine <= self.limit + 1e-4).all():
                break
            direction = self.directions[nearest[:, 0]]
            turned = self.limit * direction + (1 - self.limit**2) ** 0.5 * normalize(unit - cosine * direction)
            unit = torch.where(cosine > self.limit, turned, unit)
        return self.centre + (unit * offset.norm(dim=1, keepdim=True)).view_as(clean)
