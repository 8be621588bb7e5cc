"""LLOME's loop: rounds, what they log, and runs that are cut."""

import json
import logging
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from bioseq_gym import EvaluationBudget, InvalidConfig, InvalidLedger
from bioseq_gym.agents.llome import checkpoint
from bioseq_gym.agents.llome.diagnostics import RoundLog, calibration, pairwise_distance, position_entropy
from bioseq_gym.agents.llome.pairs import near_pairs
from bioseq_gym.agents.llome.policy import Policy
from bioseq_gym.agents.llome.proposals import Pool, propose, temperatures
from bioseq_gym.agents.llome.training import PairData, Recipe, train
from bioseq_gym.agents.llome_agent import AGENT, COPY_CHANGES, Config, history, select

SMALL = replace(
    AGENT.config,
    round_0="genetic",
    warmup=150,
    round_size=60,
    targets=30,
    first_epochs=2,
    epochs=1,
    batch_size=16,
    micro_batch=16,
    most_steps=4,
    seeds=8,
    iterations=2,
    copy_steps=0,
    temperatures=2,
    samples=3,
)
TASK = "ehrlich/ehr-V16-L16-c4-k4-q4-seed0"


def run(budget: int = 330, path: Path | None = None, seed: int = 0, **changes: Any) -> EvaluationBudget:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), budget, path)
    AGENT.run(env, seed, replace(SMALL, **changes))
    env.close()
    return env


def rounds(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path.parent / "agent" / "rounds.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a whole run."""
    path = tmp_path_factory.mktemp("llome") / "ledger.bin"
    run(path=path)
    return path


def pool_of(n: int) -> Pool:
    return Pool(np.arange(n, dtype=np.uint8)[:, None], -np.arange(n, dtype=np.float64), n, n, n, 0, 0.5)


def test_selection_takes_the_likely_part_and_fills_the_round() -> None:
    rng = np.random.default_rng(0)
    assert sorted(select(pool_of(10), 4, 0.5, rng).tolist()) != [0, 1, 2, 3]
    assert select(pool_of(10), 4, 0.5, rng).max() < 5
    assert sorted(select(pool_of(10), 8, 0.1, rng).tolist()) == list(range(8))
    assert len(select(pool_of(10), 20, 1.0, rng)) == 10


def test_calibration_by_hand() -> None:
    found = calibration(np.array([-3.0, -2.0, -1.0]), np.array([-np.inf, 0.5, 0.25]))
    assert found["spearman"] == pytest.approx(0.5)  # ranks 1 2 3 against 1 3 2
    assert found["reliability"] == [[-3.0, 0.0, 0.0], [-2.0, 0.5, 1.0], [-1.0, 0.25, 1.0]]
    assert calibration(np.array([-3.0, -2.0]), np.array([-np.inf, 0.0]))["spearman"] is None


def test_entropy_and_distance_by_hand() -> None:
    sequences = np.array([[0, 1], [0, 2], [0, 1], [0, 2]], np.uint8)
    assert position_entropy(sequences) == pytest.approx(0.5)  # 0 and 1 bit
    assert pairwise_distance(sequences) == pytest.approx(4 / 6 / 2)  # 4 of 6 pairs differ, in one of two positions
    assert position_entropy(sequences[:0]) == pairwise_distance(sequences[:1]) == 0.0


def test_rounds_spend_the_budget_and_say_what_they_did(finished: Path) -> None:
    lines = rounds(finished)
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert [line["evaluations"] for line in lines] == [210, 270, 330]
    assert [line["objective"] for line in lines] == ["sft", "marge", "marge"]
    for line in lines:
        assert line["pairs"] > 0
        assert 0.0 < line["new"] <= line["distinct"] <= line["parsed"] == 1.0
        assert len(line["reliability"]) == 10
        assert line["pairs_s"] + line["training_s"] + line["writing_s"] <= line["round_s"]
    assert all(1.0 <= line["effective_sample_size"] <= 16.0 for line in lines[1:])


def test_the_same_seed_gives_the_same_ledger(finished: Path) -> None:
    assert run().ledger.to_bytes() == finished.read_bytes()
    assert run(seed=1).ledger.to_bytes() != finished.read_bytes()


@pytest.mark.parametrize("evaluations", [0, 100, 150, 180, 210, 300, 329])
def test_a_run_that_was_killed_goes_on_from_its_last_round(finished: Path, evaluations: int, tmp_path: Path) -> None:
    """The state is that of the last round that ended before; the ledger may hold more, in part or in whole."""
    data = finished.read_bytes()
    record = (len(data) - 64) // 330
    ends = [150, 210, 270, 330]
    done = sum(end <= evaluations for end in ends)
    path = tmp_path / "ledger.bin"
    if done:
        run(path=path, budget=ends[done - 1])  # writes the state of that round, and no more
    path.write_bytes(data[: 64 + evaluations * record])
    trained = []
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 330, path)
    with pytest.MonkeyPatch.context() as patch:
        whole = Policy.sample
        patch.setattr(Policy, "sample", lambda *given: trained.append(0) or whole(*given))
        AGENT.run(env, 0, SMALL)
    env.close()
    assert path.read_bytes() == data
    assert len(trained) == 4 * (4 - max(1, done))  # two iterations, greedy and sampled, in each round that was left
    assert [{k: v for k, v in line.items() if not k.endswith("_s")} for line in rounds(path)] == [
        {k: v for k, v in line.items() if not k.endswith("_s")} for line in rounds(finished)
    ]


