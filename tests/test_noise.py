"""Noise on what is observed: where it comes from, what it costs, and how a noisy run is resumed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from ledgers import FUNCTION, HEADER, RECORD, ROWS, SIZES, SPEC, expected_repair, opened, walker, written

from bioseq_gym import (
    BudgetExhausted,
    EvaluationBudget,
    InvalidLedger,
    InvalidSpec,
    InvalidSubmission,
    Ledger,
    VectorEvaluationBudget,
    load_task,
)
from bioseq_gym.agent import load_agent
from bioseq_gym.replay import verify
from bioseq_gym.runs import LEDGER, Run, read_run, run_agent

STD = 0.25
BUDGET = 30
START = FUNCTION.initial_solution()


def make(id: str = "Ehrlich-v0", **arguments: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(id, **{**SIZES, "noise_std": STD, **arguments})


def budgeted(path: Path | Ledger | None = None, budget: int = 100, **arguments: Any) -> EvaluationBudget:
    return EvaluationBudget(make(**arguments), budget, path)


def normals(seed: int, count: int) -> np.ndarray:
    draws: np.ndarray = STD * np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).standard_normal(count)
    return draws


# What is observed


def test_evaluate_adds_the_environments_own_noise_in_the_order_of_the_rows() -> None:
    env = budgeted()
    env.reset(seed=7)
    values, feasible = env.evaluate(ROWS[:20])
    exact = FUNCTION(ROWS[:20])
    assert 3 <= np.isneginf(exact).sum() <= 17
    assert values.tolist() == (exact + normals(7, 20)).tolist()  # -inf stays -inf
    assert feasible.tolist() == (exact > -np.inf).tolist()
    assert env.evaluate(ROWS[:20])[0].tolist() != values.tolist()


def test_an_edit_gains_the_observed_difference() -> None:
    env = make()
    x, info = env.reset(seed=7)
    assert info["value"] == FUNCTION(START[None])[0]  # the initial value has no noise
    value = info["value"]
    env.action_space.seed(0)
    seen = set()
    for noise in normals(7, 15):
        position, token = env.action_space.sample()
        edited = x.copy()
        edited[position] = token
        exact = FUNCTION(edited[None])[0]
        x, reward, terminated, _, info = env.step((position, token))
        feasible = exact > -np.inf
        seen.add(feasible)
        assert (reward, info["feasible"]) == ((exact + noise - value) if feasible else 0.0, feasible)
        assert (x.tolist() == edited.tolist()) or not feasible
        value = exact + noise if feasible else value
        assert (info["value"], terminated) == (value, FUNCTION(x[None])[0] >= 1.0)
    assert seen == {True, False}


def test_a_built_and_a_proposed_sequence_are_paid_what_is_observed() -> None:
    build, propose = make("EhrlichBuild-v0"), make("EhrlichPropose-v0")
    for env in (build, propose):
        env.reset(seed=7)
    steps = [build.step(token) for token in ROWS[0]]
    first, second = normals(7, 2)
    exact = FUNCTION(ROWS[:1])[0]
    assert exact > -np.inf
    assert [reward for _, reward, *_ in steps] == [0.0] * 7 + [exact + first]  # drawn when it is scored, not before
    assert steps[-1][-1] == {"value": exact + first, "feasible": True}
    assert propose.step(ROWS[0])[1] == exact + first
    propose.reset()
    infeasible = ROWS[np.isneginf(FUNCTION(ROWS)).argmax()]
    assert propose.step(infeasible)[1:] == (0.0, True, False, {"value": -np.inf, "feasible": False})
    assert propose.unwrapped.np_random.standard_normal() != second  # the infeasible one has drawn it


def test_termination_looks_at_the_value_without_noise() -> None:
    env = make("EhrlichPropose-v0", noise_std=100.0)
    env.reset(seed=0)
    edit = make(noise_std=100.0, horizon=50)
    edit.reset(seed=0)
    ends = [edit.step((0, START[0]))[1:4] for _ in range(50)]
    assert max(np.cumsum([reward for reward, *_ in ends])) > 1.0
    assert not any(terminated for _, terminated, _ in ends)


@pytest.mark.parametrize(
    "noise", [-0.1, np.inf, np.nan, True, "0.1", None, np.bool_(True), [0.1], 1.7e308, 1000001, 10**400], ids=str
)
def test_bad_noise_is_refused(noise: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"noise_std is .*; give a number of at least 0 and at most 1000000"):
        make(noise_std=noise)


@pytest.mark.parametrize("id", ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"])
def test_feasible_is_what_is_so_without_noise(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the noise is as large as no noise_std makes it."""
    env = make(id).unwrapped
    env.reset()
    monkeypatch.setattr(env, "draw_noise", lambda rows, count: np.full(count, -np.inf))
    actions = {"Ehrlich-v0": [(0, START[0])], "EhrlichBuild-v0": START, "EhrlichPropose-v0": [START]}[id]
    *_, info = [env.step(action) for action in actions][-1]
    assert info == {"value": -np.inf, "feasible": True}


