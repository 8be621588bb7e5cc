"""LaMBO-2: guided discrete diffusion (Gruver et al., arXiv 2305.20009), with a small model trained from scratch.

The method, written anew. It is not Prescient Design's implementation, pytorch-cortex, which needs an old lightning and
transformers<5 and so can't be installed beside this package. Of each round, only the last step spends evaluations:

1. Train one network on all that was evaluated: a masked language model of the feasible sequences (the discrete
   diffusion) and, on the same hidden states, an ensemble of value heads and a feasibility head.
2. In copies of the best sequences choose a few positions by saliency: the more masking a position would raise the
   acquisition function, by its gradient in the position's embedding, the likelier it is chosen.
3. Mask them and guide their filling in (the paper's NOS): Langevin steps on the last hidden states at the masked
   positions go up the acquisition function and are held by a KL to the unguided distribution of tokens. Then sample.
4. Evaluate the new sequences with the best acquisition values and go back to 1. Round 0 is ``genetic`` with its default
   settings.

The acquisition function is log expected improvement plus log P(feasible). The improvement on the best value so far is
softened, so that it has a gradient everywhere, and the expectation is over the value heads.

Other than in the paper and its authors' code:

- the network is one small trunk of four convolutions, 64 wide, trained from scratch on what was evaluated;
- the value heads differ by their initial weights and a Poisson bootstrap; they see whole sequences only in training,
  and half of a batch's feasible ones come from the best tenth;
- all masked positions are filled in at once, not over a schedule of noise levels;
- Langevin steps are in units of a share of a hidden state's norm (``step_size``), and clipped to one unit per sequence;
- saliency is the signed first-order effect of masking, as in the authors' code, here divided by its deviation over the
  positions;
- some of the masked positions get a token drawn uniformly (``explore``), so that what the model finds unlikely is tried
  too;
- a candidate that was asked before or holds a transition proven forbidden is dropped. Where none is left, ``genetic``
  takes the round.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.determinism import threads
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.genetic_agent import Config as GeneticConfig
from bioseq_gym.agents.genetic_agent import best_first, evolve
from bioseq_gym.errors import InvalidConfig

logger = logging.getLogger("bioseq_gym.agents.lambo")

Tokens = NDArray[np.uint8]
Values = NDArray[np.float64]
GENETIC = GeneticConfig()
BLOCKS, KERNEL = 4, 7  # a hidden state sees 12 positions to each side


@dataclass(frozen=True)
class Config:
    """Settings of LaMBO-2."""

    warmup: int = setting(400, "evaluations of the genetic algorithm in round 0", low=1)
    round_size: int = setting(200, "evaluations per later round", low=1)
    seeds: int = setting(100, "best feasible sequences that are edited", low=1)
    copies: int = setting(10, "guided edits per seed", low=1)
    mutations: int = setting(4, "masked positions per edit", low=1)
    saliency: float = setting(1.0, "temperature of the choice of positions", low=0.01)
    updates: int = setting(4, "Langevin steps on the hidden states", low=0)
    step_size: float = setting(
        0.5, "unit, and largest length, of a Langevin step, as a share of a hidden state's norm", low=0.0
    )
    noise: float = setting(0.1, "norm of a step's noise at a position, in these units", low=0.0)
    kl_weight: float = setting(
        0.1, "weight of the KL to the unguided distribution; the acquisition has the rest", low=0.0, high=1.0
    )
    explore: float = setting(1.0, "mean number of masked positions per edit whose token is drawn uniformly", low=0.0)
    hidden_size: int = setting(64, "width of the network", low=1)
    heads: int = setting(4, "value heads", low=1)
    first_steps: int = setting(200, "optimizer steps of the first training", low=1)
    steps: int = setting(50, "optimizer steps of each later one", low=1)
    batch_size: int = setting(96, "sequences per optimizer step, a quarter of them infeasible", low=2)
    learning_rate: float = setting(1e-3, "of AdamW", low=0.0)


class Block(nn.Module):
    """A residual block: normalise, convolve over positions, mix channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(width, width)
        self.convolve = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)

    def forward(self, h: Tensor) -> Tensor:
        """(B, L, width) of (B, L, width)."""
        update = self.convolve(self.norm(h).transpose(1, 2)).transpose(1, 2)
        return h + self.mix(functional.silu(update))


