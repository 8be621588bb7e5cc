"""The budget of a vector environment: one ledger for all, and the same rules as for one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from reach import secrets_in

from bioseq_gym import (
    BudgetExhausted,
    Ehrlich,
    EhrlichSpec,
    EvaluationBudget,
    InvalidBudget,
    Ledger,
    VectorEvaluationBudget,
)

IDS = ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"]
SIZES: dict[str, Any] = {"V": 8, "L": 12, "c": 2, "k": 3}
SPEC = EhrlichSpec.from_seed(**SIZES)
FUNCTION = Ehrlich(SPEC)
START = FUNCTION.initial_solution()
N = 4


def core(id: str = "Ehrlich-v0", **arguments: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec(id, num_envs=N, **SIZES, **arguments)


def budgeted(budget: int = 100, ledger: Any = None, id: str = "Ehrlich-v0", **arguments: Any) -> VectorEvaluationBudget:
    return VectorEvaluationBudget(core(id, **arguments), budget, ledger)


def actions(env: VectorEnv[Any, Any, Any], count: int) -> list[np.ndarray]:
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(count)]


@pytest.mark.parametrize("id", IDS)
def test_a_budget_that_lasts_changes_nothing_but_the_ledger(id: str) -> None:
    plain, env = core(id), budgeted(10**6, id=id)
    assert repr(plain.reset(seed=0)) == repr(env.reset(seed=0))
    for action in actions(plain, 60):
        assert repr(plain.step(action)) == repr(env.step(action))
    assert len(env.ledger) > 0
    assert env.ledger.values.tolist() == FUNCTION(env.ledger.sequences).tolist()


def test_the_rows_of_a_step_are_one_call_in_their_order_and_repeats_are_free(tmp_path: Path) -> None:
    env = budgeted(100, tmp_path / "l")
    env.reset()
    tokens = (START[[0, 1, 0, 2]] + [1, 1, 1, 0]) % 8  # a row twice, and one that changes nothing
    env.step(np.stack([[0, 1, 0, 2], tokens], axis=1))
    expected = np.tile(START, (3, 1))
    expected[[0, 1], [0, 1]] = tokens[:2]
    env.close()
    ledger = Ledger.read(tmp_path / "l")
    assert ledger.sequences.tolist() == expected.tolist()
    assert (ledger.asked_counts.tolist(), ledger.call_numbers.tolist()) == ([1, 2, 4], [1, 1, 1])
    assert (env.remaining, env.ledger.repeats, env.ledger.calls) == (97, 1, 1)


@pytest.mark.parametrize("id", ["Ehrlich-v0", "EhrlichPropose-v0"])
def test_a_step_that_does_not_fit_truncates_all_and_scores_nothing(id: str, scored: list[int]) -> None:
    env = budgeted(6, id=id)
    env.reset(seed=0)
    first, second = actions(env, 2)
    env.step(first)
    before = env.ledger.to_bytes(), env.remaining
    scored.clear()
    for _ in range(2):
        observations, rewards, terminated, truncated, infos = env.step(second)
        assert (env.ledger.to_bytes(), env.remaining, scored) == (*before, [])
        assert (rewards.tolist(), terminated.tolist(), truncated.tolist()) == ([0.0] * N, [False] * N, [True] * N)
        for told in (infos, infos["final_info"]):
            assert (told["budget_exhausted"].tolist(), told["_budget_exhausted"].tolist()) == ([True] * N,) * 2
        assert observations.tolist() == [START.tolist()] * N
        assert (infos["value"] == env.initial_value).all()
    assert (
        np.stack(infos["final_obs"]).tolist() == observations.tolist()
    )  # the second of them began and ended at the start
    infos = env.step(first)[-1]  # asked before: free
    assert "budget_exhausted" not in infos


@pytest.mark.parametrize("vector", [False, True])
def test_a_refused_step_is_not_infeasible_though_the_one_before_was(vector: bool) -> None:
    bad, other = np.flatnonzero(SPEC.transition_matrix[:, START[1]] == 0.0)[0], START[1]
    env: Any = budgeted(1) if vector else EvaluationBudget(gymnasium.make("Ehrlich-v0", **SIZES), 1)
    env.reset()
    first, second = (env.step(np.tile(edit, (N, 1)) if vector else edit)[-1] for edit in ((0, bad), (0, other)))
    assert not np.any(first["feasible"])
    assert np.all(second["budget_exhausted"])
    for told in (second, second["final_info"]) if vector else (second,):
        assert np.all(told["feasible"])


def test_a_build_needs_the_budget_at_its_last_token_only() -> None:
    env = budgeted(3, id="EhrlichBuild-v0")
    env.reset()
    steps = [env.step(action) for action in actions(env, 12)]
    assert [truncated.any() for *_, truncated, _ in steps] == [False] * 11 + [True]
    *_, infos = steps[-1]
    assert [x[-2:].tolist() for x in infos["final_obs"]] == [[last, 8] for last in actions(env, 11)[-1]]
    assert infos["final_info"].keys() == {"budget_exhausted", "_budget_exhausted"}  # no value: nothing was scored
    assert (infos["budget_exhausted"].all(), len(env.ledger), env.remaining) == (True, 0, 3)
    for tokens in np.tile(START[:, None], (1, N)):  # four times the same: one evaluation
        *_, terminated, truncated, infos = env.step(tokens)
    assert (terminated.all(), truncated.any(), env.remaining) == (True, False, 2)
    assert (infos["final_info"]["value"] == env.initial_value).all()


def test_step_and_evaluate_share_the_ledger_with_a_single_environments() -> None:
    env = budgeted(100)
    env.reset()
    env.step(np.tile([0, (START[0] + 1) % 8], (N, 1)))
    single = EvaluationBudget(gymnasium.make("Ehrlich-v0", **SIZES), 100, Ledger.from_bytes(env.ledger.to_bytes()))
    batch = np.array([[*START[:-1], t] for t in range(8)])
    assert [part.tolist() for part in env.evaluate(batch)] == [part.tolist() for part in single.evaluate(batch)]
    for name in ("vocabulary_size", "length", "initial_value", "done"):
        assert getattr(env, name) == getattr(single, name)
    assert env.initial_solution.tolist() == START.tolist()
    with pytest.raises(BudgetExhausted, match="needs 120 new"):
        env.evaluate(np.random.default_rng(0).integers(0, 8, (120, 12)))


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_resumed_run_steps_for_free(tmp_path: Path, noise: float) -> None:
    def run(budget: int) -> list[str]:
        env = budgeted(budget, tmp_path / "l", noise_std=noise)
        seen = [repr(env.reset(seed=0)), *(repr(env.step(action)) for action in actions(env, 15))]
        env.close()
        return seen

    seen = run(100)
    data = (tmp_path / "l").read_bytes()
    spent = len(Ledger.read(tmp_path / "l"))
    for length in (len(data), 64 + (12 + 24) * 22):  # as it ended, and as if killed in the middle of a step's records
        (tmp_path / "l").write_bytes(data[:length])
        assert run(spent) == seen
        assert (tmp_path / "l").read_bytes() == data


@pytest.mark.parametrize(
    ("make", "wrapper", "message"),
    [
        (lambda: gymnasium.make_vec("CartPole-v1", num_envs=2), VectorEvaluationBudget, r"gym\.make_vec"),
        (lambda: gymnasium.make("Ehrlich-v0"), VectorEvaluationBudget, "give one from gym.make to EvaluationBudget"),
        (core, EvaluationBudget, "or give one from gym.make_vec to VectorEvaluationBudget"),
        (
            lambda: gymnasium.make_vec("Ehrlich-v0", num_envs=2, vectorization_mode="sync"),
            VectorEvaluationBudget,
            "is not a vector environment of bioseq_gym",
        ),
    ],
    ids=["foreign", "single", "vector", "sync"],
)
def test_the_wrong_kind_of_environment_is_refused(make: Callable[[], Any], wrapper: Any, message: str) -> None:
    with pytest.raises(InvalidBudget, match=message):
        wrapper(make(), 10)


@pytest.mark.parametrize("again", [lambda env: env, lambda env: env.unwrapped, lambda env: env.env])
def test_a_second_budget_and_a_copy_are_refused(again: Callable[[Any], Any]) -> None:
    env = budgeted(10)
    with pytest.raises(InvalidBudget, match="has a budget already"):
        VectorEvaluationBudget(again(env), 1000)
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(InvalidBudget, match="a copy would be a second budget"):
            copied(again(env))
    with pytest.raises(InvalidBudget, match="max_evaluations is 0"):
        VectorEvaluationBudget(core(), 0)


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("revealed", [False, True])
def test_under_a_budget_nothing_of_the_function_can_be_reached(id: str, revealed: bool) -> None:
    assert {"Ehrlich", "EnvSpec", "matrix"} <= secrets_in(core(id), SPEC)
    env = budgeted(50, id=id, reveal_constraints=revealed)
    env.reset(seed=0)
    for action in actions(env, 30):
        env.step(action)
    assert secrets_in(env, SPEC) == secrets_in(env.unwrapped, SPEC) == ({"allowed"} if revealed else set())
    assert (env.spec, env.unwrapped.spec) == (None, None)


def test_closing_closes_the_ledger(tmp_path: Path) -> None:
    env = budgeted(10, tmp_path / "l")
    env.close()
    assert Ledger(SPEC.digest, 8, 12, tmp_path / "l").position == 0  # not in use
