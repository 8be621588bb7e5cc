"""LLOME's policies: from scratch, and any causal language model, here a tiny one that the test makes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    MambaConfig,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
)

from bioseq_gym import InvalidConfig
from bioseq_gym.agents.llome import policy as policies
from bioseq_gym.agents.llome import training
from bioseq_gym.agents.llome.codec import TextCodec, TokenCodec
from bioseq_gym.agents.llome.policy import Encoded, Policy, target_log_likelihood
from bioseq_gym.agents.llome.training import PairData, Recipe, train

SCRATCH = {"model": "", "size": "0.1M", "lora_rank": 0, "device": "cpu", "seed": 0}
X = np.array([[0, 1, 2, 3, 4], [5, 5, 0, 0, 1]], np.uint8)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.make(6, 5, **SCRATCH)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "parameters"), [("0.1M", 1e5), ("0.6M", 6e5), ("5M", 5e6)])
def test_a_size_is_its_number_of_parameters(size: str, parameters: float) -> None:
    policy = Policy.make(32, 32, **SCRATCH | {"size": size})  # type: ignore[arg-type]
    assert sum(p.numel() for p in policy.model.parameters()) == pytest.approx(parameters, rel=0.06)


def test_the_weights_come_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    weights = [next(Policy.make(6, 5, **SCRATCH | {"seed": s}).model.parameters()) for s in (0, 0, 1)]  # type: ignore[arg-type]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": "7B"}, "--size of llome is '7B'; give one of 0.1M, 0.6M, 5M"),
        ({"device": "tpu"}, "--device of llome is 'tpu'; give one of cpu, cuda, auto"),
        ({"model": "./no-such-model"}, "can't load the model './no-such-model'"),
    ],
)
def test_what_is_not_there_is_refused(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Policy.make(6, 5, **SCRATCH | wrong)  # type: ignore[arg-type]


def test_likelihoods_add_up_to_one() -> None:
    """Over all that can be written in three steps: ids that are no states, too, take their share."""
    policy = Policy.make(2, 2, **SCRATCH)  # type: ignore[arg-type]
    x = np.array([[0, 1]], np.uint8)
    ids = torch.cartesian_prod(*[torch.arange(4)] * 3)
    prompt = torch.tensor([[0, 1, 2]]).expand(len(ids), -1)
    whole = torch.cat([prompt, ids], dim=1)
    with torch.no_grad():
        logits = policy.model(whole).logits[:, 2:-1].log_softmax(-1)
    logps = logits.gather(-1, ids[..., None]).squeeze(-1).sum(-1)
    assert logps.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    ends = (ids[:, 2] == 3) & (ids[:, :2] < 2).all(1)
    y = ids[ends][:, :2].numpy().astype(np.uint8)
    np.testing.assert_allclose(policy.log_likelihood(x.repeat(len(y), 0), y), logps[ends].numpy(), rtol=1e-5)


def test_sampling_with_a_cache_scores_as_a_full_pass_does(policy: Policy) -> None:
    """Without a mask. What was not written as a sequence has no likelihood as one."""
    edits, likelihoods = policy.sample(X, 300, np.array([0.8, 1.3]), None, torch.Generator().manual_seed(0))
    written = [(i, y, logp) for i in (0, 1) for y, logp in zip(edits[i], likelihoods[i], strict=True)]
    found = [(X[i], y, logp) for i, y, logp in written if y is not None]
    assert 5 < len(found) < 600
    xs, ys, logps = (np.array(column) for column in zip(*found, strict=True))
    np.testing.assert_allclose(logps, policy.log_likelihood(xs, ys) / 6, rtol=1e-4)


def test_under_a_mask_all_that_is_written_is_a_sequence(policy: Policy) -> None:
    mask = np.ones((6, 6), bool)
    mask[np.arange(6), (np.arange(6) + 1) % 6] = False  # a token can only be followed by the next one
    edits, _ = policy.sample(X, 50, np.array([0.0, 5.0]), mask, torch.Generator().manual_seed(0))
    y = np.array(edits)
    assert y.shape == (2, 50, 5)
    assert (y[..., 1:] == (y[..., :-1] + 1) % 6).all()


def test_temperature_zero_is_greedy_and_others_vary(policy: Policy) -> None:
    draws = [
        policy.sample(X, 20, np.array([0.0, 2.0]), np.zeros((6, 6), bool), torch.Generator().manual_seed(s))[0]
        for s in (0, 1)
    ]
    greedy, hot = (np.array([draw[i] for draw in draws]) for i in (0, 1))
    assert (greedy == greedy[0, 0]).all()
    assert not (hot[0] == hot[1]).all()


def test_samples_follow_the_model(policy: Policy) -> None:
    """The first token, against its probabilities under the mask."""
    free = np.zeros((6, 6), bool)
    edits, _ = policy.sample(X[:1], 6000, np.array([1.5]), free, torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*X[0].tolist(), 6]])).logits[0, -1, :6]
    expected = 6000 * torch.softmax(logits / 1.5, 0).numpy()
    counts = np.bincount([y[0] for y in edits[0] if y is not None], minlength=6)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_codec_of_tokens_refuses_what_is_no_sequence() -> None:
    codec = TokenCodec(6, 5)
    assert codec.prompt(X[0]) == [0, 1, 2, 3, 4, 6]
    assert codec.target(X[0]) == [0, 1, 2, 3, 4, 7]
    assert codec.decode([0, 1, 2, 3, 4, 7]) is not None
    for ids in ([0, 1, 2, 3, 7], [0, 1, 2, 3, 4, 5, 7], [0, 1, 6, 3, 4, 7], [7], []):
        assert codec.decode(ids) is None


def test_codec_of_text_is_the_papers(pretrained: str) -> None:
    codec = Policy.make(12, 5, **SCRATCH | {"model": pretrained}).codec  # type: ignore[arg-type]
    assert isinstance(codec, TextCodec)
    tokenizer = codec._tokenizer
    x = np.array([11, 0, 5, 10, 1], np.uint8)
    assert tokenizer.decode(codec.prompt(x)) == "<inc> [11, 0, 5, 10, 1]\n"
    assert tokenizer.decode(codec.target(x)) == "[11, 0, 5, 10, 1]"
    decoded = codec.decode(codec.target(x))
    assert decoded is not None
    assert decoded.tolist() == x.tolist()
    for text in (
        "[1, 2, 3, 4]",
        "[1, 2, 3, 4, 12]",
        "[1, 2, 3, 4, -1]",
        "[1, 2, 3, 4, 5",
        "[1, 2, 3, 4, true]",
        "7",
        "",
    ):
        assert codec.decode(tokenizer(text)["input_ids"]) is None


def test_a_pretrained_model_reads_prompts_of_several_lengths(pretrained: str) -> None:
    """Padding changes no likelihood: one by one they are the same. And dropout is off."""
    policy = Policy.make(12, 5, **SCRATCH | {"model": pretrained})  # type: ignore[arg-type]
    x = np.array([[11, 10, 11, 10, 11], [0, 1, 2, 3, 4]], np.uint8)
    y = np.array([[1, 2, 3, 4, 5], [11, 10, 9, 10, 11]], np.uint8)
    together = policy.log_likelihood(x, y)
    alone = [policy.log_likelihood(x[[i]], y[[i]])[0] for i in (0, 1)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    policy.model.train()
    np.testing.assert_allclose(policy.log_likelihood(x, y), together, rtol=1e-5)


def test_a_pretrained_model_writes_text_and_scores_it(pretrained: str) -> None:
    """It knows nothing yet: what it writes ends where a list would, or at the longest, and is scored as it is read."""
    policy = Policy.make(12, 1, **SCRATCH | {"model": pretrained})  # type: ignore[arg-type]
    codec, x = policy.codec, np.array([[3], [11]], np.uint8)  # prompts of two lengths
    assert all(codec.target(y)[-1] in codec.stop for y in x)
    written, likelihoods = policy._write(x, 1000, np.array([1.0, 1.5]), None, torch.Generator().manual_seed(0))
    ended = [i for i, ids in enumerate(written) if ids[-1] in codec.stop]
    assert 20 < len(ended) < len(written)
    assert {len(written[i]) for i in set(range(len(written))) - set(ended)} == {codec.longest}
    assert not any(codec.stop & set(ids[:-1]) for ids in written)
    some = ended[:10] + ended[-10:]
    read = Encoded([codec.prompt(x[i // 1000]) for i in some], [written[i] for i in some], codec.padding)
    with torch.no_grad():
        expected = target_log_likelihood(policy.model, read.ids, read.mask, read.target).numpy()
    np.testing.assert_allclose(likelihoods[some], expected / [len(written[i]) for i in some], rtol=1e-4)


def test_the_longest_text_of_any_state_can_be_written(pretrained: str, tmp_path: Path) -> None:
    """Of a tokenizer that has one id for the last state, and two for others."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(pretrained)
    tokenizer.add_tokens([" 11"])
    codec = TextCodec(tokenizer, 12, 5)
    lengths = [len(codec.target(np.full(5, state, np.uint8))) for state in range(12)]
    assert lengths[11] < max(lengths) <= codec.longest


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2), "reads 32 ids, and L=32 takes"),
        (MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1), "has no attention heads; give a transf"),
    ],
)
def test_a_model_that_cannot_hold_an_edit_is_refused(
    config: Any, message: str, pretrained: str, tmp_path: Path
) -> None:
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(pretrained).save_pretrained(tmp_path)
    with pytest.raises(InvalidConfig, match=message):
        Policy.make(12, 32, **SCRATCH | {"model": str(tmp_path)})  # type: ignore[arg-type]


