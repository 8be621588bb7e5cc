"""The language model that edits sequences: a small GPT-NeoX (Pythia's architecture) over one token per state."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, GPTNeoXConfig, GPTNeoXForCausalLM

from bioseq_gym.errors import InvalidConfig


class Policy:
    """pi(y|x) for x and y of L tokens, initialised from its config and a seed.

    The model reads ``x_1 .. x_L <sep>`` and writes ``y_1 .. y_L``. Lengths are fixed, so there is no padding and no
    end token.

    Args:
        V: vocabulary size; token V is the separator.
        L: sequence length.
        hidden_size: width; a multiple of 16, the width of an attention head.
        layers: number of transformer blocks.
        seed: of the weights.

    Raises:
        InvalidConfig: ``hidden_size`` is no multiple of 16.
    """

    def __init__(self, V: int, L: int, *, hidden_size: int, layers: int, seed: int) -> None:
        self.V, self.L = V, L
        if hidden_size % 16:
            raise InvalidConfig(f"--hidden-size of llome is {hidden_size}; give a multiple of 16")
        self.device = torch.device("cpu")  # so small a model gains nothing elsewhere, and a seed means one ledger
        config = GPTNeoXConfig(
            vocab_size=V + 1,
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=hidden_size // 16,
            intermediate_size=4 * hidden_size,
            max_position_embeddings=2 * L + 1,
            rotary_pct=1.0,  # y_t mostly copies x_t, which is found by its distance
            bos_token_id=None,
            eos_token_id=None,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = GPTNeoXForCausalLM(config).to(self.device)
        self.model.eval()  # no dropout anywhere: training and evaluation compute the same

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """Log pi(y|x), summed over the tokens of y: (B,), from (B, L) and (B, L)."""
        logits = self.model(torch.cat([self._prompt(x), y[:, :-1]], dim=1)).logits[:, self.L :, : self.V]  # (B, L, V)
        return torch.log_softmax(logits, dim=-1).gather(-1, y[..., None]).squeeze(-1).sum(-1)

    @torch.no_grad()
    def sample(
        self,
        x: Tensor,
        count: int,
        temperature: float,
        explore: float,
        forbidden: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Draw ``count`` edits of each x; the first of them is the greedy one.

        Args:
            x: (B, L) seeds; each is encoded once.
            count: edits per seed.
            temperature: of the sampling; 1 is the model's own distribution.
            explore: probability of drawing a token uniformly among the successors that are not forbidden; the model
                goes on from it as from any other.
            forbidden: (V, V) bool, transitions that are never written; every token has a successor that is not.
            generator: of the draws, on the CPU.

        Returns:
            The edits (B, count, L) and their log-likelihood (B, count) at temperature 1 under the mask.
        """
        prompt = self._prompt(x)
        cache = DynamicCache(config=self.model.config)
        logits = self.model(prompt, past_key_values=cache, use_cache=True).logits[:, -1, : self.V]
        cache.batch_repeat_interleave(count)
        logits = logits.repeat_interleave(count, dim=0)  # (B * count, V)
        greedy = torch.arange(len(logits), device=self.device) % count == 0
        tokens: list[Tensor] = []
        total = torch.zeros(len(logits), device=self.device)
        for t in range(self.L):
            if t:
                logits = self.model(tokens[-1][:, None], past_key_values=cache, use_cache=True).logits[:, -1, : self.V]
                logits = logits.masked_fill(forbidden[tokens[-1]], -torch.inf)
            logps = torch.log_softmax(logits, dim=-1)
            possible = logits > -torch.inf
            uniform = possible / possible.sum(-1, keepdim=True)
            probabilities = (1.0 - explore) * torch.softmax(logits / temperature, dim=-1) + explore * uniform
            drawn = torch.multinomial(probabilities.cpu(), 1, generator=generator).squeeze(1).to(self.device)
            token = torch.where(greedy, logits.argmax(-1), drawn)
            total += logps.gather(1, token[:, None]).squeeze(1)
            tokens.append(token)
        return torch.stack(tokens, dim=1).view(len(x), count, self.L), total.view(len(x), count)

    def tensor(self, x: NDArray[np.generic]) -> Tensor:
        """``x`` on the model's device; integers become int64, floats float32."""
        return torch.from_numpy(x.astype(np.float32 if x.dtype.kind == "f" else np.int64)).to(self.device)

    def _prompt(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], self.V)], dim=1)  # (B, L + 1)
