"""LLOME: a language model as the optimizer (Chen et al., arXiv 2410.22296, "Generalists vs. Specialists").

The outer loop spends evaluations; the inner loop does not:

1. Round 0 collects data with a genetic algorithm.
2. Turn what was evaluated into pairs (x, y) of near neighbours, y better, and train pi(y|x) on them: by supervised
   fine-tuning the first time, by SFT, DPO or MargE in the later rounds, with the model at the round's start as the
   reference.
3. From the best sequences, let the model edit, again and again, following its most likely new edit of each, without
   asking for values.
4. Evaluate candidates that the model finds likely, and go back to 2.

While there are no pairs, since nothing is worth more than 0 or near anything better, and where the model writes nothing
new, a round of our own genetic algorithm stands in for what is missing.

``paper`` has the published settings of MargE: a pretrained model that reads and writes lists of numbers; it wants a
GPU. The authors' code differs: its seeds are the best of the round's pairs, which may repeat, ours of all that was
evaluated; its trajectories may follow what is known; its likelihoods are at the temperature of the sampling, ours at 1;
its pairs are the worse among 30 neighbours, ours 30 neighbours among the worse, and none of a y that is worth 0; its
temperatures start anew after the first training, ours go on; and it keeps the weights that do best on held-out pairs,
ours the last. Its SFT takes 128 pairs a step, and its DPO a beta of 0.4, a rate of 1e-7 and RMSprop.

``scratch``, the default, trains a small GPT-NeoX with one token for each state. It departs from the paper where that
was better: the model learns to copy first, pairs are nearer, rounds shorter, transitions proven forbidden are not
written, and candidates are drawn from all that was written, since those that it finds likely were too like their seeds.
A run keeps its state after each round, and of each of the model's a line of diagnostics, in the folder ``agent`` of
its directory.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.determinism import threads
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.genetic_agent import Config as GeneticConfig
from bioseq_gym.agents.genetic_agent import HoloConfig, best_first, evolve, evolve_holo
from bioseq_gym.agents.llome import checkpoint
from bioseq_gym.agents.llome.diagnostics import RoundLog, calibration, collapse
from bioseq_gym.agents.llome.pairs import Pairs, check_distance, near_pairs, rejected
from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.llome.proposals import Pool, propose, temperatures
from bioseq_gym.agents.llome.training import PairData, Recipe, train
from bioseq_gym.errors import BudgetExhausted, InvalidConfig

logger = logging.getLogger("bioseq_gym.agents.llome")

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]
COPY_CHANGES = 2.0  # positions in which a copy differs, in the mean
ROUND_0 = ("genetic-holo", "genetic")


@dataclass(frozen=True)
class Config:
    """Settings of LLOME."""

    # the model
    model: str = setting("", "name or path of a causal language model of transformers; empty: one from scratch")
    size: str = setting("0.1M", "parameters of the one from scratch: 0.1M, 0.6M or 5M")
    lora_rank: int = setting(0, "train adapters of that rank of a pretrained model; 0: all weights", low=0)
    device: str = setting("cpu", "cpu, cuda or auto")
    threads: int = setting(1, "threads of torch; more pay off for wider models only", low=1)
    # round 0
    round_0: str = setting("genetic-holo", "genetic algorithm of round 0: genetic-holo or genetic")
    generations: int = setting(
        10, "of genetic-holo in round 0, of a thousand each, copies included; the first is of the start alone", low=1
    )
    warmup: int = setting(2000, "evaluations of genetic in round 0", low=1)
    # pairs
    targets: int = setting(100, "best sequences that are a y in training pairs", low=1)
    neighbours: int = setting(30, "pairs per y at most", low=1)
    distance: str = setting("hamming", "of x and y in a pair: hamming, edit or any")
    radius: float = setting(0.1, "largest distance in a pair, as a share of L; at least 1 is", low=0.0, high=1.0)
    infeasible_share: float = setting(0.1, "largest share of pairs with an infeasible x", low=0.0, high=0.9)
    neutral: bool = setting(False, "also train on pairs of equal value")
    old_data: float = setting(1.0, "share of old data in what pairs are made of; 1: all that there is", low=0, high=1)
    # training
    objective: str = setting("marge", "of all trainings but the first, which is supervised: sft, dpo or marge")
    alpha: float = setting(1.0, "weight of MargE's reverse KL", low=0.0)
    beta: float = setting(10.0, "weight of MargE's forward KL", low=0.0)
    weights: str = setting(
        "batch", "MargE's are normalised over the effective batch; official: over each micro-batch, as the authors do"
    )
    clip: float = setting(0.0, "MargE's log-ratios are clipped to -clip .. clip; 0: not at all", low=0.0)
    dpo_beta: float = setting(0.1, "of DPO", low=0.0)
    copy_steps: int = setting(400, "steps in which a model from scratch first learns to copy random sequences", low=0)
    first_epochs: int = setting(3, "passes over the pairs the first time, when the model knows nothing", low=1)
    epochs: int = setting(3, "passes over the pairs in later rounds, if most_steps is 0", low=1)
    most_steps: int = setting(
        30,
        "optimizer steps in each later round, over few pairs again and again; a training has so many batches of pairs "
        "at most; 0: as many as the epochs have",
        low=0,
    )
    batch_size: int = setting(32, "pairs in an effective batch, over which MargE's weights are normalised", low=1)
    micro_batch: int = setting(32, "pairs that a process computes at a time", low=1)
    processes: int = setting(1, "processes that train, started by accelerate launch", low=1)
    learning_rate: float = setting(2e-3, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate: constant, linear or cosine")
    save_steps: int = setting(0, "steps between checkpoints within a training; 0: none", low=0)
    # the inner loop
    seeds: int = setting(50, "best sequences that the inner loop edits", low=1)
    iterations: int = setting(3, "edits in a row without asking for values", low=1)
    temperatures: int = setting(
        3, "of the paper's six; each has a trajectory from each seed, beside a greedy one", low=1, high=6
    )
    samples: int = setting(1, "edits that a trajectory samples in an iteration", low=1)
    masked: bool = setting(True, "no transition that answers have proven forbidden: not written, or dropped if in text")
    # selection
    round_size: int = setting(250, "evaluations per round", low=1)
    quantile: float = setting(1.0, "candidates are drawn from this most likely share of the pool", low=0.0, high=1.0)


def run(env: EvaluationBudget, seed: int, config: Config) -> None:
    """The bilevel loop."""
    with threads(config.threads), agent_folder(env) as folder:
        Search(env, seed, config, folder).run()


class Search:
    """A run: round 0, then pairs, training, proposals and evaluation until the budget is spent."""

    def __init__(self, env: EvaluationBudget, seed: int, config: Config, folder: Path) -> None:
        check(config)
        self._env, self._config, self._folder = env, config, folder
        self._policy = Policy.make(
            *(env.vocabulary_size, env.length),
            model=config.model,
            size=config.size,
            lora_rank=config.lora_rank,
            device=config.device,
            seed=seed,
        )
        self._kept = folder / "state.safetensors"
        if self._kept.exists():
            self._state = checkpoint.load(self._kept, self._policy, env)
        else:
            self._state = checkpoint.State.new(seed)
        self._log = RoundLog(folder / "rounds.jsonl", len(self._state.ends))

    def run(self) -> None:
        """Go on from the last finished round, the first time from the start."""
        if not self._state.ends:
            self._collect()
            if not self._env.done:
                self._learn_to_copy()
            self._finish_round(None)
        while not self._env.done:
            self._round()

    def _collect(self) -> None:
        """Round 0."""
        config, rng = self._config, self._state.rng
        if config.round_0 == "genetic-holo":
            with suppress(BudgetExhausted):  # where less is left than a generation takes
                evolve_holo(self._env, config.generations, rng, HoloConfig())
        else:
            self._breed(config.warmup)

    def _learn_to_copy(self) -> None:
        """Give a model from scratch what any pretrained one can do; no oracle is needed for it."""
        config, rng = self._config, self._state.rng
        if config.model or not config.copy_steps:
            return
        shape = (config.copy_steps * config.batch_size, self._env.length)
        x = rng.integers(self._env.vocabulary_size, size=shape, dtype=np.uint8)
        y = x.copy()
        changed = rng.random(shape) < COPY_CHANGES / self._env.length
        y[changed] = rng.integers(self._env.vocabulary_size, size=changed.sum(), dtype=np.uint8)
        recipe = replace(self._recipe("sft"), epochs=1, most_steps=0)
        self._fit(PairData.of(self._policy, x, y, np.zeros(len(x)), objective="sft"), recipe)

    def _round(self) -> None:
        config, state, env = self._config, self._state, self._env
        started = time.perf_counter()
        sequences, values = history(env)
        transitions = LearnedTransitions(env.vocabulary_size)
        transitions.update(sequences, values > -np.inf)
        trained = self._train(*self._material(sequences, values))
        if not trained:
            logger.info("round %d: no pairs, a round of the genetic algorithm instead", len(state.ends))
            self._breed(config.round_size)
            self._finish_round(state.distance)
            return
        writing = time.perf_counter()
        pool = self._propose(sequences, values, transitions)
        facts = trained | collapse(pool) | {"writing_s": time.perf_counter() - writing}
        if len(pool.sequences):
            chosen = self._select(pool, min(config.round_size, env.remaining))
            answers, feasible = env.evaluate(pool.sequences[chosen])
            gained = max(0.0, float(answers.max()) - float(values.max()))
            facts |= calibration(pool.likelihoods[chosen], answers) | {"gained": gained}
            logger.info(
                "round %d: %d pairs, loss %.3f, %d candidates, %d evaluated, %.0f %% feasible, best %.3f, "
                "so far %.3f%s",
                *(len(state.ends), trained["pairs"], trained["loss"], len(pool.sequences), len(chosen)),
                *(100 * feasible.mean(), answers.max(), max(values.max(), answers.max())),
                "" if gained else ", no gain",
            )
        else:
            logger.info("round %d: nothing new written, a round of the genetic algorithm instead", len(state.ends))
            self._breed(config.round_size)
        round_s = time.perf_counter() - started
        self._log.add(round=len(state.ends), evaluations=env.ledger.position, **facts, round_s=round_s)
        self._finish_round(pool.distance)

    def _material(self, sequences: Tokens, values: Floats) -> tuple[Tokens, Floats]:
        """What pairs are made of: all of the last round, and old data by their share, drawn at random."""
        share = self._config.old_data
        first = self._state.ends[-2] + 1 if len(self._state.ends) > 1 else 0
        if share == 1.0 or first == 0:
            return sequences, values
        count = min(first, round(share / (1.0 - share) * (len(values) - first)))
        old = np.sort(self._state.rng.choice(first, count, replace=False))
        rows = np.concatenate([old, np.arange(first, len(values))])
        return sequences[rows], values[rows]

    def _train(self, sequences: Tokens, values: Floats) -> dict[str, Any]:
        """Train on pairs of what is given; empty if there are none."""
        config, rng, started = self._config, self._state.rng, time.perf_counter()
        near: dict[str, Any] = {
            "neighbours": config.neighbours,
            "distance": config.distance,
            "radius": config.radius,
            "rng": rng,
        }
        pairs = near_pairs(
            sequences,
            values,
            targets=config.targets,
            infeasible_share=config.infeasible_share,
            neutral=config.neutral,
            **near,
        )
        if not len(pairs.x):
            return {}
        most = config.most_steps * config.batch_size or len(pairs.x)  # the rest is not trained on
        pairs = Pairs(pairs.x[:most], pairs.y[:most], pairs.rewards[:most])
        objective = config.objective if self._state.trained else "sft"
        worse = sequences[rejected(sequences, values, pairs, **near)] if objective == "dpo" else None
        recipe = self._recipe(objective)
        x, y = sequences[pairs.x], sequences[pairs.y]
        paired = time.perf_counter()
        data = PairData.of(self._policy, x, y, pairs.rewards, worse, objective=objective)
        found = self._fit(data, recipe)
        self._state.trained = True
        times = {"pairs_s": paired - started, "training_s": time.perf_counter() - paired}
        return {"objective": objective, "pairs": len(pairs.x), **found, **times}

    def _fit(self, data: PairData, recipe: Recipe) -> dict[str, float]:
        directory = self._folder / f"training-{len(self._state.ends)}"
        found = train(self._policy, data, recipe, directory)
        if directory.exists():
            done = directory.with_suffix(".done")  # not the name that is resumed from, of which half may be left
            shutil.rmtree(done, ignore_errors=True)
            directory.rename(done)
            shutil.rmtree(done, ignore_errors=True)
        return found

    def _recipe(self, objective: str) -> Recipe:
        trained = self._state.trained
        return replace(
            recipe_of(self._config),
            objective=objective,
            epochs=self._config.epochs if trained else self._config.first_epochs,
            most_steps=self._config.most_steps if trained else 0,
            seed=int(self._state.rng.integers(2**31)),
        )

    def _propose(self, sequences: Tokens, values: Floats, transitions: LearnedTransitions) -> Pool:
        config = self._config
        return propose(
            self._policy,
            sequences[best_first(values)[: config.seeds]],
            {row.tobytes() for row in sequences},
            heat=temperatures(config.temperatures, self._state.distance),
            iterations=config.iterations,
            samples=config.samples,
            forbidden=transitions.forbidden if config.masked else None,
            rng=self._state.generator,
        )

    def _select(self, pool: Pool, size: int) -> NDArray[np.int64]:
        return select(pool, size, self._config.quantile, self._state.rng)

    def _breed(self, evaluations: int) -> None:
        """Spend so many evaluations on our genetic algorithm."""
        sequences, values = history(self._env)
        transitions = LearnedTransitions(self._env.vocabulary_size)
        transitions.update(sequences, values > -np.inf)
        evolve(self._env, evaluations, sequences, values, transitions, self._state.rng, GeneticConfig())

    def _finish_round(self, distance: float | None) -> None:
        self._state.ends.append(self._env.ledger.position)
        self._state.distance = distance
        checkpoint.save(self._kept, self._state, self._policy, self._env)


def recipe_of(config: Config) -> Recipe:
    """How the settings say to train, after the first training."""
    shared = Recipe.__dataclass_fields__.keys() & Config.__dataclass_fields__.keys()
    return Recipe(**{name: getattr(config, name) for name in shared})


def check(config: Config) -> None:
    """Raise InvalidConfig for a setting that would fail later, when evaluations are spent."""
    if config.round_0 not in ROUND_0:
        raise InvalidConfig(f"--round-0 of llome is {config.round_0!r}; give one of {', '.join(ROUND_0)}")
    if config.lora_rank and not config.model:
        raise InvalidConfig("--lora-rank of llome is for a pretrained model; give its --model, or no rank")
    check_distance(config.distance)
    recipe_of(config)


def history(env: EvaluationBudget) -> tuple[Tokens, Floats]:
    """What is known: the initial solution, and all that was asked, in that order; (n, L) and values (n,)."""
    ledger, start = env.ledger, env.initial_solution.astype(np.uint8)
    asked = slice(ledger.position)  # a resumed run does not look ahead
    return np.concatenate([start[None], ledger.sequences[asked]]), np.append(env.initial_value, ledger.values[asked])


def select(pool: Pool, size: int, quantile: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to ``size`` places in the pool, at random from its most likely ``quantile``; from more if that is too few."""
    likely = max(size, int(quantile * len(pool.sequences)))
    return rng.permutation(min(likely, len(pool.sequences)))[:size]


