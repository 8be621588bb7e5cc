"""``EhrlichBuild-v0`` and ``EhrlichPropose-v0``, and the masks of all three environments."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from bioseq_gym import Ehrlich, EhrlichSpec, EvaluationBudget, InvalidSequence

Env = gymnasium.Env[Any, Any]

SIZES: dict[str, Any] = {"V": 8, "L": 10, "c": 2, "k": 3}
FUNCTION = Ehrlich(EhrlichSpec.from_seed(**SIZES))
START = FUNCTION.initial_solution()
GOAL = FUNCTION.optimal_solution()
ALLOWED = FUNCTION.spec.transition_matrix > 0


def make(id: str, **arguments: Any) -> Env:
    return gymnasium.make(id, **SIZES, **arguments)


def sampled(env: Env, count: int) -> list[Any]:
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(count)]


def test_building_appends_tokens_and_pays_at_the_end() -> None:
    env = make("EhrlichBuild-v0")
    assert env.action_space == gymnasium.spaces.Discrete(8)
    assert env.observation_space == gymnasium.spaces.MultiDiscrete([9] * 10)
    for tokens, value in ((GOAL, 1.0), (START, FUNCTION(START[None])[0])):
        x, info = env.reset()
        assert (x.tolist(), x.dtype, info) == ([8] * 10, np.int64, {})
        for t, token in enumerate(tokens):
            x, *rest = env.step(token)
            assert x.tolist() == [*tokens[: t + 1], *[8] * (9 - t)]
            assert rest == (
                [value, True, False, {"value": value, "feasible": True}] if t == 9 else [0, False, False, {}]
            )


def test_proposing_is_one_step() -> None:
    env = make("EhrlichPropose-v0")
    assert env.action_space == env.observation_space == gymnasium.spaces.MultiDiscrete([8] * 10)
    for _ in range(2):
        x, info = env.reset()
        assert (x.tolist(), info) == (START.tolist(), {"value": FUNCTION(START[None])[0], "feasible": True})
        x, *rest = env.step(GOAL)
        assert (x.tolist(), rest) == (GOAL.tolist(), [1.0, True, False, {"value": 1.0, "feasible": True}])


def test_an_infeasible_sequence_earns_nothing() -> None:
    a, b = np.argwhere(~ALLOWED)[0]
    x = [a, b, *[b] * 8]
    build, propose = make("EhrlichBuild-v0"), make("EhrlichPropose-v0")
    build.reset()
    steps = [build.step(token) for token in x]
    assert all(info == {} for *_, info in steps[:-1])  # a forbidden transition is not told before it is paid for
    propose.reset()
    for end in (steps[-1], propose.step(x)):
        assert (end[0].tolist(), *end[1:]) == (x, 0.0, True, False, {"value": -np.inf, "feasible": False})


def test_a_full_sequence_takes_no_more_tokens() -> None:
    env = make("EhrlichBuild-v0")
    env.reset()
    for token in START:
        x, *_ = env.step(token)
    with pytest.raises(InvalidSequence, match=r"has its 10 tokens; call reset\(\)"):
        env.step(0)
    env.reset()
    assert env.step(0)[0].tolist() == [0, *[8] * 9]
    assert x.tolist() == START.tolist()


def test_building_over_256_states() -> None:
    """The empty place is 256, which is no byte."""
    env = gymnasium.make("EhrlichBuild-v0", V=256, L=8, c=2, k=2)
    assert env.reset()[0].tolist() == [256] * 8
    assert env.step(255)[0].tolist() == [255, *[256] * 7]


@pytest.mark.parametrize("id", ["EhrlichBuild-v0", "EhrlichPropose-v0"])
@pytest.mark.parametrize("action", [-1, 8, [8] * 10, [-1] * 10, [0] * 9, None, 0.5, [0.0] * 10, True], ids=str)
def test_actions_out_of_range_are_refused_and_change_nothing(id: str, action: Any) -> None:
    env = make(id).unwrapped
    env.reset()
    before = env._dynamics.observations().tolist()  # type: ignore[attr-defined]
    with pytest.raises(InvalidSequence, match=r"the action is .*; give"):
        env.step(action)
    assert env._dynamics.observations().tolist() == before  # type: ignore[attr-defined]


def test_a_spent_budget_ends_a_build_at_its_last_token() -> None:
    env = EvaluationBudget(make("EhrlichBuild-v0"), 1)
    for tokens in (GOAL, START):
        env.reset()
        *before, last = [env.step(token) for token in tokens]
    assert [rest for _, *rest in before] == [[0.0, False, False, {}]] * 9
    assert (last[0].tolist(), *last[1:]) == ([*START[:-1], 8], 0.0, False, True, {"budget_exhausted": True})
    assert env.ledger.sequences.tolist() == [GOAL.tolist()]


def test_a_spent_budget_ends_a_proposal() -> None:
    env = EvaluationBudget(make("EhrlichPropose-v0"), 1)
    env.reset()
    env.step(START)
    env.reset()
    x, *rest, info = env.step(GOAL)
    assert (x.tolist(), rest, info["budget_exhausted"]) == (START.tolist(), [0.0, False, True], True)
    assert (info["value"], info["feasible"]) == (env.initial_value, True)  # of the sequence observed


@pytest.mark.parametrize("id", ["EhrlichBuild-v0", "EhrlichPropose-v0"])
def test_ansi_rendering(id: str) -> None:
    env = make(id, render_mode="ansi")
    env.reset()
    lines: Any = env.render()
    assert lines.startswith("step 0\nmotif A" if id == "EhrlichBuild-v0" else "step 0  value 0.2222\nmotif A")
    for token in START if id == "EhrlichBuild-v0" else [START]:
        env.step(token)
        lines = env.render()
    assert lines.splitlines()[0].endswith("  value 0.2222")
    assert lines.splitlines()[3] == "    0 |" + "".join(f"{token:4d}" for token in START)


# Constraints that are revealed


def test_edit_masks_tell_which_edits_are_feasible() -> None:
    env = make("Ehrlich-v0", reveal_constraints=True)
    x, info = env.reset(seed=0)
    for action in sampled(env, 30):
        mask = info["action_mask"]
        assert (mask.shape, mask.dtype) == ((10, 8), np.int8)
        edits = [[*x[:p], v, *x[p + 1 :]] for p in range(10) for v in range(8)]
        assert mask.ravel().tolist() == FUNCTION.is_feasible(edits).astype(int).tolist()
        x, _, terminated, truncated, info = env.step(action)
        assert set(info) == {"value", "feasible", "action_mask"}
        if terminated or truncated:
            x, info = env.reset()


def test_what_is_built_within_the_masks_is_feasible() -> None:
    env = make("EhrlichBuild-v0", reveal_constraints=True)
    env.action_space.seed(0)
    for _ in range(20):
        _, info = env.reset()
        assert (info["action_mask"].tolist(), info["action_mask"].dtype) == ([1] * 8, np.int8)
        terminated = False
        while not terminated:
            token = int(env.action_space.sample(mask=info["action_mask"]))
            _, _, terminated, _, info = env.step(token)
            assert info["action_mask"].tolist() == ALLOWED[token].astype(int).tolist()
        assert info["feasible"]


def test_proposers_are_told_the_successors() -> None:
    env = make("EhrlichPropose-v0", reveal_constraints=True)
    for info in (env.reset()[1], env.step(START)[-1]):
        told = info["feasible_successors"]
        assert (told.tolist(), told.dtype) == (ALLOWED.astype(int).tolist(), np.int8)


def test_a_vector_of_proposers_shares_one_table_of_successors() -> None:
    env = gymnasium.make_vec("EhrlichPropose-v0", num_envs=3, **SIZES, reveal_constraints=True)
    env.reset()
    *_, infos = env.step([START] * 3)
    for told in (infos["feasible_successors"], infos["final_info"]["feasible_successors"]):
        assert told.tolist() == [ALLOWED.astype(int).tolist()] * 3
        assert (told.strides[0], told.flags.writeable) == (0, False)
    _, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert infos["feasible_successors"].any(axis=(1, 2)).tolist() == [False, True, False]
    assert env.reset()[1]["feasible_successors"].all(axis=0).tolist() == ALLOWED.tolist()


@pytest.mark.parametrize("id", ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"])
def test_masks_are_given_under_a_budget_and_when_it_ends(id: str) -> None:
    env = EvaluationBudget(make(id, reveal_constraints=True), 1)
    name = "feasible_successors" if id == "EhrlichPropose-v0" else "action_mask"
    assert name in env.reset()[1]
    told: dict[str, Any] = {}
    for action in sampled(env, 60):
        _, _, terminated, truncated, told = env.step(action)
        assert name in told
        if truncated:
            break
        if terminated:
            env.reset()
    assert told["budget_exhausted"]


@pytest.mark.parametrize("id", ["Ehrlich-v0", "EhrlichBuild-v0", "EhrlichPropose-v0"])
def test_masks_that_are_spoilt_do_not_reach_into_the_environment(id: str) -> None:
    env, spoilt = make(id, reveal_constraints=True), make(id, reveal_constraints=True)
    infos = env.reset()[1], spoilt.reset()[1]
    for action in sampled(env, 9):
        expected, given = ({name: np.asarray(x).tolist() for name, x in info.items()} for info in infos)
        assert expected == given
        for item in infos[1].values():
            if isinstance(item, np.ndarray):
                if id == "EhrlichPropose-v0":  # N times the same array
                    with pytest.raises(ValueError, match="read-only"):
                        item[:] = 7
                else:
                    item[:] = 7
        infos = env.step(action)[-1], spoilt.step(action)[-1]
