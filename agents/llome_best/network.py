"""The model: a small network of long convolutions that corrects what a family believes of its positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

REACH = 32  # the farthest offset that a layer sees
SPREAD = 0.3  # standard deviation of the kernels at first
SCALE = 3.0  # of log-odds


class Block(nn.Module):
    """A long convolution of each channel by itself, then a perceptron; both on normalised residuals.

    Instead, attention with a weight for each offset found half of a motif's positions from the tests that this found
    nearly all from.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 2 * width
        self.into, self.out = nn.Linear(width, channels), nn.Linear(channels, width)
        self.kernels = nn.Parameter(SPREAD * torch.randn(channels, 2 * REACH + 1))
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """(B, L, width) to the same."""
        h = h + self.out(convolved(self.into(self.before(h)), self.kernels))
        mixed: Tensor = h + self.mlp(self.between(h))
        return mixed


def convolved(h: Tensor, kernels: Tensor) -> Tensor:
    """(B, L, C), nothing beyond its ends, with a kernel (C, 2R + 1) for each channel, by Fourier transforms."""
    L, reach = h.shape[1], kernels.shape[1] // 2
    n = L + 2 * reach
    spectrum = torch.fft.rfft(h, n, dim=1) * torch.fft.rfft(kernels, n).T
    return torch.fft.irfft(spectrum, n, dim=1)[:, reach : reach + L]


class Network(nn.Module):
    """Per position, the log-odds that it is critical: those of the family plus a correction, which is 0 at first.

    No position is absolute: what is learned of a motif in one place holds in all.

    Args:
        V: states.
        width: of the residual stream.
        layers: of convolution.
        seed: of the weights; torch's own generator is left as it was.
    """

    def __init__(self, V: int, *, width: int, layers: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed = nn.Embedding(V, width)
            self.belief = nn.Linear(1, width)
            self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
            self.norm = nn.LayerNorm(width)
            self.correction = nn.Linear(width, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, x: Tensor, odds: Tensor) -> Tensor:
        """Tokens (B, L) and a family's log-odds (B, L) to log-odds (B, L)."""
        h = self.embed(x) + self.belief(odds[..., None] / SCALE)
        for block in self.blocks:
            h = block(h)
        corrected: Tensor = odds + self.correction(self.norm(h)).squeeze(-1)
        return corrected


def noisy_or_loss(logits: Tensor, changed: Tensor, passed: Tensor) -> Tensor:
    """Mean negative log-likelihood of tests: ``log p(pass) = sum over changed i of log(1 - critical_i)``.

    Args:
        logits: (B, L) log-odds that each position of the parent is critical.
        changed: (B, L) bool, where the child differs.
        passed: (B,) bool, whether it kept the value.
    """
    keep = (functional.logsigmoid(-logits) * changed).sum(-1).clamp(-30.0, -1e-4)
    return -torch.where(passed, keep, torch.log(-torch.expm1(keep))).mean()
