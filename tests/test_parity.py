"""The published instances are the functions that holo-bench defines, value for value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioseq_gym import EhrlichSpec, load_task, task_names

PARITY = Path(__file__).parent / "data" / "parity"

# SHA-256 of the definitions that pytorch-holo 0.0.5 built with torch 2.13.0 on an x86-64 CPU, as first shipped.
# A change here makes every published result a result on another function.
DIGESTS = {
    "holo/ehr-V20-L15-c2-k4-q4-seed1": "f0a10bb096b75aefe2b9944b26a3b6b9458f71b679e44ecd0c617cb5bf685c86",
    "holo/ehr-V32-L256-c4-k8-q4-seed0": "566b259d22024f8709d040988c8e27800001ae300faa0da9cc1eb18b0289bd5a",
    "holo/ehr-V32-L32-c4-k4-q4-e0.5-seed0": "cf4a6b5d3bde8aacd50f5f73ff3a7601d8fd11068de7d761a43ee23b2cc56d7f",
    "holo/ehr-V32-L64-c2-k4-q4-seed0": "159d995b54752346b11527b7cd8c5568adaf6586903f1f81c8bd9246c0c38b1e",
    "holo/ehr-V5-L7-c1-k3-q3-seed0": "e8a71585d72e1d76006e402eebe7535dcf6e2c4f5bfa4b2d06bf46e0011d6363",
    "llome/ehr-V32-L128-c4-k4-q2": "55d0b9ebfed85a29c480b6c3c824db2bd5d71a228e37f4afe3bbfcd0747aae0f",
    "llome/ehr-V32-L128-c4-k4-q4": "80540e456abe7833563d9bc41e2002170afcf95b9de9a2eb4f254cb7370801b6",
    "llome/ehr-V32-L128-c8-k8-q8": "ead1b495c7e47908ec3259d590415275da7aa5cd18e66279e9eeaf48289439cc",
    "llome/ehr-V32-L32-c4-k4-q2": "da029bf2a51a8b93404d72a599018ec2b1a232088b7ee0daa7004196c70f48db",
    "llome/ehr-V32-L32-c4-k4-q4": "1411dd36617264e6a727a2801adae9ed928de848923c5cbac4ccb9d22c541281",
    "llome/ehr-V8-L128-c8-k8-q8": "20cd642c563e8be7d0a3f464f0ae086b379f7bae09b3fe7703bb05bc093e9faa",
}

tasks = pytest.mark.parametrize("name", sorted(DIGESTS))


class Tensor:
    """What EhrlichSpec.from_holo needs of a torch tensor."""

    def __init__(self, values: object) -> None:
        self.values = np.asarray(values)

    def tolist(self) -> object:
        return self.values.tolist()


class HoloEhrlich:
    """What EhrlichSpec.from_holo needs of holo-bench's Ehrlich."""

    def __init__(self, spec: EhrlichSpec) -> None:
        self.transition_matrix = Tensor(spec.transition_matrix)
        self.motifs = [Tensor(motif) for motif in spec.motifs]
        self.spacings = [Tensor(spacing) for spacing in spec.spacings]
        self.dim = spec.L
        self._quantization = None if spec.q == spec.k else spec.q
        self._epistasis_factor = spec.epistasis
        self._start = Tensor(spec.initial_solution)

    def initial_solution(self) -> Tensor:
        return self._start


def test_the_shipped_instances_are_these() -> None:
    assert task_names() == sorted(DIGESTS)


def test_every_shipped_instance_has_parity_data() -> None:
    assert sorted(path.stem for path in PARITY.glob("*.npz")) == sorted(name.replace("/", "-") for name in DIGESTS)


@tasks
def test_values_are_those_of_holo(name: str) -> None:
    with np.load(PARITY / f"{name.replace('/', '-')}.npz") as data:  # pytorch-holo 0.0.5, torch 2.13.0, CPU
        sequences, expected = data["sequences"], data["values"]
    values = load_task(name).function(sequences)
    infeasible = expected == -np.inf
    np.testing.assert_array_equal(values == -np.inf, infeasible)
    np.testing.assert_allclose(values[~infeasible], expected[~infeasible], rtol=0, atol=1e-6)
    assert np.unique(expected).size > 3, "data that could not tell two functions apart"


@tasks
def test_definition_has_the_published_digest(name: str) -> None:
    assert load_task(name).digest == DIGESTS[name]


@tasks
def test_name_tells_the_sizes(name: str) -> None:
    spec = load_task(name).spec
    epistasis = f"-e{spec.epistasis}" if spec.epistasis else ""
    numbers = f"ehr-V{spec.V}-L{spec.L}-c{spec.c}-k{spec.k}-q{spec.q}{epistasis}"
    assert name.split("/")[1].split("-seed")[0] == numbers
    assert spec.name == name


@tasks
def test_optimum_is_feasible_and_scores_one(name: str) -> None:
    function = load_task(name).function
    x = function.optimal_solution()[None]
    assert function(x).tolist() == [1.0]
    assert function.is_feasible(x).tolist() == [True]
    assert all(match.found.all() for match in function.best_matches(x[0]))


@tasks
def test_initial_solution_is_feasible_and_not_the_optimum(name: str) -> None:
    task = load_task(name)
    x = task.initial_solution[None]
    assert x.shape == (1, task.spec.L)
    assert task.function.is_feasible(x).tolist() == [True]
    assert task.function(x)[0] < 1.0


@tasks
def test_json_round_trip_keeps_the_digest(name: str) -> None:
    spec = load_task(name).spec
    again = EhrlichSpec.from_json(spec.to_json())
    assert (again.digest, again.name, again.to_json()) == (spec.digest, spec.name, spec.to_json())


@tasks
def test_a_live_holo_object_gives_the_shipped_definition(name: str) -> None:
    spec = EhrlichSpec.from_holo(HoloEhrlich(load_task(name).spec), name="mine")
    assert (spec.digest, spec.name) == (DIGESTS[name], "mine")


def test_a_live_holo_object_with_motifs_of_one_element() -> None:
    spec = EhrlichSpec.from_seed(V=8, L=6, c=3, k=1)
    assert EhrlichSpec.from_holo(HoloEhrlich(spec)) == spec