def test_few_are_scored_at_a_time_where_a_vocabulary_is_large(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = policy.log_likelihood(np.repeat(X, 3, 0), np.repeat(X, 3, 0))
    monkeypatch.setattr(policies, "LOGITS", 4 * policy.codec.longest * 8 * 2)  # of two rows: 6 states and two ids more
    small = Policy.make(6, 5, **SCRATCH)  # type: ignore[arg-type]
    assert (small._scored, policy._scored) == (2, policies.ROWS // 4)
    np.testing.assert_allclose(small.log_likelihood(np.repeat(X, 3, 0), np.repeat(X, 3, 0)), expected, rtol=1e-6)


def test_adapters_are_all_that_is_trained(pretrained: str) -> None:
    whole = Policy.make(12, 5, **SCRATCH | {"model": pretrained})  # type: ignore[arg-type]
    adapted = Policy.make(12, 5, **SCRATCH | {"model": pretrained, "lora_rank": 2})  # type: ignore[arg-type]
    assert adapted.state()
    assert all("lora" in name for name in adapted.state())
    assert sum(p.numel() for p in adapted.state().values()) < sum(p.numel() for p in whole.state().values()) / 4
    y = np.array([[1, 2, 3, 4, 5]], np.uint8)
    assert adapted.log_likelihood(y, y)[0] == pytest.approx(whole.log_likelihood(y, y)[0])  # they start at nothing


def test_a_state_is_a_copy_that_can_be_put_back(policy: Policy) -> None:
    other = Policy.make(6, 5, **SCRATCH | {"seed": 1})  # type: ignore[arg-type]
    assert not math.isclose(other.log_likelihood(X, X)[0], policy.log_likelihood(X, X)[0])
    other.load_state(policy.state())
    np.testing.assert_array_equal(other.log_likelihood(X, X), policy.log_likelihood(X, X))


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_where_bfloat16_is_computed_in_small_steps_still_count(
    lora_rank: int, pretrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's learning rate is 1e-6, and most weights are so large that bfloat16 rounds that away."""
    for module in (policies, training):
        monkeypatch.setattr(module, "computes_bfloat16", lambda _: True)
    policy = Policy.make(12, 5, **SCRATCH | {"model": pretrained, "lora_rank": lora_rank})  # type: ignore[arg-type]
    frozen = {p.dtype for p in policy.model.parameters() if not p.requires_grad}
    assert frozen == ({torch.bfloat16} if lora_rank else set())
    before = policy.state()
    y = np.arange(60, dtype=np.uint8).reshape(12, 5) % 12
    edits, likelihoods = policy.sample(y, 2, np.ones(12), None, torch.Generator().manual_seed(0))
    assert len(edits) == 12
    assert np.isfinite(likelihoods).all()
    data = PairData.of(policy, y[::-1], y, np.zeros(12), objective="sft")
    train(policy, data, Recipe("sft", batch_size=4, micro_batch=4, learning_rate=1e-6), tmp_path)
    moved = {name: (after != before[name]).float().mean().item() for name, after in policy.state().items()}
    # an adapter's first factor has no gradient before the second one, which starts at 0, has moved
    assert min(share for name, share in moved.items() if "query_key_value" in name and "lora_A" not in name) > 0.9


@pytest.mark.parametrize(("L", "least", "most"), [(32, 40, 120), (128, 8, 30)])
def test_the_papers_model_writes_what_its_cache_has_room_for(L: int, least: int, most: int, pretrained: str) -> None:
    """Of Pythia-2.8b a position takes 2 * 32 * 2560 numbers; a cache with room for twice its positions has 8 GiB."""
    config = GPTNeoXConfig(hidden_size=2560, num_hidden_layers=32, num_attention_heads=32)
    codec = TextCodec(PreTrainedTokenizerFast.from_pretrained(pretrained), 32, L)
    positions = len(codec.prompt(np.full(L, 31, np.uint8))) + codec.longest
    rows = policies._rows(config, codec, torch.device("cpu"))
    assert least // 2 <= rows <= most
    assert rows * 2 * positions * 2 * 32 * 2560 * 4 <= 2**33 < (rows + 1) * 2 * positions * 2 * 32 * 2560 * 4
    assert policies._rows(
        GPTNeoXConfig(hidden_size=64, num_hidden_layers=2), TokenCodec(32, L), torch.device("cpu")
    ) == (policies.ROWS)


def test_a_cache_has_the_type_of_its_values() -> None:
    """Rotated keys are float32 under autocast, which would make it twice as large as need be."""
    layer = policies._RoomyLayer()
    keys = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    for t in range(3):
        found = layer.update(keys[:, :, t : t + 1], keys[:, :, t : t + 1].bfloat16())
    assert {part.dtype for part in found} == {torch.bfloat16}
    assert all(torch.equal(part.float(), keys) for part in found)


def test_dropout_that_is_no_module_is_off_too(policy: Policy) -> None:
    config = OPTConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, ffn_dim=16, num_attention_heads=2, word_embed_proj_dim=16,
        max_position_embeddings=32, dropout=0.5, attention_dropout=0.5, layerdrop=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    other = Policy(OPTForCausalLM(config), policy.codec, policy.device, {})
    before = other.log_likelihood(X, X)
    other.model.train()
    np.testing.assert_array_equal(other.log_likelihood(X, X), before)


def test_positions_are_given_to_a_model_that_several_processes_share() -> None:
    """As ``DistributedDataParallel`` holds it: what it takes is not in its signature."""

    class Shared(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any, **settings: Any) -> Any:
            return self.module(*inputs, **settings)

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=32, n_embd=16, n_layer=1, n_head=2)).eval()
    padded = Encoded([[1, 2, 3, 4, 5], [6, 7]], [[1, 2], [3, 4]], 0)
    parts = padded.ids, padded.mask, padded.target
    alone = Encoded([[6, 7]], [[3, 4]], 0)
    with torch.no_grad():
        plain, shared = (target_log_likelihood(m, *parts) for m in (model, Shared(model)))
        expected = target_log_likelihood(model, alone.ids, alone.mask, alone.target)
    assert torch.equal(plain, shared)
    assert plain[1].item() == pytest.approx(expected.item(), rel=1e-5)