class Pooled(nn.Module):
    """A head on hidden states: mix channels, take mean and maximum over positions, and a linear map of these."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(2 * width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """(B,) of (B, L, width)."""
        h = self.mix(h)
        return self.out(torch.cat([h.mean(1), h.amax(1)], -1))[:, 0]


class Network(nn.Module):
    """The trunk and its heads, initialised from a seed. Token V is the mask."""

    def __init__(self, V: int, L: int, config: Config, seed: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.V = V
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(V + 1, width)
            self.position = nn.Parameter(0.1 * torch.randn(L, width))
            self.trunk = nn.Sequential(*(Block(width) for _ in range(BLOCKS)))
            self.tokens = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, V))  # (B, L, V) logits of hidden states
            self.value = nn.ModuleList(Pooled(width) for _ in range(config.heads))
            self.feasible = Pooled(width)  # (B,) logits

    def hidden(self, embedded: Tensor) -> Tensor:
        """The hidden states (B, L, width) of embedded tokens (B, L, width)."""
        return self.trunk(embedded + self.position)

    def encode(self, x: Tensor) -> Tensor:
        """The hidden states (B, L, width) of tokens (B, L)."""
        return self.hidden(self.embedding(x))

    def values(self, h: Tensor) -> Tensor:
        """(heads, B) standardised values."""
        return torch.stack([head(h) for head in self.value])

    def acquisition(self, h: Tensor, best: float) -> Tensor:
        """(B,) log of the expected improvement on ``best``, a standardised value, plus log P(feasible)."""
        improvement = functional.softplus(self.values(h) - best, beta=4.0)
        return improvement.mean(0).clamp_min(1e-9).log() + functional.logsigmoid(self.feasible(h))


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Train, propose and evaluate until the budget is spent."""
    with threads(1):
        optimize(env, seed, config)


def optimize(env: EvaluationBudget, seed: int, config: Config) -> None:
    """Round 0, then the rounds."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(env.vocabulary_size, env.length, config, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    transitions = LearnedTransitions(env.vocabulary_size)
    sequences, values = env.initial_solution[None].astype(np.uint8), np.array([env.initial_value])
    transitions.update(sequences, values > -np.inf)
    sequences, values = evolve(env, config.warmup, sequences, values, transitions, rng, GENETIC)
    steps = config.first_steps
    while not env.done:
        asked = len(sequences)
        losses = train(network, optimizer, sequences, values, steps, config, rng)
        steps = config.steps
        pool = propose(network, sequences, values, transitions, config, generator)
        candidates = pool[: min(config.round_size, env.remaining)]
        if len(candidates):
            answers, feasible = env.evaluate(candidates)
            transitions.update(candidates, feasible)
            sequences, values = np.concatenate([sequences, candidates]), np.concatenate([values, answers])
        else:
            logger.info("nothing new proposed: a round of the genetic algorithm instead")
            sequences, values = evolve(env, config.round_size, sequences, values, transitions, rng, GENETIC)
        if len(sequences) == asked:
            break
        logger.info(
            "losses of tokens %.2f, values %.2f, feasibility %.2f; %d of %d candidates evaluated, %.0f %% feasible, "
            "best %.3f, so far %.3f",
            *(*losses, len(values) - asked, len(pool), 100 * (values[asked:] > -np.inf).mean()),
            *(values[asked:].max(), values.max()),
        )


def standardised(values: Values) -> Values:
    """``values`` (n,) with mean 0 and deviation 1 of the feasible ones; 0 where infeasible."""
    feasible = values > -np.inf
    mean, deviation = values[feasible].mean(), max(values[feasible].std(), 1e-3)
    return np.where(feasible, (np.where(feasible, values, mean) - mean) / deviation, 0.0)


def train(
    network: Network,
    optimizer: torch.optim.Optimizer,
    sequences: Tokens,
    values: Values,
    steps: int,
    config: Config,
    rng: np.random.Generator,
) -> Values:
    """Take steps on ``sequences`` (n, L) and their ``values`` (n,).

    Returns:
        The mean losses of the tokens, the values and the feasibility, (3,).

    Raises:
        InvalidConfig: the training diverged.
    """
    x, y = torch.from_numpy(sequences.astype(np.int64)), torch.from_numpy(standardised(values)).float()
    order = best_first(values)
    good, bad = order[values[order] > -np.inf], np.flatnonzero(values == -np.inf)
    infeasible = config.batch_size // 4 if len(bad) else 0
    n = config.batch_size - infeasible
    losses = np.zeros(3)
    for _ in range(steps):
        top = rng.choice(good[: max(1, len(good) // 10)], n // 2)
        wrong = bad[rng.integers(max(1, len(bad)), size=infeasible)]
        rows = np.concatenate([top, rng.choice(good, n - n // 2), wrong])
        xb, yb = x[rows], y[rows]
        h = network.encode(xb)
        weights = torch.from_numpy(rng.poisson(1.0, (config.heads, n))).float()  # the bootstrap
        terms = torch.stack(
            [
                masked_loss(network, xb[:n], torch.from_numpy(draw_masks(n, x.shape[1], rng))),
                (weights * (network.values(h[:n]) - yb[:n]).square()).mean(),
                functional.binary_cross_entropy_with_logits(network.feasible(h), (torch.arange(len(rows)) < n).float()),
            ]
        )
        loss = terms.sum()
        if not torch.isfinite(loss):
            raise InvalidConfig(
                f"lambo-2's training diverged: its loss is {loss.item()}; give a smaller --learning-rate"
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses += terms.detach().numpy()
    return losses / steps


def draw_masks(n: int, L: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n, L) masks of a share of each row, uniform in 0.05 .. 1 (the time of the diffusion); at least one position."""
    u = rng.random((n, L))
    masked: NDArray[np.bool_] = u <= np.maximum(rng.uniform(0.05, 1.0, (n, 1)), u.min(axis=1, keepdims=True))
    return masked


