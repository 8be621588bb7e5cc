"""Named tasks."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import studies

import bioseq_gym
from bioseq_gym import EhrlichSpec, InvalidSpec, UnknownName, load_suite, load_task, suite_names, task_names
from bioseq_gym.study import Study
from bioseq_gym.suite import Scope, generated_task, load_scope

SUITES = {
    "ehrlich-60": "edeae3148faa39a9",
    "holo-4": "2ec40e31361e0f74",
    "llome-6": "136333af58bf4048",
    "llome-6-10k": "547c39b77a98b911",
    "smoke": "4fe3c7c439bad9c2",
}


@pytest.mark.parametrize("name", task_names())
def test_every_listed_task_loads_under_its_own_name(name: str) -> None:
    task = load_task(name)
    assert (task.name, task.budget, task.targets) == (name, 30_000, (0.5, 0.8, 0.95, 1.0))
    assert task.digest == task.spec.digest == task.function.spec.digest


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ehrlich/ehr-V8-L16-c2-k4-q4-seed0", (8, 16, 2, 4)),
        ("ehrlich/ehr-V8-L16-c2-k4-q2-seed7", (8, 16, 2, 4, 2, 0.0, 7)),
        ("ehrlich/ehr-V8-L16-c2-k4-q2-e0.5-seed7", (8, 16, 2, 4, 2, 0.5, 7)),
        ("ehrlich/ehr-V8-L16-c2-k4-q2-e1e-05-seed7", (8, 16, 2, 4, 2, 0.00001, 7)),
        ("ehrlich/ehr-V8-L16-c2-k4-q2-e4.0-seed18446744073709551616", (8, 16, 2, 4, 2, 4, 2**64)),
    ],
)
def test_generated_name_names_the_generated_function(name: str, arguments: tuple[int, ...]) -> None:
    task = generated_task(*arguments)
    assert (task.name, task.spec.name) == (name, name)
    assert load_task(name).digest == task.digest == EhrlichSpec.from_seed(*arguments).digest


def test_zero_epistasis_has_one_name_and_one_digest() -> None:
    plain = generated_task(8, 16, 2, 4)
    for zero in (0, 0.0, -0.0):
        task = generated_task(8, 16, 2, 4, epistasis=zero)
        assert (task.name, task.digest) == (plain.name, plain.digest)
    spelled_out = load_task("ehrlich/ehr-V8-L16-c2-k4-q4-e0.0-seed0")
    assert (spelled_out.name, spelled_out.digest) == (plain.name, plain.digest)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llome/ehr-V32-L32-c4-k4", r"no task 'llome/ehr-V32-L32-c4-k4'\. Did you mean 'llome/ehr-V32-L32-c4-k4-q4'"),
        ("LLOME/ehr-V8-L128-c8-k8-q8", "Did you mean 'llome/ehr-V8-L128-c8-k8-q8'"),
        ("zzz", r"no task 'zzz'\. See bioseq-gym tasks"),
        ("", "no task ''"),
        ("../llome/ehr-V32-L32-c4-k4-q4", "no task"),
        ("llome/ehr-V32-L32-c4-k4-q4.json", "Did you mean 'llome/ehr-V32-L32-c4-k4-q4'"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4", "no task"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-seed-1", "no task"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-e--seed0", "no task"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-e1.2.3-seed0", "no task"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-seed" + "9" * 5000, "no task"),
        ("ehrlich/ehr-V٨-L16-c2-k4-q4-seed0", "no task"),
    ],
)
def test_unknown_name_is_refused_with_the_near_ones(name: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        load_task(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ehrlich/ehr-V1-L16-c2-k4-q4-seed0", "V is 1"),
        ("ehrlich/ehr-V8-L4-c2-k4-q4-seed0", "do not fit in L=4"),
        ("ehrlich/ehr-V8-L16-c2-k4-q3-seed0", "q=3 does not divide k=4"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-e4.5-seed0", "epistasis is 4.5"),
        ("ehrlich/ehr-V8-L16-c2-k4-q4-e1e999-seed0", "epistasis is inf"),
        ("ehrlich/ehr-V8-L99999999999999999999-c2-k4-q4-seed0", "L is 99999999999999999999; give at most 65535"),
    ],
)
def test_generated_name_of_no_function_is_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        load_task(name)


def test_task_is_frozen_and_gives_its_start_away_as_a_copy() -> None:
    task = load_task("holo/ehr-V5-L7-c1-k3-q3-seed0")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.budget = 1  # type: ignore[misc]
    task.initial_solution[:] = 0
    np.testing.assert_array_equal(task.initial_solution, task.spec.initial_solution)
    assert task.function is task.function


def test_task_survives_pickling() -> None:
    task = load_task("holo/ehr-V5-L7-c1-k3-q3-seed0")
    before = task.function(task.initial_solution[None])
    again = pickle.loads(pickle.dumps(task))
    assert (again.name, again.digest) == (task.name, task.digest)
    np.testing.assert_array_equal(again.function(task.initial_solution[None]), before)


def test_suites() -> None:
    suites = [load_suite(name) for name in suite_names()]
    assert [(s.name, len(set(s.tasks)), s.seeds, s.budget) for s in suites] == [
        ("smoke", 2, 2, 300),
        ("holo-4", 4, 5, 30_000),
        ("llome-6-10k", 6, 5, 10_000),
        ("llome-6", 6, 5, 30_000),
        ("ehrlich-60", 60, 2, 30_000),
    ]
    assert load_suite("llome-6-10k").tasks == load_suite("llome-6").tasks
    assert sorted(load_suite("llome-6").tasks) == [name for name in task_names() if name.startswith("llome/")]
    with pytest.raises(UnknownName, match=r"no suite 'llome6'\. Did you mean 'llome-6' or 'llome-6-10k'\? See"):
        load_suite("llome6")
    with pytest.raises(UnknownName, match=r"a suite's name is a string, not \['llome-6'\]"):
        load_suite(["llome-6"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_fixes_its_functions_and_how_they_are_compared(name: str) -> None:
    suite = load_suite(name)
    tasks = [load_task(task) for task in suite.tasks]
    assert [task.digest for task in tasks] == list(suite.digests)
    assert {task.targets for task in tasks} == {suite.targets}
    result = studies.result("a", values=(0.5,), budget=suite.budget)
    assert tuple(Study.of([result]).checkpoints) == suite.checkpoints
    assert suite.ranking == "mean rank of the median AOCC"  # which report.ranked sorts by


def test_a_suite_never_changes_but_with_its_version() -> None:
    """SHA-256 of each suite's file; a change is a new version, under a new name where results were published."""
    folder = Path(bioseq_gym.__file__).parent / "suites"
    found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in folder.iterdir()}
    assert found == SUITES
    assert {load_suite(name).version for name in SUITES} == {1}