def test_a_run_killed_while_it_clears_a_training_away_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the training's checkpoints is not gone on from."""
    remove = shutil.rmtree

    def killed(folder: Any, **settings: Any) -> None:
        if Path(folder).name.startswith("training-") and Path(folder).exists():
            next(Path(folder).rglob("policy.safetensors")).unlink()
            raise KeyboardInterrupt
        remove(folder, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run(path=tmp_path / "ledger.bin", save_steps=2)
    run(path=tmp_path / "ledger.bin", save_steps=2)
    assert (tmp_path / "ledger.bin").read_bytes() == finished.read_bytes()
    assert not list((tmp_path / "agent").glob("training-*"))


def test_a_state_that_the_ledger_does_not_go_with_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "run")
    os.truncate(tmp_path / "run" / "ledger.bin", 64)
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 330, tmp_path / "run" / "ledger.bin")
    with pytest.raises(InvalidLedger, match="not the one that a kept state of 330 evaluations goes with; remove"):
        AGENT.run(env, 0, SMALL)
    env.close()


def test_a_state_is_kept_whole(finished: Path) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 330, finished)
    policy = Policy.make(16, 16, model="", size="0.1M", lora_rank=0, device="cpu", seed=5)
    state = checkpoint.load(finished.parent / "agent" / "state.safetensors", policy, env)
    env.close()
    assert state.ends == [150, 210, 270, 330]
    assert env.ledger.position == 330
    assert len(history(env)[0]) == 331
    assert 0.0 < (state.distance or 0.0) < 1.0


def test_the_model_edits_the_best_and_hotter_where_it_changed_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 330)
    heats: list[list[float]] = []

    def watched(policy: Policy, seeds: Any, known: set[bytes], *, heat: Any, **settings: Any) -> Pool:
        worth = {x.tobytes(): value for x, value in zip(*history(env), strict=True)}
        assert sorted(worth[x.tobytes()] for x in seeds) == sorted(worth.values())[-SMALL.seeds :]
        assert known == worth.keys()
        heats.append(heat.tolist())
        return replace(propose(policy, seeds, known, heat=heat, **settings), distance=0.08)

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.propose", watched)
    AGENT.run(env, 0, SMALL)
    assert heats == [temperatures(2, distance).tolist() for distance in (None, 0.08, 0.08)]
    assert heats[0] != heats[1]


def test_a_model_from_scratch_learns_to_copy_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, Recipe]] = []

    def watched(policy: Policy, data: PairData, recipe: Recipe, directory: Path) -> dict[str, float]:
        given.append((len(data), recipe))
        if len(given) == 1:
            x = np.array([row["prompt"][:-1] for row in data.rows])
            y = np.array([row["targets"][0][:-1] for row in data.rows])
            assert (x != y).mean() == pytest.approx(COPY_CHANGES / 16 * 15 / 16, abs=0.03)  # a draw may be the same
        return train(policy, data, recipe, directory)

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.train", watched)
    run(budget=210, copy_steps=10)
    assert [(size, recipe.objective, recipe.most_steps) for size, recipe in given[:1]] == [(160, "sft", 0)]
    assert [recipe.objective for _, recipe in given] == ["sft", "sft"]