@contextmanager
def agent_folder(env: EvaluationBudget) -> Iterator[Path]:
    """Where the agent keeps its files; with a ledger in memory, for the time of the run."""
    if env.directory is not None:
        yield env.directory
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


SCRATCH = Config()
PAPER = replace(
    SCRATCH,
    model="EleutherAI/pythia-2.8b",
    device="auto",
    generations=11,  # ten that are bred
    targets=10_000,
    radius=0.25,
    old_data=0.0,
    first_epochs=1,
    epochs=1,
    most_steps=0,
    batch_size=64,
    learning_rate=1e-6,
    schedule="linear",
    micro_batch=2,
    save_steps=100,
    seeds=200,
    iterations=10,
    temperatures=6,
    samples=10,
    masked=False,
    round_size=2000,
    quantile=0.4,
)
PRESETS = {
    "paper": PAPER,
    "paper-official": replace(PAPER, weights="official", micro_batch=1),
    "scratch": SCRATCH,
    "scratch-sft": replace(SCRATCH, objective="sft"),
    "scratch-dpo": replace(SCRATCH, objective="dpo"),
    "scratch-official": replace(SCRATCH, weights="official", micro_batch=1),
}
AGENT = Agent("llome", run, SCRATCH, PRESETS)

if __name__ == "__main__":
    AGENT.main()