def masked_loss(network: Network, x: Tensor, masked: Tensor) -> Tensor:
    """The mean cross-entropy, a scalar, of the ``masked`` tokens of ``x``, both (B, L), given the other tokens."""
    logits = network.tokens(network.encode(torch.where(masked, network.V, x)))
    return functional.cross_entropy(logits[masked], x[masked])


def propose(
    network: Network,
    sequences: Tokens,
    values: Values,
    transitions: LearnedTransitions,
    config: Config,
    generator: torch.Generator,
) -> Tokens:
    """New sequences (m, L) by guided diffusion from the best of ``sequences`` (n, L), the best acquisition first."""
    order = best_first(values)
    best = float(standardised(values)[order[0]])
    parents = sequences[order[values[order] > -np.inf][: config.seeds]]
    x = torch.from_numpy(np.tile(parents, (config.copies, 1)).astype(np.int64))
    masked = salient_positions(network, x, best, config, generator)
    h = guide(network, network.encode(torch.where(masked, network.V, x)).detach(), masked, best, config, generator)
    edits = fill(network, x, masked, h, config, generator).numpy().astype(np.uint8)
    known = {row.tobytes() for row in sequences}
    new = [key for key in dict.fromkeys(row.tobytes() for row in edits) if key not in known]
    pool = np.frombuffer(b"".join(new), np.uint8).reshape(-1, sequences.shape[1])
    pool = pool[transitions.admits(pool)]
    with torch.no_grad():
        scores = network.acquisition(network.encode(torch.from_numpy(pool.astype(np.int64))), best)
    return pool[torch.argsort(scores, descending=True, stable=True).numpy()]


def salient_positions(network: Network, x: Tensor, best: float, config: Config, generator: torch.Generator) -> Tensor:
    """(B, L) bool: positions of ``x`` (B, L), likelier where masking raises the acquisition, to first order.

    They are drawn without replacement from the softmax of the standardised effect over the temperature.
    """
    embedded = network.embedding(x).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network.acquisition(network.hidden(embedded), best).sum(), embedded)
    with torch.no_grad():
        effect = (gradient * (network.embedding.weight[network.V] - embedded)).sum(-1)  # (B, L)
        effect = effect / effect.std(1, correction=0, keepdim=True).clamp_min(1e-6)
        gumbel = -torch.empty_like(effect).exponential_(generator=generator).log()  # the largest sums are such a draw
        chosen = (effect / config.saliency + gumbel).topk(min(config.mutations, x.shape[1]), dim=1).indices
    return torch.zeros_like(x, dtype=torch.bool).scatter(1, chosen, True)


def guide(
    network: Network, h: Tensor, masked: Tensor, best: float, config: Config, generator: torch.Generator
) -> Tensor:
    """Langevin steps from the hidden states ``h`` (B, L, width), moving those at the ``masked`` (B, L) positions."""
    where = masked[..., None]
    with torch.no_grad():
        unguided = network.tokens(h).log_softmax(-1)
    unit = config.step_size * h.norm(dim=-1).mean()
    for _ in range(config.updates):
        h = h.detach().requires_grad_(True)
        kl = divergence(network.tokens(h).log_softmax(-1), unguided)[masked].sum()
        loss = config.kl_weight * kl - (1.0 - config.kl_weight) * network.acquisition(h, best).sum()
        (gradient,) = torch.autograd.grad(loss, h)
        gradient = gradient * where * unit
        gradient = gradient / gradient.flatten(1).norm(dim=1)[:, None, None].clamp_min(1.0)
        noise = torch.randn(h.shape, generator=generator) * where * (config.noise / h.shape[-1] ** 0.5)
        h = h - unit * (gradient - noise)
    return h.detach()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q), (B, L), of distributions of tokens given as log-probabilities (B, L, V)."""
    return (p.exp() * (p - q)).sum(-1)


@torch.no_grad()
def fill(network: Network, x: Tensor, masked: Tensor, h: Tensor, config: Config, generator: torch.Generator) -> Tensor:
    """``x`` (B, L) with tokens sampled from hidden states ``h`` (B, L, width) at the ``masked`` (B, L) positions."""
    probabilities = network.tokens(h[masked]).softmax(-1)  # (masked positions of all rows, V)
    drawn = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    uniform = torch.randint(network.V, drawn.shape, generator=generator)
    explores = torch.rand(drawn.shape, generator=generator) < config.explore / config.mutations
    return x.masked_scatter(masked, torch.where(explores, uniform, drawn))


AGENT = Agent("lambo-2", run, Config())

if __name__ == "__main__":
    AGENT.main()
