"""Keeps a sampler off the training clips: a limit to how alike a predicted clean latent may be to the nearest one.

Anti-memorisation guidance (Chen, Liu and Xu, 2024) follows the gradient that makes an image less like its nearest training
image, where their similarity passes a threshold. That gradient vanishes where the two are the same. Here the part of the
latent that points to the training clip is cut down to what the limit allows, which takes no pass back through the network.
"""

import torch
from torch.nn.functional import normalize


class SimilarityCap:
    """`SimilarityCap(latents, limit)(clean)`: latents [n, C, h, w] of the training clips; `limit` of the cosine, 0 to 1."""

    def __init__(self, latents: torch.Tensor, limit: float):
        self.centre, self.limit = latents.mean(0), limit
        self.directions = normalize((latents - self.centre).flatten(1))

    def __call__(self, clean: torch.Tensor) -> torch.Tensor:
        """`clean` [N, C, h, w], those too near their nearest training latent turned away from it; none changes its length.

        Cosines are of latents less the mean training latent, as what all clips share says nothing.
        """
        offset = (clean - self.centre).flatten(1)
        unit = normalize(offset)
        cosine, nearest = (unit @ self.directions.T).max(1)
        direction = self.directions[nearest]
        across = normalize(unit - cosine[:, None] * direction)
        turned = self.limit * direction + (1 - self.limit**2) ** 0.5 * across
        kept = torch.where(cosine[:, None] > self.limit, turned, unit) * offset.norm(dim=1, keepdim=True)
        return self.centre + kept.view_as(clean)
