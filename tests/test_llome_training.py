"""LLOME's training loop: one objective over the effective batch, however it is cut."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bioseq_gym import InvalidConfig
from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.llome.training import WEIGHTS_FILE, PairData, Recipe, train

rng = np.random.default_rng(0)
X = rng.integers(0, 6, (32, 8)).astype(np.uint8)
Y = X.copy()
Y[:, 3] = (X[:, 3] + 1) % 6
WORSE = X.copy()
WORSE[:, 5] = (X[:, 5] + 2) % 6
REWARDS = rng.random(32)


def make() -> Policy:
    return Policy.make(6, 8, model="", size="0.1M", lora_rank=0, device="cpu", seed=0)


def trained(objective: str, directory: Path, **changes: Any) -> tuple[Policy, dict[str, float]]:
    policy = make()
    data = PairData.of(policy, X, Y, REWARDS, WORSE if objective == "dpo" else None, objective=objective)
    recipe = Recipe(objective, **{"batch_size": 16, "micro_batch": 16, "learning_rate": 1e-3, **changes})
    return policy, train(policy, data, recipe, directory)


def apart(first: Policy, second: Policy) -> float:
    """The largest difference of two weights, in steps of Adam."""
    pairs = zip(first.state().values(), second.state().values(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs) / 1e-3


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "processes", "at_a_time", "accumulation"),
    [(32, 32, 1, 32, 1), (32, 32, 2, 16, 1), (16, 32, 2, 8, 1), (16, 32, 1, 16, 1), (64, 2, 4, 2, 8)],
)
def test_an_effective_batch_has_its_size_in_any_number_of_processes(
    batch_size: int, micro_batch: int, processes: int, at_a_time: int, accumulation: int
) -> None:
    recipe = Recipe("sft", batch_size=batch_size, micro_batch=micro_batch, processes=processes)
    assert (recipe.at_a_time, recipe.accumulation) == (at_a_time, accumulation)


@pytest.mark.parametrize("objective", ["sft", "dpo", "marge"])
def test_micro_batches_make_the_step_of_the_whole_batch(objective: str, tmp_path: Path) -> None:
    whole, found = trained(objective, tmp_path / "whole")
    parts, found_in_parts = trained(objective, tmp_path / "parts", micro_batch=4)
    assert apart(whole, make()) > 0.9  # it moved
    assert apart(whole, parts) < 0.05  # and Adam's first steps blow up rounding where gradients are small
    assert found_in_parts["loss"] == pytest.approx(found["loss"], rel=1e-5)
    assert found["steps"] == found_in_parts["steps"] == 2


def test_two_processes_make_the_step_of_one(tmp_path: Path) -> None:
    """By ``accelerate launch`` on the CPU; MargE's weights are gathered over both."""
    alone, found = trained("marge", tmp_path / "alone")
    together, gathered = trained("marge", tmp_path / "together", micro_batch=4, processes=2)
    assert apart(alone, together) < 0.05
    assert gathered == pytest.approx(found, rel=1e-5)


def test_what_processes_add_up_is_a_mean_over_them(tmp_path: Path) -> None:
    """SFT's gradients are small enough not to be clipped, which would hide a factor, as it does MargE's."""
    alone, _ = trained("sft", tmp_path / "alone")
    together, _ = trained("sft", tmp_path / "together", micro_batch=4, processes=2)
    assert apart(alone, together) < 0.05


def test_data_have_the_references_of_the_policy_and_the_rewards() -> None:
    policy = make()
    rows = PairData.of(policy, X, Y, REWARDS, WORSE, objective="dpo").rows
    references = np.stack([policy.log_likelihood(X, y) for y in (Y, WORSE)], axis=1)
    assert [row["references"] for row in rows] == references.tolist()
    assert [row["reward"] for row in rows] == REWARDS.tolist()


ENDED = """terminate called without an active exception
E1126 07:04:47.869000 27411 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: -6) local_rank: 1
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
=======================================================
"""
RAISED = """[rank1]: Traceback (most recent call last):
[rank1]:   File "agents/llome/training.py", line 1, in main
[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
"""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (ENDED, "exitcode: -6"),
        (RAISED + ENDED, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("", "no error was printed"),
    ],
)
def test_processes_that_fail_say_why(
    said: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The texts are what torchrun printed of a process that aborted, and of one that raised, shortened."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", said))
    caplog.set_level("ERROR")
    with pytest.raises(InvalidConfig, match=rf"in 2 processes failed: {re.escape(cause)};.*give --processes 1"):
        trained("sft", tmp_path, processes=2)
    assert [record.message for record in caplog.records] == [said]


