"""The budget: what is charged, what is refused, and what can't be reached."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from reach import secrets_in

from bioseq_gym import (
    BudgetExhausted,
    Ehrlich,
    EhrlichSpec,
    EvaluationBudget,
    InvalidBudget,
    InvalidLedger,
    InvalidSequence,
    Ledger,
)

SIZES: dict[str, Any] = {"V": 8, "L": 12, "c": 2, "k": 3}
SPEC = EhrlichSpec.from_seed(**SIZES)
FUNCTION = Ehrlich(SPEC)
ROWS = np.random.default_rng(0).integers(0, 8, (40, 12))
ROWS[::2] = FUNCTION.optimal_solution()
ROWS[np.arange(0, 40, 2), np.arange(20) % 12] = np.arange(20) % 8
ROWS = np.unique(ROWS, axis=0)
VALUES = FUNCTION(ROWS)
N = len(ROWS)


def core() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("Ehrlich-v0", **SIZES)


def budgeted(budget: int = 100, ledger: Ledger | Path | None = None) -> EvaluationBudget:
    return EvaluationBudget(core(), budget, ledger)


def state(env: EvaluationBudget) -> tuple[Any, ...]:
    ledger = env.ledger
    return env.remaining, len(ledger), ledger.asked, ledger.calls, ledger.repeats, ledger.to_bytes()


# What is charged


def test_rows_of_the_fixture_are_feasible_and_infeasible() -> None:
    assert 5 <= np.isneginf(VALUES).sum() <= N - 5


@pytest.mark.parametrize("dtype", ["u1", "i8", ">u4"])
def test_evaluate_gives_values_and_feasibility(dtype: str) -> None:
    values, feasible = budgeted().evaluate(ROWS.astype(dtype))
    assert (values.dtype.name, values.shape, feasible.dtype.name, feasible.shape) == ("float64", (N,), "bool", (N,))
    assert values.tolist() == VALUES.tolist()
    assert feasible.tolist() == (~np.isneginf(VALUES)).tolist()


def test_every_distinct_row_is_charged_once_infeasible_ones_too(scored: list[int]) -> None:
    env = budgeted()
    scored.clear()
    env.evaluate(ROWS[:10])
    assert (env.remaining, len(env.ledger), env.ledger.repeats) == (90, 10, 0)
    values, _ = env.evaluate(ROWS[[3, 3, 11, 11, 12, 3]])
    assert values.tolist() == VALUES[[3, 3, 11, 11, 12, 3]].tolist()
    assert (env.remaining, len(env.ledger), env.ledger.repeats, env.ledger.asked, env.ledger.calls) == (
        88,
        12,
        4,
        16,
        2,
    )
    env.evaluate(ROWS[:10])
    assert (env.remaining, env.ledger.repeats, env.ledger.asked, env.ledger.calls) == (88, 14, 26, 3)
    assert scored == [10, 2]


def test_answers_keep_the_order_of_the_rows() -> None:
    env = budgeted()
    env.evaluate(ROWS[5:15])
    order = np.random.default_rng(2).integers(0, N, 200)
    assert env.evaluate(ROWS[order])[0].tolist() == VALUES[order].tolist()


@pytest.mark.parametrize("file", [False, True])
def test_a_batch_that_does_not_fit_is_refused_whole(tmp_path: Path, scored: list[int], file: bool) -> None:
    env = budgeted(10, tmp_path / "l" if file else None)
    env.evaluate(ROWS[:4])
    before = state(env)
    scored.clear()
    for batch, new in [(ROWS[4:11], 7), (ROWS[:11], 7), (ROWS[:20], 16), (np.repeat(ROWS[4:11], 2, axis=0), 7)]:
        with pytest.raises(BudgetExhausted, match=f"needs {new} new evaluations and 6 are left") as refused:
            env.evaluate(batch)
        assert (refused.value.remaining, refused.value.requested) == (6, new)
    assert scored == []
    assert state(env) == before
    if file:
        assert (tmp_path / "l").read_bytes() == before[-1]


def test_a_batch_that_just_fits_is_scored_and_then_repeats_only() -> None:
    env = budgeted(10)
    env.evaluate(ROWS[:4])
    values, _ = env.evaluate(np.concatenate([ROWS[:10], ROWS[:10]]))
    assert values.tolist() == VALUES[:10].tolist() * 2
    assert (env.remaining, env.done) == (0, True)
    assert env.evaluate(ROWS[:10])[0].tolist() == VALUES[:10].tolist()
    with pytest.raises(BudgetExhausted, match="needs 1 new evaluations and 0 are left"):
        env.evaluate(ROWS[9:11])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (ROWS[0], r"for one sequence pass x\[None\]"),
        (ROWS.astype(float), "dtype float64"),
        (ROWS[:0], "the batch is empty"),
        (np.where(ROWS % 8 == 5, 8, ROWS), r"holds token 8 at position \d+; give 0 \.\. 7"),
        (ROWS - 8, "row 0 holds token -"),
        (ROWS + 256, r"row 0 holds token 2\d\d at position 0"),
    ],
    ids=["1-D", "float", "empty", "token V", "negative", "wraps in a byte"],
)
def test_bad_batches_are_refused_and_cost_nothing(scored: list[int], x: Any, message: str) -> None:
    env = budgeted()
    before = state(env)
    scored.clear()
    with pytest.raises(InvalidSequence, match=message):
        env.evaluate(x)
    assert (state(env), scored) == (before, [])


def test_the_callers_array_may_change_afterwards() -> None:
    env = budgeted()
    x = ROWS[:5].astype(np.uint8)
    values, _ = env.evaluate(x)
    x[:], values[:] = 0, 7.0
    assert env.ledger.sequences.tolist() == ROWS[:5].tolist()
    assert env.evaluate(ROWS[:5])[0].tolist() == VALUES[:5].tolist()


def test_step_and_evaluate_write_the_same_ledger() -> None:
    rng = np.random.default_rng(3)
    stepped, evaluated = budgeted(), budgeted()
    x, _ = stepped.reset()
    for action in rng.integers(0, [12, 8], (60, 2)):
        asked = x.copy()
        asked[action[0]] = action[1]
        x, _, terminated, truncated, info = stepped.step(action)
        (value,), (feasible,) = evaluated.evaluate(asked[None])
        assert (info["feasible"], x.tolist() == asked.tolist()) == (feasible, feasible)
        assert not feasible or info["value"] == value
        if terminated or truncated:
            x, _ = stepped.reset()
    assert state(stepped) == state(evaluated)
    assert stepped.ledger.repeats > 0


def test_resets_and_the_initial_solution_are_free(scored: list[int]) -> None:
    env = budgeted()
    scored.clear()
    for seed in (None, 0, 1):
        observation, info = env.reset(seed=seed)
        assert observation.tolist() == env.initial_solution.tolist() == FUNCTION.initial_solution().tolist()
        assert info["value"] == env.initial_value == FUNCTION(env.initial_solution[None])[0]
    env.initial_solution[:] = 0
    assert env.reset()[0].tolist() == FUNCTION.initial_solution().tolist()
    assert (env.remaining, env.ledger.asked) == (100, 0)


def test_sizes_are_told() -> None:
    env = budgeted()
    assert (env.vocabulary_size, env.length, env.remaining, len(env.ledger)) == (8, 12, 100, 0)


def test_an_exhausted_step_truncates_and_changes_nothing(scored: list[int]) -> None:
    env = budgeted(2)
    x, _ = env.reset()
    x[11] = next(t for t in range(8) if t != x[11] and FUNCTION.is_feasible([[*x[:11], t]])[0])
    value = FUNCTION(x[None])[0]
    infeasible = next(t for t in range(8) if not FUNCTION.is_feasible([[*x[:11], t]])[0])
    assert env.step((11, x[11]))[0].tolist() == x.tolist()
    assert env.step((11, infeasible))[0].tolist() == x.tolist()
    before = state(env)
    scored.clear()
    for position in (2, 3):
        token = (x[position] + 1) % 8
        observation, reward, terminated, truncated, info = env.step((position, token))
        assert (observation.tolist(), reward, terminated, truncated) == (x.tolist(), 0.0, False, True)
        assert info["budget_exhausted"] is True
        assert info["value"] == value
    assert (state(env), scored) == (before, [])
    *_, truncated, info = env.step((1, x[1]))  # asked before: free
    assert (truncated, info) == (False, {"value": value, "feasible": True})


def test_done_when_spent_or_at_the_optimum() -> None:
    env = budgeted(3)
    env.evaluate(ROWS[VALUES < 1][:2])
    assert (env.remaining, env.done) == (1, False)
    env.evaluate(ROWS[VALUES < 1][2:3])
    assert (env.remaining, env.done) == (0, True)
    env = budgeted(3)
    env.evaluate(FUNCTION.optimal_solution()[None])
    assert (env.remaining, env.done) == (2, True)


def test_ledger_object_is_taken_and_goes_on() -> None:
    first = budgeted(10)
    first.evaluate(ROWS[:4])
    env = budgeted(10, Ledger.from_bytes(first.ledger.to_bytes()))
    assert (env.remaining, env.ledger.repeats) == (6, 0)
    env.evaluate(ROWS[2:6])
    assert (env.remaining, env.ledger.repeats, env.ledger.asked, env.ledger.calls) == (4, 2, 8, 2)


# What is refused


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "max_evaluations is 0; give a budget of at least 1"),
        (-3, "max_evaluations is -3"),
        (True, "max_evaluations must be an integer, not True"),
        (10.0, "max_evaluations must be an integer, not 10.0"),
        ("10", "max_evaluations must be an integer, not '10'"),
        (None, "max_evaluations must be an integer, not None"),
    ],
)
def test_no_budget_is_refused_before_a_file_is_made(tmp_path: Path, budget: Any, message: str) -> None:
    env = core()
    with pytest.raises(InvalidBudget, match=message):
        EvaluationBudget(env, budget, tmp_path / "l")
    assert list(tmp_path.iterdir()) == []
    assert EvaluationBudget(env, np.int64(5), tmp_path / "l").remaining == 5


def test_a_foreign_environment_is_refused() -> None:
    with pytest.raises(InvalidBudget, match=r"is not an environment of bioseq_gym; make one with gym\.make"):
        EvaluationBudget(gymnasium.make("CartPole-v1"), 10)


@pytest.mark.parametrize("other", [{"digest": "00" * 32}, {"V": 9}, {"L": 13}], ids=str)
def test_ledger_of_another_function_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidBudget, match="the ledger is of the function"):
        budgeted(10, Ledger(**{"digest": SPEC.digest, "V": 8, "L": 12, **other}))


@pytest.mark.parametrize("ledger", [3, b"ledger.bin", True])
def test_what_is_no_ledger_is_refused(ledger: Any) -> None:
    with pytest.raises(InvalidBudget, match="give a Ledger, the path of its file, or None"):
        budgeted(10, ledger)


@pytest.mark.parametrize("file", [False, True])
def test_ledger_larger_than_the_budget_is_refused(tmp_path: Path, file: bool) -> None:
    env = budgeted(10, tmp_path / "l" if file else None)
    env.evaluate(ROWS[:4])
    env.close()
    with pytest.raises(InvalidBudget, match="holds 4 evaluations already, more than the budget of 3"):
        budgeted(3, tmp_path / "l" if file else env.ledger)


WRAPPINGS: dict[str, Callable[[EvaluationBudget], Any]] = {
    "wrapper": lambda env: env,
    "unwrapped": lambda env: env.unwrapped,
    "the env inside": lambda env: env.env,
    "another wrapper": lambda env: gymnasium.wrappers.TimeLimit(env, 5),
}


@pytest.mark.parametrize("again", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_second_budget_is_refused(again: Callable[[EvaluationBudget], Any]) -> None:
    env = budgeted(3)
    env.evaluate(ROWS[:2])
    with pytest.raises(InvalidBudget, match=r"has a budget already; make a new one with gym\.make"):
        EvaluationBudget(again(env), 1000)
    assert env.remaining == 1


@pytest.mark.parametrize("inner", [WRAPPINGS["unwrapped"], WRAPPINGS["the env inside"]], ids=["unwrapped", "inside"])
def test_the_inner_environment_is_charged_too(inner: Callable[[EvaluationBudget], Any]) -> None:
    env = budgeted(2)
    env.reset()
    start = env.initial_solution
    for position in range(4):
        *_, truncated, info = inner(env).step((position, (start[position] + 1) % 8))
    assert (env.remaining, truncated, info["budget_exhausted"], len(env.ledger)) == (0, True, True, 2)


@pytest.mark.parametrize(
    "name", ["remaining", "done", "ledger", "vocabulary_size", "length", "initial_solution", "initial_value"]
)
def test_attributes_are_read_only(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(budgeted(), name, 10**6)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("part", [lambda env: env, lambda env: env.unwrapped, lambda env: env.ledger])
def test_copies_are_refused(part: Callable[[EvaluationBudget], Any], copied: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidBudget, match="a copy would be a second budget"):
        copied(part(budgeted()))


def test_a_shallow_copy_spends_the_same_budget() -> None:
    env = budgeted(5)
    copy.copy(env).evaluate(ROWS[:2])
    copy.copy(env.unwrapped).step((0, (env.initial_solution[0] + 1) % 8))
    assert env.remaining == 2


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_fork_has_no_budget_of_its_own(tmp_path: Path) -> None:
    env = budgeted(10, tmp_path / "l")
    env.evaluate(ROWS[:2])
    child = os.fork()
    if child == 0:
        try:
            env.evaluate(ROWS[2:4])
        except InvalidBudget:
            os._exit(42)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    env.evaluate(ROWS[4:6])
    env.close()
    assert len(Ledger.read(tmp_path / "l")) == 4


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(BudgetExhausted(3, 7)))
    assert (error.remaining, error.requested, str(error)) == (3, 7, str(BudgetExhausted(3, 7)))


# What can't be reached


def test_without_a_budget_everything_can_be_reached() -> None:
    """So that the next test can fail."""
    found = {"Ehrlich", "EhrlichSpec", "EnvSpec", "motifs", "offsets", "spacings", "matrix", "forbidden"}
    assert secrets_in(core(), SPEC) == found


def test_under_a_budget_nothing_of_the_function_can_be_reached(tmp_path: Path) -> None:
    env = budgeted(50, tmp_path / "l")
    assert secrets_in(env, SPEC) == set()
    env.reset(seed=0)
    env.evaluate(ROWS[VALUES < 1][:10])
    env.step((0, 1))
    with pytest.raises(BudgetExhausted) as refused:
        env.evaluate(np.random.default_rng(0).integers(0, 8, (100, 12)))
    assert refused.value.remaining < 50
    assert secrets_in(env, SPEC) == set()
    assert secrets_in(env.unwrapped, SPEC) == set()
    assert (env.spec, env.env.spec, env.unwrapped.spec) == (None, None, None)


def test_threads_share_one_budget(tmp_path: Path) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task="llome/ehr-V32-L128-c8-k8-q8"), 1000, tmp_path / "l")
    batches = np.random.default_rng(0).integers(32, size=(8, 300, 128)).astype(np.uint8)
    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(lambda batch: _refused(env, batch), batches))
    assert sum(refused) == 5  # 3 of the 8 batches fit
    assert (env.remaining, len(env.ledger)) == (100, 900)
    env.close()
    assert len(Ledger.read(tmp_path / "l")) == 900


def _refused(env: EvaluationBudget, batch: np.ndarray) -> bool:
    try:
        env.evaluate(batch)
    except BudgetExhausted:
        return True
    return False


def test_a_ledger_that_lost_records_in_memory_does_not_touch_its_file(tmp_path: Path) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", L=32), 100, tmp_path / "l")
    rows = np.random.default_rng(0).integers(32, size=(30, 32))
    env.evaluate(rows[:10])
    env.evaluate(rows[10:20])
    before = (tmp_path / "l").read_bytes()
    env.ledger._records._counter[0] = 0
    with pytest.raises(InvalidLedger, match="lost records; its file was left as it is"):
        env.evaluate(rows[20:])
    env.close()
    assert (tmp_path / "l").read_bytes() == before
