"""Runs that were cut and go on from their ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledgers import FUNCTION, HEADER, RECORD, ROWS, budgeted, expected_repair, walker, written

from bioseq_gym import (
    BudgetExhausted,
    EvaluationBudget,
    InvalidLedger,
    Ledger,
)

BUDGET = 25


def climber(env: EvaluationBudget, seed: int = 0) -> list[tuple[Any, ...]]:
    """A deterministic agent that depends on the answers, repeats itself, and asks for too much; what it saw."""
    rng = np.random.default_rng(seed)
    parent, seen = env.initial_solution, []

    def state() -> tuple[Any, ...]:
        ledger = env.ledger
        return env.remaining, env.done, ledger.asked, ledger.calls, ledger.repeats, ledger.position, ledger.best_value

    while env.remaining:
        children = np.repeat(parent[None], 4, axis=0)
        children[np.arange(4), rng.integers(0, 8, 4)] = rng.integers(0, 6, 4)
        try:
            values, _ = env.evaluate(np.concatenate([parent[None], children, children[:1]]))
        except BudgetExhausted as error:
            seen.append((error.remaining, error.requested, *state()))
            children = children[:1]
            values, _ = env.evaluate(np.concatenate([children, parent[None]]))
            values = values[[1, 0]]
        best = int(values[: 1 + len(children)].argmax())
        parent = parent if best == 0 else children[best - 1]
        seen.append((values.tolist(), *state()))
    return seen


@pytest.mark.parametrize("agent", [climber, walker])
def test_a_cut_run_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, agent: Callable[..., list[tuple[Any, ...]]], scored: list[int]
) -> None:
    env = budgeted(tmp_path / "whole", BUDGET)
    seen = agent(env)
    env.close()
    data = (tmp_path / "whole").read_bytes()
    assert len(data) == HEADER + BUDGET * RECORD
    for length in [*range(HEADER, len(data), 7), *range(HEADER, len(data) + 1, RECORD)]:
        path = tmp_path / f"cut-{length}-{len(scored)}"
        path.write_bytes(data[:length])
        whole, torn = divmod(length - HEADER, RECORD)
        with expected_repair(torn > 0):
            env = budgeted(path, BUDGET)
        scored.clear()
        assert agent(env) == seen
        env.close()
        assert path.read_bytes() == data
        assert sum(scored) == BUDGET - whole  # what the ledger holds is not scored again
        assert not env.ledger.diverged
        path.unlink()


def test_the_climber_is_refused_and_repeats_itself() -> None:
    """Else the test above would hold less than it says."""
    seen = climber(budgeted(budget=BUDGET))
    assert sum(isinstance(entry[0], int) for entry in seen) >= 1
    assert seen[-1][5] > 3


@pytest.mark.parametrize("cut", [1, 5, BUDGET - 1, BUDGET])
@pytest.mark.parametrize("agent", [climber, walker])
def test_a_resumed_run_that_asks_something_else_stays_in_its_budget(
    tmp_path: Path, agent: Callable[..., list[tuple[Any, ...]]], cut: int
) -> None:
    env = budgeted(tmp_path / "l", BUDGET)
    agent(env, seed=0)
    env.close()
    data = (tmp_path / "l").read_bytes()[: HEADER + cut * RECORD]
    (tmp_path / "l").write_bytes(data)
    env = budgeted(tmp_path / "l", BUDGET)
    with suppress(BudgetExhausted):
        agent(env, seed=1)  # which ends: a spent budget does not look like one with evaluations left
    assert (env.remaining, env.done) == (0, True)
    assert env.ledger.diverged == (cut > 1 or agent is walker)  # climbers begin alike
    env.close()
    after = Ledger.read(tmp_path / "l")
    assert len(after) == BUDGET
    assert (tmp_path / "l").read_bytes().startswith(data)
    assert (np.diff(after.asked_counts.astype(int)) > 0).all()
    assert (np.diff(after.call_numbers.astype(int)) >= 0).all()


@pytest.mark.parametrize("batches", [[[0, 1], [2]], [[0, 1, 2]], [[0], [1, 2]]], ids=str)
def test_fewer_repeats_or_calls_than_before_leave_counts_that_rise(tmp_path: Path, batches: list[list[int]]) -> None:
    """An agent that is not deterministic, by time or on a GPU: else its run could never be packed."""
    path = tmp_path / "l"
    written(path, *(ROWS[[i]] for i in (0, 0, 0, 1)))
    env = budgeted(path)
    for batch in batches:
        env.evaluate(ROWS[batch])
    env.close()
    ledger = Ledger.read(path)
    assert (ledger.asked_counts.tolist()[:2], ledger.call_numbers.tolist()[:2]) == ([1, 4], [1, 4])
    assert ledger.asked_counts[2] > 4
    assert ledger.call_numbers[2] >= 4


def test_a_spent_ledger_refuses_what_it_does_not_hold(tmp_path: Path) -> None:
    written(tmp_path / "l", ROWS[:4])
    env = budgeted(tmp_path / "l", 4)
    assert env.remaining == 4
    with pytest.raises(BudgetExhausted) as refused:
        env.evaluate(ROWS[7:9])
    assert (refused.value.remaining, refused.value.requested, env.remaining, env.done) == (0, 2, 0, True)
    assert (env.ledger.asked, env.ledger.calls, env.ledger.repeats) == (4, 1, 0)


def test_best_value_does_not_run_ahead_of_a_replay(tmp_path: Path) -> None:
    """Else a resumed agent that works until env.done would stop before it asked again what it had asked."""
    optimum = FUNCTION.optimal_solution()[None]
    written(tmp_path / "l", ROWS[1:4:2], optimum)
    env = budgeted(tmp_path / "l")
    assert (env.ledger.best_value, env.done) == (-np.inf, False)
    env.evaluate(ROWS[1:4:2])
    assert not env.done
    env.evaluate(optimum)
    assert (env.ledger.best_value, env.done) == (1.0, True)


def kept(path: Path) -> tuple[int, int, int]:
    """Position, rows and calls after the first part of what is asked, with repeats between."""
    env = budgeted(path)
    for rows in (ROWS[:5], ROWS[:5], ROWS[5:9]):
        env.evaluate(rows)
    state = env.ledger.position, env.ledger.asked, env.ledger.calls
    env.evaluate(ROWS[3:20])
    env.close()
    return state


def test_an_agent_with_a_state_of_its_own_skips_what_it_asked(tmp_path: Path) -> None:
    position, asked, calls = kept(tmp_path / "ledger")
    whole = (tmp_path / "ledger").read_bytes()
    (tmp_path / "ledger").write_bytes(whole[: HEADER + (position + 3) * RECORD])
    env = budgeted(tmp_path / "ledger")
    env.ledger.skip_to(position, asked, calls)
    assert (env.ledger.position, env.ledger.asked, env.ledger.calls) == (position, asked, calls)
    assert env.remaining == 100 - position
    assert env.ledger.best_value == env.ledger.values[:position].max()
    env.evaluate(ROWS[3:20])
    env.close()
    assert (tmp_path / "ledger").read_bytes() == whole


@pytest.mark.parametrize(
    "off", [(1, 0, 0), (-1, 0, 0), (0, -10, 0), (0, 20, 0), (0, 0, -2), (0, 0, 1), (99, 0, 0), (-99, 0, 0)]
)
def test_a_state_that_does_not_go_with_the_ledger_is_refused(tmp_path: Path, off: tuple[int, int, int]) -> None:
    state = kept(tmp_path / "ledger")
    env = budgeted(tmp_path / "ledger")
    with pytest.raises(InvalidLedger, match="not the one that a kept state of"):
        env.ledger.skip_to(*(value + change for value, change in zip(state, off, strict=True)))
    assert (env.ledger.position, env.ledger.asked, env.ledger.calls) == (0, 0, 0)
    env.close()


def test_what_was_asked_in_this_process_is_not_skipped(tmp_path: Path) -> None:
    state = kept(tmp_path / "ledger")
    env = budgeted(tmp_path / "ledger")
    env.evaluate(ROWS[:5])
    with pytest.raises(InvalidLedger, match="not the one that a kept state of"):
        env.ledger.skip_to(*state)
    env.close()


def test_an_agents_directory_is_beside_the_ledger(tmp_path: Path) -> None:
    with_file, in_memory = budgeted(tmp_path / "ledger"), budgeted()
    assert with_file.directory == tmp_path / "agent"
    assert not (tmp_path / "agent").exists()
    assert in_memory.directory is None
    with_file.close()


def test_two_budgets_on_one_ledger_never_have_less_than_nothing() -> None:
    large = budgeted(budget=10)
    small = budgeted(large.ledger, 3)
    large.evaluate(ROWS[:4])
    assert (small.remaining, small.done) == (0, True)
    with pytest.raises(BudgetExhausted, match="2 new evaluations and 0 are left"):
        small.evaluate(ROWS[4:6])