def test_holo_4_has_the_shapes_of_the_paper() -> None:
    specs = [load_task(name).spec for name in load_suite("holo-4").tasks]
    assert [(s.V, s.L, s.c, s.k) for s in specs] == [(32, 32, 4, 4), (32, 64, 2, 4), (32, 128, 4, 4), (32, 256, 4, 8)]
    assert [(s.q, s.epistasis) for s in specs] == [(4, 0.0)] * 4


def test_a_task_is_a_suite_of_itself() -> None:
    assert load_scope("smoke") == Scope("smoke", load_suite("smoke").tasks, seeds=2, budget=300)
    name = "ehrlich/ehr-V8-L12-c2-k3-q3-seed0"
    assert load_scope(name) == Scope(name, (name,))
    with pytest.raises(UnknownName, match=r"no suite or task 'llome6'\. Did you mean 'llome-6'"):
        load_scope("llome6")
    with pytest.raises(UnknownName, match=r"V08.* is called ehrlich/ehr-V8-L12-c2-k3-q3-seed0; give that name"):
        load_scope("ehrlich/ehr-V08-L12-c2-k3-q3-seed0")
    with pytest.raises(InvalidSpec, match="V is 1"):
        load_scope("ehrlich/ehr-V1-L16-c2-k4-q4-seed0")


def test_the_sixty_functions_are_those_of_the_first_release() -> None:
    tasks = [load_task(name) for name in load_suite("ehrlich-60").tasks]
    assert [task.name for task in tasks] == list(load_suite("ehrlich-60").tasks)
    digests = [task.digest for task in tasks]
    assert len(set(digests)) == 60
    numbers = {(t.spec.V, t.spec.L, t.spec.c, t.spec.k, t.spec.q) for t in tasks}
    assert numbers == {
        (t.spec.V, t.spec.L, t.spec.c, t.spec.k, t.spec.q) for t in map(load_task, load_suite("llome-6").tasks)
    }
    # SHA-256 of the sixty digests in order, computed when the suite was made
    assert (
        hashlib.sha256("".join(digests).encode()).hexdigest()
        == "403dec715ba2606f7131134a7f2c54cd315c2cb4d0c7bfd10f54d4c9d7640c5b"
    )