def test_what_dpo_rejects_is_not_what_it_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def watched(policy: Policy, data: PairData, recipe: Recipe, directory: Path) -> dict[str, float]:
        seen.append(recipe.objective)
        if recipe.objective == "dpo":
            assert all(chosen != rejected for chosen, rejected in (row["targets"] for row in data.rows))
        return train(policy, data, recipe, directory)

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.train", watched)
    run(budget=270, objective="dpo")
    assert seen == ["sft", "dpo"]


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_pretrained_model_runs_and_goes_on(pretrained: str, lora_rank: int, tmp_path: Path) -> None:
    """What it writes is mostly no sequence, since it knows nothing, and the genetic algorithm stands in."""
    task = "ehrlich/ehr-V8-L4-c2-k2-q2-seed0"
    config = replace(SMALL, model=pretrained, lora_rank=lora_rank, masked=False, warmup=20, round_size=20, radius=0.5)

    def spend(path: Path, budget: int) -> bytes:
        env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=task), budget, path / "ledger.bin")
        AGENT.run(env, 0, config)
        env.close()
        return (path / "ledger.bin").read_bytes()

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = spend(tmp_path / "whole", 80)
    spend(tmp_path / "cut", 40)
    assert spend(tmp_path / "cut", 80) == whole
    lines = rounds(tmp_path / "whole" / "ledger.bin")
    assert [line["objective"] for line in lines] == ["sft", "marge", "marge"]
    assert all(line["written"] > 0 for line in lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "dpo"},
        {"objective": "sft", "old_data": 0.3},
        {"weights": "official", "micro_batch": 1},
        {"round_0": "genetic-holo", "generations": 1},
        {"distance": "edit", "neutral": True, "masked": False, "targets": 5},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_settings_run_to_the_end(changes: dict[str, Any], tmp_path: Path) -> None:
    assert run(budget=330, path=tmp_path / "ledger.bin", **changes).remaining == 0
    objectives = [line["objective"] for line in rounds(tmp_path / "ledger.bin")]
    assert objectives == ["sft", *[changes.get("objective", "marge")] * (len(objectives) - 1)]
    assert len(objectives) > 1


@pytest.mark.parametrize(("share", "sizes"), [(0.0, [151, 60]), (0.5, [151, 120]), (1.0, [151, 211])])
def test_old_data_is_a_share(share: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 0: pairs are made of what the last round evaluated; of a half: of as much old data beside it."""
    seen: list[int] = []

    def counted(sequences: Any, values: Any, **settings: Any) -> Any:
        seen.append(len(sequences))
        return near_pairs(sequences, values, **settings)

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.near_pairs", counted)
    run(budget=270, old_data=share)
    assert seen == sizes


def test_a_task_whose_values_are_all_zero_falls_back_to_the_genetic_algorithm(caplog: pytest.LogCaptureFixture) -> None:
    """With q = 1 whole motifs of 8 are needed before anything is worth more than 0."""
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", V=32, L=128, c=4, k=8, q=1), 300)
    with caplog.at_level(logging.INFO, logger="bioseq_gym"):
        AGENT.run(env, 0, replace(SMALL, warmup=100, round_size=100))
    assert (env.remaining, env.ledger.best_value) == (0, 0.0)
    assert "round 1: no pairs, a round of the genetic algorithm instead" in caplog.text


def test_a_round_in_which_nothing_new_is_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The genetic algorithm spends its evaluations, and its line has what the generator wrote."""

    def repeating(*given: Any, **settings: Any) -> Pool:
        pool = propose(*given, **settings)
        return replace(pool, sequences=pool.sequences[:0], likelihoods=pool.likelihoods[:0])

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.propose", repeating)
    with caplog.at_level(logging.INFO, logger="bioseq_gym"):
        env = run(path=tmp_path / "ledger.bin")
    assert env.remaining == 0
    assert "round 3: nothing new written, a round of the genetic algorithm instead" in caplog.text
    lines = rounds(tmp_path / "ledger.bin")
    assert [(line["round"], line["evaluations"], line["new"]) for line in lines] == [
        (1, 210, 0.0),
        (2, 270, 0.0),
        (3, 330, 0.0),
    ]
    assert all(line["written"] > 0 and "spearman" not in line for line in lines)


def test_a_short_sequence_has_neighbours_too(tmp_path: Path) -> None:
    """A tenth of 8 positions is less than one."""
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", V=20, L=8, c=2, k=4), 330, tmp_path / "ledger.bin")
    AGENT.run(env, 0, SMALL)
    assert [line["objective"] for line in rounds(tmp_path / "ledger.bin")] == ["sft", "marge", "marge"]


def test_a_plateau_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.INFO, logger="bioseq_gym"):
        run(path=tmp_path / "ledger.bin")
    gained = [line["gained"] for line in rounds(tmp_path / "ledger.bin")]
    told = [message for message in caplog.messages if message.startswith("round ")]
    assert [message.endswith(", no gain") for message in told] == [gain == 0.0 for gain in gained]
    assert 0.0 in gained


