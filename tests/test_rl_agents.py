"""The agents of reinforcement learning, and the random walks that stand beside them."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO

from bioseq_gym import EvaluationBudget, InvalidConfig, InvalidSpec, VectorEvaluationBudget, load_task
from bioseq_gym.agent import load_agent
from bioseq_gym.agents.rl.features import TokenFeatures
from bioseq_gym.agents.rl.training import UntilSpent, reproducible, short_seed
from bioseq_gym.budget.oracle import MeteredOracle
from bioseq_gym.cli import main
from bioseq_gym.metrics import feasible_share
from bioseq_gym.replay import verify
from bioseq_gym.runs import LEDGER, make_env, read_run, run_agent, write_manifest

TASK = "ehrlich/ehr-V16-L12-c3-k4-q4-seed0"
LEARNERS = ["ppo", "maskable-ppo", "dqn"]
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 8, "width": 32},
    "maskable-ppo": {"width": 32},
    "dqn": {"learning_starts": 64, "batch_size": 16, "width": 32},
}


def spend(name: str, budget: int, task: str = TASK, seed: int = 0, **changes: Any) -> VectorEvaluationBudget:
    """An environment whose budget the agent has spent."""
    agent = load_agent(name)
    env = make_env(agent, load_task(task), budget)
    assert isinstance(env, VectorEvaluationBudget)
    agent.run(env, seed, replace(agent.config, **{**SMALL.get(name, {}), **changes}))
    return env


@pytest.mark.parametrize(("name", "budget"), [("ppo", 3000), ("maskable-ppo", 1000), ("dqn", 1000)])
def test_learners_learn(name: str, budget: int) -> None:
    """Of what is asked, the last quarter is worth far more than the first, which is nearly random."""
    values = np.maximum(spend(name, budget, seed=1).ledger.values, 0.0)
    quarter = len(values) // 4
    assert values[-quarter:].mean() > 1.5 * values[:quarter].mean()


@pytest.mark.parametrize("name", [*LEARNERS, "random-walks"])
@pytest.mark.parametrize("budget", [1, 203])
def test_the_budget_is_kept_and_no_step_taken_beyond_it(
    name: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []
    ask = MeteredOracle.ask

    def counted(self: MeteredOracle, *arguments: Any) -> Any:
        try:
            return ask(self, *arguments)
        except Exception:
            refusals.append(arguments)
            raise

    monkeypatch.setattr(MeteredOracle, "ask", counted)
    env = spend(name, budget)
    assert len(env.ledger) <= budget
    assert env.remaining < env.num_envs
    assert len(refusals) == (env.remaining > 0)


@pytest.mark.parametrize("name", ["maskable-ppo", "random-walks"])
def test_who_knows_the_constraints_asks_nothing_infeasible(name: str) -> None:
    env = spend(name, 600)
    assert len(env.ledger) > 500
    assert feasible_share(env.ledger.values) == 1.0


def test_random_walks_draw_each_token_uniformly_from_those_that_may_come_next() -> None:
    task = load_task("ehrlich/ehr-V8-L24-c2-k4-q4-seed3")
    x = spend("random-walks", 4000, task.name).ledger.sequences
    first = np.bincount(x[:, 0], minlength=8) / len(x)
    assert np.abs(first - 1 / 8).max() < 4.0 * np.sqrt(1 / 8 * 7 / 8 / len(x))
    counts = np.zeros((8, 8))
    np.add.at(counts, (x[:, :-1].ravel(), x[:, 1:].ravel()), 1)
    allowed = task.spec.transition_matrix > 0.0
    assert ((counts > 0) == allowed).all()
    assert not allowed.all()
    share, expected = counts / counts.sum(axis=1, keepdims=True), allowed / allowed.sum(axis=1, keepdims=True)
    assert (np.abs(share - expected) < 4.5 * np.sqrt(expected / counts.sum(axis=1, keepdims=True)) + 1e-12).all()


def test_a_policy_that_only_repeats_itself_is_stopped() -> None:
    """Greedy and without learning, the eight episodes of DQN are the same for ever."""
    settings = {"exploration": 0.001, "exploration_final": 0.0, "learning_starts": 0, "learning_rate": 0.0}
    env = spend("dqn", 10_000, patience=200, **settings)
    assert not env.done
    assert env.ledger.repeats >= 0.99 * 200
    assert env.ledger.asked < 1000


def test_one_in_a_hundred_new_is_enough() -> None:
    class Ledger:
        asked = position = 0

    class Budget:
        ledger, done, remaining = Ledger(), False, 1000

    callback = UntilSpent(Budget(), patience=200)  # type: ignore[arg-type]
    callback.locals = {"infos": [{}]}
    for new, goes_on in ((2, True), (200, True), (2, True), (1, False)):
        Ledger.asked += 199
        assert callback._on_step()
        Ledger.asked += 1
        Ledger.position += new
        assert callback._on_step() is goes_on


@pytest.mark.parametrize("name", LEARNERS)
def test_a_run_that_was_cut_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    agent, task = load_agent(name), load_task(TASK)
    config = replace(agent.config, **SMALL[name])

    def run(out: str, resume: bool = False) -> Any:
        return run_agent(agent, task, budget=200, seed=5, out=tmp_path / out, config=config, resume=resume)

    whole = run("whole")
    verify(whole)
    data = whole.ledger.to_bytes()
    record = (len(data) - 64) // len(whole.ledger)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / LEDGER).write_bytes(data[: 64 + 150 * record])
    write_manifest(tmp_path / "cut", {**whole.manifest, "status": "running"})
    again = run("cut", resume=True)
    assert read_run(again.path).ledger.to_bytes() == data
    assert {**again.manifest, "wall_s": 0.0} == {**whole.manifest, "wall_s": 0.0, "sessions": 2}


def test_progress_is_shown_of_a_vector_environment_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--task", TASK, "--budget", "1000", "--out", str(tmp_path / "run"), "--n-steps", "8"]
    assert main(["run", "ppo", *options]) == 0
    shown = capsys.readouterr().err
    assert re.search(r"\d+ steps, mean return of the last \d+ episodes -?0\.\d{4}", shown)
    assert re.search(r"\b1?\d evaluations left", shown)
    manifest = read_run(tmp_path / "run").manifest
    assert (repeats := manifest["asked"] - manifest["evaluations"]) > 0
    assert f"  {repeats:,} repeats  " in shown


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ppo", {"batch_size": 100}, "--batch-size of ppo is 100; give a divisor of 16 n-steps, 128"),
        ("maskable-ppo", {"minibatches": 7}, "--minibatches of maskable-ppo is 7; give a smaller divisor of 480"),
        ("maskable-ppo", {"minibatches": 480}, "is 480; give a smaller divisor of 480"),
        ("dqn", {"device": "tpu"}, "--device of dqn is 'tpu'; give one of cpu, cuda, auto that this machine has"),
    ],
)
def test_settings_that_do_not_fit_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        spend(name, 100, **settings)


def state() -> tuple[Any, ...]:
    legacy = np.random.get_state()  # noqa: NPY002 - the global state is what is looked at
    return random.getstate(), repr(legacy), torch.get_rng_state().tolist(), torch.get_num_threads()


def disturb_and_fail() -> None:
    with reproducible("ppo", "cpu"):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        raise RuntimeError("in training")


def test_what_sb3_seeds_is_put_back_even_after_an_error() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = state()
    with pytest.raises(RuntimeError, match="in training"):
        disturb_and_fail()
    assert state() == before
    assert not torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)


def test_seeds_of_any_size_give_seeds_that_sb3_takes() -> None:
    seeds = [short_seed(seed) for seed in (0, 1, 2**32, 2**32 + 1, 2**63 - 1)]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_features_tell_apart_every_token_at_every_position() -> None:
    torch.manual_seed(0)
    features = TokenFeatures(gymnasium.spaces.Box(0, 3, (5,), np.int16), 64)
    x = torch.randint(4, (1, 5)).float()
    changed = x.repeat(20, 1)
    for i in range(20):
        changed[i, i // 4] = i % 4
    with torch.no_grad():
        rows = {tuple(row) for row in features(changed).tolist()}
    assert len(rows) == 1 + 5 * 3


@pytest.mark.parametrize("budget", [None, 30])
def test_sb3_contrib_masks_the_actions_of_a_single_environment(budget: int | None) -> None:
    env: gymnasium.Env[Any, Any] = gymnasium.make("EhrlichBuild-v0", task=TASK, reveal_constraints=True)
    if budget is not None:
        env = EvaluationBudget(env, budget)
    values: list[float] = []
    model = MaskablePPO("MlpPolicy", env, n_steps=36, batch_size=36, seed=0, device="cpu")
    model.learn(
        180, callback=lambda state, _: values.extend(i["value"] for i in state["infos"] if "value" in i) or True
    )
    assert len(values) == 15  # episodes of L = 12
    assert min(values) >= 0.0  # unmasked most are infeasible, -inf
    with pytest.raises(
        InvalidSpec, match="there are no action masks; make the environment with reveal_constraints=True"
    ):
        gymnasium.make("EhrlichBuild-v0", task=TASK).get_wrapper_attr("action_masks")()
