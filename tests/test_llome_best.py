"""llome-best: its likelihood by hand, what its network may know, and that it finds what tests show."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bioseq_gym.agents.drift.family import Family
from bioseq_gym.agents.llome_best.network import REACH, Network, convolved, noisy_or_loss
from bioseq_gym.agents.llome_best.trainer import LIMIT, Trainer, log_odds

V, L = 8, 24
MOTIF, OFFSETS = np.array([3, 5, 4]), np.array([0, 2, 5])


def network(layers: int = 2, *, moved: bool = False) -> Network:
    """An untrained one; ``moved`` away from the correction of 0 that all begin with."""
    made = Network(V, width=32, layers=layers, seed=0)
    if moved:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def trainer(of: Network, *, steps: int = 6, distil: float = 0.0) -> Trainer:
    rng = np.random.default_rng(0)
    return Trainer(of, rng, steps=steps, minibatch=16, learning_rate=2e-3, distil=distil)


def planted(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Tokens (L,) with the motif somewhere, and where it is, (L,) bool."""
    x = rng.integers(V, size=L).astype(np.uint8)
    at = rng.integers(L - OFFSETS[-1]) + OFFSETS
    x[at] = MOTIF
    critical = np.zeros(L, bool)
    critical[at] = True
    return x, critical


def hits(of: Trainer) -> float:
    """The share of critical positions among the three most suspect ones of 100 new sequences."""
    rng = np.random.default_rng(99)
    drawn = [planted(rng) for _ in range(100)]
    odds = of.predict([x for x, _ in drawn], [np.zeros(L)] * len(drawn))
    return float(np.mean([critical[np.argsort(-o)[:3]].mean() for o, (_, critical) in zip(odds, drawn, strict=True)]))


def test_the_likelihood_of_tests_by_hand() -> None:
    """Positions critical with 1/2, 1/4 and 1/5: a child that changed the first two passes with 1/2 times 3/4."""
    logits = torch.from_numpy(np.log([[1.0, 1 / 3, 1 / 4]] * 2))
    changed = torch.tensor([[True, True, False], [False, True, True]])
    loss = noisy_or_loss(logits, changed, torch.tensor([True, False]))
    assert loss.item() == pytest.approx(-(np.log(3 / 8) + np.log(1 - 3 / 4 * 4 / 5)) / 2)


def test_the_likelihood_stays_finite_where_a_test_says_the_opposite_of_what_was_certain() -> None:
    logits = torch.tensor([[60.0], [-60.0]], requires_grad=True)
    loss = noisy_or_loss(logits, torch.ones(2, 1, dtype=torch.bool), torch.tensor([True, False]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_convolutions_by_hand() -> None:
    h = torch.tensor([[[1.0, 1.0], [2.0, 0.0], [4.0, 0.0]]])
    kernels = torch.tensor([[0.0, 1.0, 10.0], [1.0, 0.0, 0.0]])
    hand = torch.tensor([[[1.0, 0.0], [12.0, 0.0], [24.0, 0.0]]])
    assert torch.allclose(convolved(h, kernels)[..., 0], hand[..., 0], atol=1e-5)
    assert torch.allclose(convolved(h[:, :, 1:], kernels[1:])[0, :, 0], torch.zeros(3), atol=1e-5)


def test_an_untrained_network_repeats_what_the_family_believes() -> None:
    odds = log_odds(np.random.default_rng(0).random((3, L)))
    x = np.random.default_rng(1).integers(V, size=(3, L)).astype(np.uint8)
    assert trainer(network()).predict(list(x), list(odds)) == pytest.approx(odds, abs=1e-5)


def test_log_odds_by_hand_and_their_limits() -> None:
    assert log_odds(np.array([0.5, 0.75, 0.0, 1.0])) == pytest.approx([0.0, np.log(3.0), -LIMIT, LIMIT])


def test_the_network_knows_no_absolute_position() -> None:
    """What it says moves with the tokens, and near a border it differs."""
    made, margin = network(moved=True), 2 * REACH
    x = torch.from_numpy(np.random.default_rng(0).integers(V, size=(1, 6 * REACH)))
    odds = torch.linspace(-2.0, 2.0, 6 * REACH)[None]
    with torch.no_grad():
        whole, cut = made(x, odds), made(x[:, 7:], odds[:, 7:])
    same = slice(margin, -margin)
    assert torch.allclose(whole[:, 7:][:, same], cut[:, same], atol=1e-4)
    assert not torch.allclose(whole[:, 7:], cut, atol=0.1)


def test_the_network_tells_left_from_right_and_near_from_far() -> None:
    made, odds = network(moved=True), torch.zeros(1, L)
    x = torch.zeros(3, L, dtype=torch.long)
    x[0, 9], x[1, 11], x[2, 15] = 5, 5, 5
    with torch.no_grad():
        left, right, far = (float(made(row[None], odds)[0, 10]) for row in x)
    assert min(abs(left - right), abs(right - far), abs(left - far)) > 1e-2


def test_tests_alone_show_a_planted_motif_wherever_it_stands() -> None:
    rng, learner = np.random.default_rng(0), trainer(network())
    assert hits(learner) < 0.2  # by chance an eighth
    for _ in range(100):
        for _ in range(20):
            x, critical = planted(rng)
            changed = rng.random(L) < 0.2
            learner.add(x, np.zeros(L), changed, not (changed & critical).any())
        learner.train()
    assert hits(learner) > 0.6


def test_what_families_came_to_believe_is_learned_too() -> None:
    rng, learner = np.random.default_rng(0), trainer(network(), distil=1.0)
    families = []
    for _ in range(300):
        x, critical = planted(rng)
        families.append((Family(x, 0.5, np.full(L, 0.5), V), critical))
        learner.watch(families[-1][0])
    for family, critical in families:
        family.critical = np.where(critical, 0.99, 0.01)
    learner.add(families[0][0].x, np.zeros(L), np.zeros(L, bool), True)  # tells nothing
    for _ in range(100):
        learner.train()
    assert hits(learner) > 0.6


def test_no_training_leaves_the_network_as_it_was() -> None:
    made = network(moved=True)
    before = [parameter.clone() for parameter in made.parameters()]
    learner = trainer(made, steps=0)
    learner.add(np.zeros(L, np.uint8), np.zeros(L), np.ones(L, bool), False)
    learner.train()
    assert all(torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True))