@pytest.mark.parametrize("id", ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"])
@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_the_largest_noise_is_finite_and_drawn(id: str, mode: str) -> None:
    env = make(id, noise_std=1e6, render_mode=mode)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(40):
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(float(reward))
        assert env.render() is not None
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("noise", [0, 0.0, np.float32(0)])
def test_no_noise_draws_nothing_and_observes_f(noise: Any) -> None:
    env = budgeted(noise_std=noise)
    env.reset(seed=7)
    assert env.evaluate(ROWS)[0].tolist() == FUNCTION(ROWS).tolist()
    assert env.unwrapped.np_random.standard_normal() * STD == normals(7, 1)[0]
    assert not env.ledger.repeats_charged


# What it costs


@pytest.mark.parametrize("file", [False, True])
def test_repeats_are_charged_scored_and_recorded(tmp_path: Path, scored: list[int], file: bool) -> None:
    env = budgeted(tmp_path / "l" if file else None)
    env.reset(seed=7)
    scored.clear()
    rows = ROWS[[0, 1, 0, 0, 2, 1]]
    values = np.concatenate([env.evaluate(rows[:4])[0], env.evaluate(rows[4:])[0]])
    assert sum(scored) == 6
    assert (env.remaining, len(env.ledger), env.ledger.repeats, env.ledger.asked, env.ledger.calls) == (94, 6, 0, 6, 2)
    env.close()
    ledger = Ledger.read(tmp_path / "l") if file else Ledger.from_bytes(env.ledger.to_bytes())
    assert ledger.repeats_charged
    assert ledger.sequences.tolist() == rows.tolist()
    assert ledger.values.tolist() == values.tolist()
    assert (ledger.asked_counts.tolist(), ledger.call_numbers.tolist()) == ([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 2, 2])


def test_file_of_a_noisy_function_differs_in_one_byte_of_its_header(tmp_path: Path) -> None:
    budgeted(tmp_path / "noisy").close()
    front = struct.pack("<8sII32sB11x", b"BSGLEDG1", 6, 8, bytes.fromhex(SPEC.digest), 1)
    assert (tmp_path / "noisy").read_bytes() == front + struct.pack("<I", zlib.crc32(front))


def test_a_batch_or_step_that_does_not_fit_is_refused_whole(scored: list[int]) -> None:
    env = budgeted(budget=5)
    env.reset(seed=0)
    env.evaluate(ROWS[[0, 0, 0]])
    scored.clear()
    with pytest.raises(BudgetExhausted, match="needs 3 new evaluations and 2 are left"):
        env.evaluate(ROWS[[0, 0, 0]])
    assert (scored, env.remaining, len(env.ledger)) == ([], 2, 3)
    env.evaluate(ROWS[[0, 0]])
    *_, truncated, info = env.step((0, START[0]))
    assert (truncated, info["budget_exhausted"], env.remaining) == (True, True, 0)


def test_an_observed_value_above_1_is_not_done() -> None:
    env = budgeted(budget=50, noise_std=5.0)
    env.reset(seed=0)
    env.evaluate(np.tile(FUNCTION.optimal_solution(), (49, 1)))
    assert env.ledger.best_value > 1.0
    assert not env.done
    env.evaluate(FUNCTION.optimal_solution()[None])
    assert env.done


def test_a_vector_budget_charges_every_row() -> None:
    envs = VectorEvaluationBudget(gymnasium.make_vec("EhrlichPropose-v0", num_envs=4, **SIZES, noise_std=STD), 10)
    envs.reset(seed=7)
    _, rewards, *_ = envs.step(ROWS[[0, 0, 0, 0]])
    assert rewards.tolist() == [FUNCTION(ROWS[:1])[0] + normals(7 + i, 1)[0] for i in range(4)]
    assert (envs.remaining, envs.ledger.values.tolist()) == (6, rewards.tolist())
    first = envs.evaluate(ROWS[[0, 0]])[0]  # of no sub-environment: the first one's generator
    assert first.tolist() == (FUNCTION(ROWS[:1])[0] + normals(7, 3)[1:]).tolist()


# Ledgers of the other kind


def test_reopening_with_or_without_noise_is_refused(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain", ROWS[:3])
    env = budgeted(tmp_path / "noisy")
    env.evaluate(ROWS[:3])
    env.close()
    noisy = (tmp_path / "noisy").read_bytes()
    with pytest.raises(InvalidLedger, match="plain is of a function without noise, not with; use a new one"):
        budgeted(tmp_path / "plain")
    with pytest.raises(InvalidLedger, match="noisy is of a function with noise, not without"):
        budgeted(tmp_path / "noisy", noise_std=0.0)
    with pytest.raises(InvalidLedger, match="noisy is of a function with noise"):
        opened(tmp_path / "noisy")
    with pytest.raises(InvalidLedger, match="the ledger is of a function with noise"):
        budgeted(Ledger.from_bytes(noisy), noise_std=0.0)
    with pytest.raises(InvalidLedger, match="the ledger is of a function without noise"):
        budgeted(Ledger.from_bytes(plain))
    assert ((tmp_path / "plain").read_bytes(), (tmp_path / "noisy").read_bytes()) == (plain, noisy)


def test_an_unknown_kind_of_ledger_is_refused(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "l"))
    data[48] = 2
    data[60:64] = struct.pack("<I", zlib.crc32(data[:60]))
    with pytest.raises(InvalidLedger, match="its header"):
        Ledger.from_bytes(bytes(data))


def test_runs_and_leaderboard_refuse_a_noisy_ledger(tmp_path: Path) -> None:
    task = load_task("llome/ehr-V32-L32-c4-k4-q4")
    run_agent(load_agent("random"), task, budget=20, seed=0, out=tmp_path / "run")
    manifest = read_run(tmp_path / "run").manifest
    (tmp_path / "run" / LEDGER).unlink()
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=task.name, noise_std=STD), 20, tmp_path / "run" / LEDGER)
    env.evaluate(np.zeros((20, 32), int))
    env.close()
    with pytest.raises(InvalidLedger, match="is of a function with noise, and a run is without"):
        read_run(tmp_path / "run")
    with pytest.raises(InvalidSubmission, match="a function with noise, whose values no replay gives"):
        verify(Run(tmp_path / "run", manifest, env.ledger))


