"""The parts of the classical baselines, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bioseq_gym import EvaluationBudget
from bioseq_gym.agents import adalead_agent, genetic_agent, local_search_agent
from bioseq_gym.agents.adalead_agent import Ensemble, leaders, mutate, propose, recombine
from bioseq_gym.agents.feasibility import LearnedTransitions
from bioseq_gym.agents.genetic_agent import best_first, breed, cross, evolve, shift
from bioseq_gym.agents.local_search_agent import Search, single_edits

GENETIC = genetic_agent.AGENT.config
ADALEAD = adalead_agent.AGENT.config
GUIDED = adalead_agent.AGENT.presets["guided"]
LOCAL = local_search_agent.AGENT.config


class Table:
    """Stands for the budget: a function of the tokens, 0 1 forbidden, that keeps what it was asked."""

    vocabulary_size = 3

    def __init__(self, start: list[int], budget: int, peak: list[int] | None = None) -> None:
        self.initial_solution, self.budget = np.array(start), budget
        self.peak = np.array(start if peak is None else peak)
        self.length = len(start)
        self.initial_value = float(self.value(self.initial_solution[None])[0])
        self.batches: list[NDArray[np.uint8]] = []
        self.known: set[bytes] = set()

    def value(self, x: NDArray[Any]) -> NDArray[np.float64]:
        forbidden = ((x[:, :-1] == 0) & (x[:, 1:] == 1)).any(axis=1)
        return np.where(forbidden, -np.inf, (x == self.peak).mean(axis=1))

    @property
    def asked(self) -> list[bytes]:
        return [row.tobytes() for batch in self.batches for row in batch]

    @property
    def remaining(self) -> int:
        return self.budget - len(self.known)

    @property
    def done(self) -> bool:
        return self.remaining <= 0

    def evaluate(self, x: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        assert x.dtype == np.uint8
        assert len(x) <= self.remaining
        self.batches.append(x.copy())
        self.known.update(row.tobytes() for row in x)
        return self.value(x), self.value(x) > -np.inf


def test_best_first_takes_the_newest_among_equals() -> None:
    assert best_first(np.array([0.5, 1.0, -np.inf, 0.5, 1.0])).tolist() == [4, 1, 3, 0, 2]


def test_children_are_new_distinct_and_remembered() -> None:
    rng = np.random.default_rng(0)
    parents = rng.integers(4, size=(5, 6)).astype(np.uint8)
    seen = {row.tobytes() for row in parents}
    children = breed(parents, 200, seen, LearnedTransitions(4), GENETIC, rng)
    assert children.shape == (200, 6)
    assert children.dtype == np.uint8
    assert len({row.tobytes() for row in children} | {row.tobytes() for row in parents}) == len(seen)
    assert len(seen) == 200 + len({row.tobytes() for row in parents})


def test_no_child_holds_a_transition_proven_forbidden() -> None:
    transitions = LearnedTransitions(4)
    transitions.forbidden[1, 2] = transitions.forbidden[3, 0] = True
    parents = np.zeros((1, 12), np.uint8)
    children = breed(parents, 400, set(), transitions, replace(GENETIC, mutations=4.0), np.random.default_rng(0))
    assert len(children) == 400
    assert transitions.admits(children).all()
    assert {1, 2, 3} <= set(children.ravel().tolist())


def test_breeding_gives_up_where_nothing_new_is_left() -> None:
    parents = np.zeros((1, 2), np.uint8)
    seen = {bytes([a, b]) for a in range(2) for b in range(2)} - {b"\1\1"}
    children = breed(parents, 10, seen, LearnedTransitions(2), GENETIC, np.random.default_rng(0))
    assert children.tolist() == [[1, 1]]


def test_crossover_takes_one_segment_of_the_second_parent() -> None:
    first, second = np.zeros((2000, 6), np.uint8), np.ones((2000, 6), np.uint8)
    children = cross(first, second, np.random.default_rng(0))
    borders = np.abs(np.diff(children.astype(int), axis=1, prepend=0, append=0)).sum(axis=1)
    assert set(borders.tolist()) == {0, 2}
    assert len(np.unique(children, axis=0)) == 1 + 6 * 7 // 2  # none, and every segment


def test_a_shift_deletes_one_token_and_inserts_one() -> None:
    """What lies between the two places moves by one, everything else stays."""
    x = np.tile(np.arange(10, dtype=np.uint8), (3000, 1))
    moved = shift(x, 10, np.random.default_rng(0))
    assert moved.shape == x.shape
    places = set()
    for y in moved.tolist():
        found = [
            (deleted, inserted)
            for deleted in range(10)
            for inserted in range(10)
            if [*(rest := [*range(deleted), *range(deleted + 1, 10)])[:inserted], y[inserted], *rest[inserted:]] == y
        ]
        assert found
        places.update(found[:1] if len(found) == 1 else [])
    assert len(places) > 60


def test_an_inserted_token_repeats_its_left_neighbour_in_half_of_the_shifts() -> None:
    x = np.tile(np.arange(100, 108, dtype=np.uint8), (4000, 1))
    moved = shift(x, 100, np.random.default_rng(0))
    random_tokens = (moved < 100).any(axis=1).mean()
    assert abs(random_tokens - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_evolving_spends_what_it_is_given_and_learns_from_the_answers() -> None:
    env = Table([2] * 8, 500)
    transitions = LearnedTransitions(3)
    start = env.initial_solution[None].astype(np.uint8)
    config = replace(GENETIC, children=40)
    x, y = evolve(env, 90, start, np.ones(1), transitions, np.random.default_rng(0), config)  # type: ignore[arg-type]
    assert [len(batch) for batch in env.batches] == [40, 40, 10]
    assert len(x) == len(y) == 91 == len({row.tobytes() for row in x})
    assert (y == env.value(x)).all()
    assert transitions.forbidden[0, 1]
    assert transitions.forbidden.sum() == 1


def test_parents_are_the_best_of_everything_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    bred_from = []

    def spy(parents: NDArray[np.uint8], *arguments: Any) -> NDArray[np.uint8]:
        bred_from.append(parents.copy())
        return breed(parents, *arguments)

    monkeypatch.setattr(genetic_agent, "breed", spy)
    env = Table([0] * 8, 300, peak=[2] * 8)
    config = replace(GENETIC, parents=5, children=30)
    start = env.initial_solution[None].astype(np.uint8)
    x, y = evolve(env, 300, start, np.zeros(1), LearnedTransitions(3), np.random.default_rng(0), config)  # type: ignore[arg-type]
    for generation, parents in enumerate(bred_from):
        known = 1 + 30 * generation
        best = best_first(y[:known])[:5]
        assert sorted(map(bytes, parents)) == sorted(map(bytes, x[best]))


def search(env: Table, seed: int = 0, **changes: Any) -> Search:
    return Search(env, np.random.default_rng(seed), replace(LOCAL, **changes))  # type: ignore[arg-type]


def test_single_edits_by_hand() -> None:
    """0 1 2 2 of four tokens, where 0 -> 3 and 3 -> 2 are not allowed."""
    allowed = np.ones((4, 4), bool)
    allowed[0, 3] = allowed[3, 2] = False
    edits = [[p, t] for p, row in enumerate(single_edits(np.array([0, 1, 2, 2]), allowed)) for t in np.flatnonzero(row)]
    assert edits == [[0, 1], [0, 2], [0, 3], [1, 0], [1, 2], [2, 0], [2, 1], [3, 0], [3, 1], [3, 3]]


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_a_climb_ends_at_a_local_optimum_and_every_move_is_up(batch_size: int) -> None:
    env = Table([0] * 6, 1000, peak=[2, 1, 2, 0, 2, 1])
    end, value = search(env, batch_size=batch_size, sideways=0).climb(env.initial_solution.astype(np.uint8), 1 / 6)
    assert (end.tolist(), value) == (env.peak.tolist(), 1.0)
    batches = env.batches
    current, best = env.initial_solution, env.initial_value
    for batch in batches:
        assert ((batch != current).sum(axis=1) == 1).all()
        if env.value(batch).max() > best:
            current, best = batch[env.value(batch).argmax()], env.value(batch).max()
    assert len(set(env.asked)) == len(env.asked)
    if batch_size == 1000:
        moves = [env.value(batch).max() for batch in batches[:5]]
        assert moves == pytest.approx([2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])  # steepest: each step is one of the best


def test_a_climb_asks_for_no_transition_proven_forbidden() -> None:
    env = Table([0] * 6, 1000, peak=[2] * 6)
    found = search(env, batch_size=1, sideways=0)
    found.climb(env.initial_solution.astype(np.uint8), 0.0)
    assert found.transitions.forbidden[0, 1]
    infeasible = [batch for batch in env.batches if env.value(batch)[0] == -np.inf]
    first = next(
        i for i, batch in enumerate(env.batches) if found.transitions.forbidden[batch[:, :-1], batch[:, 1:]].any()
    )
    assert len(infeasible) <= 1 + sum(np.isin(batch, 1).any() for batch in env.batches[:first])


@pytest.mark.parametrize("sideways", [0, 3])
def test_only_so_many_moves_in_a_row_go_sideways(sideways: int) -> None:
    env = Table([2] * 5, 1000)
    env.value = lambda x: np.zeros(len(x))  # type: ignore[method-assign]
    env.initial_value = 0.0
    end, value = search(env, batch_size=1, sideways=sideways).climb(env.initial_solution.astype(np.uint8), 0.0)
    assert value == 0.0
    assert len(env.batches) >= 10 - sideways
    moves = [batch[0] for batch in env.batches[:sideways]]
    assert (end == (moves[-1] if moves else env.initial_solution)).all()


def test_kicks_use_transitions_proven_allowed_and_no_others() -> None:
    env = Table([2] * 8, 10)
    found = search(env, kick=30)
    found.transitions.allowed[2, 0] = found.transitions.allowed[0, 2] = True
    kicked = [found.kick(np.full(8, 2, np.uint8)) for _ in range(50)]
    assert len({x.tobytes() for x in kicked}) > 30
    assert all(set(x.tolist()) <= {0, 2} for x in kicked)
    assert not env.batches


def test_local_search_restarts_and_comes_to_an_end() -> None:
    """On a function with one peak everything that the search can reach is asked once; then it stops."""
    env = Table([2] * 3, 10_000)
    local_search_agent.AGENT.run(env, 0, LOCAL)  # type: ignore[arg-type]
    feasible = {row.tobytes() for row in np.ndindex(3, 3, 3) for row in [np.array(row, np.uint8)]}
    assert set(env.asked) <= feasible | {env.initial_solution.astype(np.uint8).tobytes()}
    assert sum(env.value(np.array([list(key)]))[0] > -np.inf for key in set(env.asked)) == 21


@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        ([0.2, 0.96, 1.0, 0.95, 0.94, -np.inf], 0.05, [1, 2, 3]),
        ([0.2, 0.4, 0.4], 0.0, [1, 2]),
        ([0.0, -np.inf, 0.0], 0.05, [0, 2]),
        ([0.0, 0.5, -np.inf], 1.0, [0, 1]),
        ([-0.3, -0.2, -0.21, -np.inf], 0.1, [1, 2]),
    ],
)
def test_the_leaders_are_within_the_threshold(values: list[float], threshold: float, expected: list[int]) -> None:
    assert leaders(np.array(values), threshold).tolist() == expected


def test_recombination_swaps_tokens_within_pairs() -> None:
    x = np.repeat(np.arange(7, dtype=np.uint8)[:, None], 40, axis=1)
    y = recombine(x, 0.2, np.random.default_rng(0))
    assert y.shape == x.shape
    assert (np.sort(y, axis=0) == np.sort(x, axis=0)).all()  # per position all tokens are still there
    assert sorted(len(set(row)) for row in y.tolist()) == [1, 2, 2, 2, 2, 2, 2]
    assert (np.sort(recombine(x, 0.0, np.random.default_rng(0)), axis=0) == x).all()


def test_mutation_has_its_rate() -> None:
    x = np.zeros((4000, 20), np.uint8)
    changed = (mutate(x, 2.0, 4, np.random.default_rng(0)) != x).sum(axis=1)
    assert abs(changed.mean() - 1.5) < 4 * np.sqrt(1.5 / 4000)  # one of four tokens is the old one


class Counts:
    """A model whose prediction is the share of 2s."""

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float64]:
        return (x == 2).mean(axis=1)


def test_candidates_are_new_admissible_and_the_best_by_the_model() -> None:
    transitions = LearnedTransitions(3)
    transitions.forbidden[0, 1] = True
    parents = np.zeros((20, 10), np.uint8)
    known = {np.eye(10, dtype=np.uint8)[i].tobytes() for i in range(10)} | {parents[0].tobytes()}
    config = replace(ADALEAD, round_size=20, screen=30)
    x = propose(parents, Counts(), known, transitions, config, np.random.default_rng(0))  # type: ignore[arg-type]
    assert x.shape == (20, 10)
    assert not known & {row.tobytes() for row in x}
    assert len({row.tobytes() for row in x}) == 20
    assert transitions.admits(x).all()
    scores = (x == 2).sum(axis=1)
    assert (np.diff(scores) <= 0).all()
    assert scores.min() >= 3  # rollouts went on from what the model found good: one mutation gives one 2


def test_a_rollout_ends_at_a_child_worse_than_its_root() -> None:
    parents = np.full((50, 10), 2, np.uint8)
    config = replace(ADALEAD, round_size=50, screen=1, mutations=0.5)
    x = propose(parents, Counts(), set(), LearnedTransitions(3), config, np.random.default_rng(0))  # type: ignore[arg-type]
    changed = (x != 2).sum(axis=1)
    assert changed.max() <= 4  # one draw of mutations: no child of a child, since none is as good as its root


def test_proposing_gives_up_where_nothing_new_is_left() -> None:
    known = {bytes([a, b]) for a in range(2) for b in range(2)} - {b"\1\1"}
    parents = np.zeros((4, 2), np.uint8)
    config = replace(GUIDED, round_size=4)
    x = propose(parents, Counts(), known, LearnedTransitions(2), config, np.random.default_rng(0))  # type: ignore[arg-type]
    assert x.tolist() == [[1, 1]]


def test_the_ensemble_learns_a_function_and_counts_infeasible_as_0() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(4, size=(400, 6)).astype(np.uint8)
    y = np.where(x[:, 0] == 3, -np.inf, 0.2 * (x[:, 1] == 2))
    config = replace(GUIDED, steps=100, hidden_size=16, learning_rate=1e-2)
    model = Ensemble(4, 6, config, seed=0)
    model.train(x, y, rng)
    fresh = rng.integers(4, size=(400, 6)).astype(np.uint8)
    expected = (fresh[:, 1] == 2) & (fresh[:, 0] != 3)  # as shares of the best value, 0.2
    assert np.abs(model.predict(fresh) - expected).mean() < 0.1


def test_the_ensemble_is_made_from_its_seed_and_its_networks_differ() -> None:
    x = np.zeros((1, 5), np.uint8)
    answers = [Ensemble(3, 5, GUIDED, seed).forward(x)[:, 0] for seed in (0, 0, 1)]
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert len(set(answers[0].tolist())) == GUIDED.networks


def test_without_networks_the_model_is_noise() -> None:
    x = np.zeros((5000, 5), np.uint8)
    model = Ensemble(3, 5, ADALEAD, seed=0)
    model.train(x, np.zeros(5000), np.random.default_rng(0))
    answers = model.predict(x)
    assert np.quantile(answers, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0], abs=0.03)


@pytest.mark.parametrize("agent", [genetic_agent.AGENT, local_search_agent.AGENT, adalead_agent.AGENT])
def test_each_solves_a_small_function(agent: Any) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", V=8, L=12, c=2, k=3, q=3, seed=1), 3000)
    agent.run(env, 0, agent.config)
    assert env.ledger.best_value == 1.0


@pytest.mark.parametrize("agent", [genetic_agent.AGENT, local_search_agent.AGENT])
def test_nothing_is_asked_twice_nor_against_what_is_known(agent: Any) -> None:
    env = Table([2] * 12, 700, peak=[0] * 12)
    agent.run(env, 0, agent.config)
    asked = [row.tobytes() for batch in env.batches if len(batch) > 1 for row in batch]  # one row may be a kick's end
    assert len(asked) == len(set(asked)) > 500
    learned = LearnedTransitions(3)
    learned.update(env.initial_solution[None], np.array([True]))
    for batch in env.batches:
        assert learned.admits(batch).all()
        learned.update(batch, env.value(batch) > -np.inf)
