"""Fixtures: the package as a user gets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pages import BOARDS, BROWSERS, address, browsing, find_browser, served, strange_board
from submissions import sweep

from bioseq_gym import Ehrlich
from bioseq_gym.submission import Submission, pack

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure() -> None:
    """One thread of torch for each worker: they share the cores, and sums of more threads depend on how many."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is imported, and workers inherit it


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel could be made of, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for folder in ("agents", "bioseq_gym", "tests"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in REPOSITORY.glob("[!.]*"):
        if file.is_file():
            shutil.copy(file, copy)
    return copy


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source))
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def run_installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program of a fresh environment that holds the wheel and its core dependencies, and nothing else."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", symlinks=True)
    python = home / "venv" / "bin" / "python"
    _pip("--python", str(python), "install", "-c", str(REPOSITORY / "constraints.txt"), str(wheel))

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python.with_name(program)), *arguments]
        return subprocess.run(command, cwd=home, capture_output=True, text=True)

    return run


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every batch that any Ehrlich function was called with."""
    sizes: list[int] = []
    call = Ehrlich.score

    def counted(self: Ehrlich, x: NDArray[Any]) -> NDArray[np.float64]:
        sizes.append(len(x))
        values: NDArray[np.float64] = call(self, x)
        return values

    monkeypatch.setattr(Ehrlich, "score", counted)
    return sizes


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sweep(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sweep(tmp_path_factory.mktemp("others"), "random")


@pytest.fixture(scope="session")
def whole(runs: list[Path]) -> Submission:
    return pack(runs, "smoke")


@pytest.fixture(scope="session")
def abridged(runs: list[Path]) -> Submission:
    return pack(runs, "smoke", abridged=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; without one the tests are skipped, unless the environment says that they are required."""
    program = find_browser()
    if program is None and os.environ.get("BIOSEQ_GYM_BROWSER") != "required":
        pytest.skip(f"there is no {' or '.join(BROWSERS)}")
    assert program is not None, f"there is no {' or '.join(BROWSERS)}, and BIOSEQ_GYM_BROWSER=required"
    with browsing(program) as started:
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address at which the committed boards are served."""
    with served(BOARDS) as found:
        yield found


@pytest.fixture(params=["disk", "server"])
def home(request: pytest.FixtureRequest) -> str:
    """The address of the page of the committed boards."""
    return address(BOARDS) if request.param == "disk" else str(request.getfixturevalue("server"))


@pytest.fixture(scope="session")
def strange(abridged: Submission, others: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with a submission whose texts try to be more than text, and another."""
    return strange_board(tmp_path_factory.mktemp("strange"), abridged, pack(others, "smoke"))


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model and a tokenizer of Pythia's kinds, saved as they are when they come from a hub."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("pythia")
    words = ["<inc>", "Ġ[", "[", "]", ",", "Ċ", *map(str, range(10)), *(f"Ġ{i}" for i in range(10)), "Ġ1"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*words, *pre_tokenizers.ByteLevel.alphabet()]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "["), *(("Ġ", str(i)) for i in range(10))]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    config = GPTNeoXConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout=0.5,
    )
    torch.manual_seed(0)
    GPTNeoXForCausalLM(config).save_pretrained(path)
    return str(path)