# Resumed runs


def batches(env: EvaluationBudget, seed: int = 0) -> list[tuple[Any, ...]]:
    """A deterministic agent that depends on the answers, repeats itself, and asks for too much; what it saw."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    parent, seen = env.initial_solution, []
    while env.remaining:
        children = np.repeat(parent[None], 4, axis=0)
        children[np.arange(3), rng.integers(0, 8, 3)] = rng.integers(0, 6, 3)
        try:
            values, _ = env.evaluate(children)
        except BudgetExhausted as error:
            seen.append((error.remaining, error.requested))
            values, children = env.evaluate(children[2:3])[0], children[2:3]
        if values.max() > 0.3:
            parent = children[values.argmax()]
        ledger = env.ledger
        counts = (env.remaining, env.done, ledger.asked, ledger.calls, ledger.repeats, ledger.best_value)
        seen.append((values.tolist(), *counts))
    return seen


both = pytest.mark.parametrize("agent", [batches, walker])
Agent = Callable[..., list[tuple[Any, ...]]]


@both
def test_a_cut_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path, agent: Agent) -> None:
    env = budgeted(tmp_path / "whole", BUDGET)
    seen = agent(env)
    env.close()
    data = (tmp_path / "whole").read_bytes()
    assert len(data) == HEADER + BUDGET * RECORD
    for length in [*range(HEADER, len(data), 7), *range(HEADER, len(data) + 1, RECORD)]:
        path = tmp_path / "cut"
        path.write_bytes(data[:length])
        with expected_repair((length - HEADER) % RECORD > 0):
            env = budgeted(path, BUDGET)
        assert agent(env) == seen
        env.close()
        assert path.read_bytes() == data
    assert isinstance(seen[-2][0], int) or agent is walker  # else the climber was never refused


def test_a_replay_is_answered_from_the_ledger_whatever_the_generator(tmp_path: Path) -> None:
    """An agent that never seeds the environment sees after a crash what it saw before."""
    env = budgeted(tmp_path / "l")
    values = env.evaluate(ROWS[:5])[0]
    env.close()
    env = budgeted(tmp_path / "l")
    assert env.evaluate(ROWS[:3])[0].tolist() == values[:3].tolist()
    assert (env.remaining, len(env.ledger)) == (97, 5)
    assert env.evaluate(ROWS[3:7])[0][:2].tolist() == values[3:].tolist()
    assert (env.remaining, len(env.ledger)) == (93, 7)


@pytest.mark.parametrize("first", [ROWS[1:4], ROWS[[0, 1, 3]], ROWS[[0, 1, 2, 4, 4]]])
def test_a_batch_that_differs_is_new_and_so_is_all_after_it(tmp_path: Path, first: np.ndarray) -> None:
    env = budgeted(tmp_path / "l")
    env.evaluate(ROWS[:5])
    env.close()
    data = (tmp_path / "l").read_bytes()
    env = budgeted(tmp_path / "l")
    values = np.concatenate([env.evaluate(first)[0], env.evaluate(ROWS[:5])[0]])
    assert (env.remaining, env.ledger.asked, env.ledger.calls) == (100 - 5 - len(values), 5 + len(values), 3)
    env.close()
    after = Ledger.read(tmp_path / "l")
    assert after.to_bytes().startswith(data)
    assert after.sequences[5:].tolist() == np.concatenate([first, ROWS[:5]]).tolist()
    assert after.values[5:].tolist() == values.tolist()
    assert after.asked_counts.tolist() == list(range(1, 6 + len(values)))


@pytest.mark.parametrize("cut", [1, 5, BUDGET - 1, BUDGET])
@both
def test_a_resumed_run_that_asks_something_else_stays_in_its_budget(tmp_path: Path, agent: Agent, cut: int) -> None:
    env = budgeted(tmp_path / "l", BUDGET)
    agent(env, seed=0)
    env.close()
    data = (tmp_path / "l").read_bytes()[: HEADER + cut * RECORD]
    (tmp_path / "l").write_bytes(data)
    env = budgeted(tmp_path / "l", BUDGET)
    with suppress(BudgetExhausted):
        agent(env, seed=1)
    assert (env.remaining, env.done, len(env.ledger)) == (0, True, BUDGET)
    env.close()
    assert (tmp_path / "l").read_bytes().startswith(data)