def test_official_weights_of_single_pairs_are_rescaled_sft(tmp_path: Path) -> None:
    """Adam does not see a constant factor, and the norm of gradients is clipped: the two move alike."""
    official, found = trained("marge", tmp_path / "official", weights="official", micro_batch=1)
    assert found["effective_sample_size"] == 1.0
    assert apart(official, trained("sft", tmp_path / "sft")[0]) < 0.1
    assert apart(official, trained("marge", tmp_path / "batch")[0]) > 0.2


@pytest.mark.parametrize("objective", ["sft", "dpo", "marge"])
def test_training_prefers_what_it_is_shown(objective: str, tmp_path: Path) -> None:
    policy, found = trained(objective, tmp_path, epochs=10)
    gained = policy.log_likelihood(X, Y) - make().log_likelihood(X, Y)
    other = policy.log_likelihood(X, WORSE) - make().log_likelihood(X, WORSE)
    assert gained.mean() - other.mean() > 0.5
    assert found["steps"] == 20


def test_training_leaves_the_global_generators_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    trained("sft", tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002


def test_the_order_of_pairs_comes_from_the_seed(tmp_path: Path) -> None:
    first, again, other = (trained("sft", tmp_path / name, seed=s)[0] for name, s in (("a", 0), ("b", 0), ("c", 1)))
    assert apart(first, again) == 0.0
    assert apart(first, other) > 0.0


def test_a_training_that_was_cut_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, _ = trained("sft", tmp_path / "whole", epochs=3)
    trained("sft", tmp_path / "cut", epochs=3, most_steps=3, save_steps=3)
    (kept,) = (tmp_path / "cut").glob("checkpoint-*")
    state = json.loads((kept / "trainer_state.json").read_text())
    assert state["global_step"] == 3
    resumed, found = trained("sft", tmp_path / "cut", epochs=3, save_steps=3)
    assert found["steps"] == 6
    assert apart(whole, resumed) == 0.0


@pytest.mark.parametrize("left", ["nothing", "half a state", "no state"])
def test_a_checkpoint_that_was_cut_is_passed_over(left: str, tmp_path: Path) -> None:
    """The next one is gone on from; with none that is whole the training starts anew."""
    _, expected = trained("marge", tmp_path / "whole", epochs=3)
    trained("marge", tmp_path / "cut", epochs=3, most_steps=3, save_steps=3)
    newer = tmp_path / "cut" / "checkpoint-5"
    newer.mkdir()
    if left != "nothing":
        (newer / WEIGHTS_FILE).write_bytes(b"half of")
    if left == "half a state":
        (newer / "trainer_state.json").write_text('{"global_step": 5,')
    _, found = trained("marge", tmp_path / "cut", epochs=3, save_steps=3)
    assert found == pytest.approx(expected, rel=1e-3)  # of the steps before it was cut, too
    shutil.rmtree(tmp_path / "cut" / "checkpoint-6")
    assert trained("marge", tmp_path / "cut", epochs=3, save_steps=3)[1]["steps"] == 6


def test_a_training_that_was_cut_after_its_last_checkpoint_says_what_it_did(tmp_path: Path) -> None:
    first = trained("marge", tmp_path, epochs=3, save_steps=3)[1]
    assert trained("marge", tmp_path, epochs=3, save_steps=3)[1] == first


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": "ppo"}, "--objective of llome is 'ppo'; give one of sft, dpo, marge"),
        ({"weights": "none"}, "--weights of llome is 'none'; give one of batch, official"),
        ({"schedule": "cosin"}, "--schedule of llome is 'cosin'; give one of constant, linear, cosine"),
        ({"batch_size": 10, "micro_batch": 4}, "10 is no multiple of 4 pairs at a time in each of --processes 1"),
        ({"batch_size": 32, "processes": 3}, "32 is no multiple of 10 pairs at a time in each of --processes 3"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Recipe(**{"objective": "sft", **wrong})


def test_training_that_diverges_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="diverged: its loss is nan; give a smaller --learning-rate"):
        trained("sft", tmp_path, learning_rate=1e30, epochs=3)