def test_the_first_training_is_supervised_whenever_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where round 1 has no pairs, a round of the genetic algorithm goes before it."""
    calls: list[int] = []

    def later(sequences: Any, values: Any, **settings: Any) -> Any:
        calls.append(len(sequences))
        return near_pairs(sequences, values if len(calls) > 1 else np.zeros(len(values)), **settings)

    monkeypatch.setattr("bioseq_gym.agents.llome_agent.near_pairs", later)
    run(path=tmp_path / "ledger.bin", first_epochs=7)
    lines = rounds(tmp_path / "ledger.bin")
    assert [(line["round"], line["objective"]) for line in lines] == [(2, "sft"), (3, "marge")]
    assert lines[0]["steps"] == 7 * math.ceil(lines[0]["pairs"] / SMALL.batch_size)
    assert lines[1]["steps"] == SMALL.most_steps


def test_what_is_left_when_no_generation_fits_is_spent_too() -> None:
    assert run(budget=200, round_0="genetic-holo", generations=10).remaining == 0


def test_rounds_that_did_not_end_leave_no_line(tmp_path: Path) -> None:
    log = RoundLog(tmp_path / "rounds.jsonl", 0)
    for number in (1, 3, 4):  # 2 was one of the genetic algorithm
        log.add(round=number)
    with (tmp_path / "rounds.jsonl").open("a") as file:
        file.write('{"round": 2')
    RoundLog(tmp_path / "rounds.jsonl", 4).add(round=4)
    assert [json.loads(line)["round"] for line in (tmp_path / "rounds.jsonl").read_text().splitlines()] == [1, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"round_0": "ppo"}, "--round-0 of llome is 'ppo'; give one of genetic-holo, genetic"),
        ({"distance": "cosine"}, "--distance of llome is 'cosine'; give one of hamming, edit, any"),
        ({"objective": "pdo"}, "--objective of llome is 'pdo'; give one of sft, dpo, marge"),
        ({"schedule": "cosin"}, "--schedule of llome is 'cosin'; give one of constant, linear, cosine"),
        ({"lora_rank": 8}, "--lora-rank of llome is for a pretrained model; give its --model, or no rank"),
        ({"model": "./nowhere"}, "can't load the model './nowhere'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_spent(wrong: dict[str, Any], message: str) -> None:
    env = EvaluationBudget(gymnasium.make("Ehrlich-v0", task=TASK), 330)
    with pytest.raises(InvalidConfig, match=message):
        AGENT.run(env, 0, replace(SMALL, **wrong))
    assert env.remaining == 330


def test_a_training_that_diverges_is_told() -> None:
    with pytest.raises(InvalidConfig, match="diverged: its loss is nan; give a smaller --learning-rate"):
        run(learning_rate=1e30)


def test_the_papers_preset_is_the_papers() -> None:
    assert {"paper", "scratch"} <= AGENT.presets.keys()
    paper, official = AGENT.presets["paper"], AGENT.presets["paper-official"]
    assert isinstance(paper, Config)
    assert isinstance(official, Config)
    assert (paper.model, paper.round_size, paper.seeds, paper.iterations) == ("EleutherAI/pythia-2.8b", 2000, 200, 10)
    assert (official.weights, official.micro_batch) == ("official", 1)
