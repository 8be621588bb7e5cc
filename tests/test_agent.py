"""What an agent is: its name, its settings, and the file or the package that it comes from."""

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Optional

import pytest

from bioseq_gym import InvalidConfig, MissingDependency, UnknownName
from bioseq_gym.agent import RESERVED, Agent, check_config, load_agent, setting
from bioseq_gym.agents.genetic_agent import Config as GeneticConfig
from bioseq_gym.cli import _add_run_options


@pytest.mark.parametrize(("setting_name", "value"), [("children", 0), ("crossover", 1.5), ("mutations", float("nan"))])
def test_a_setting_out_of_range_is_refused_by_name(setting_name: str, value: float) -> None:
    with pytest.raises(InvalidConfig, match=f"--{setting_name} of genetic is {value}; give "):
        check_config("genetic", replace(GeneticConfig(), **{setting_name: value}))


def test_setting_without_a_range_takes_anything() -> None:
    assert setting(3, "help").metadata == {"help": "help", "low": None, "high": None}


def test_an_unknown_agent_gets_the_near_names() -> None:
    with pytest.raises(UnknownName, match=r"no agent 'genetics'\. Did you mean 'genetic' or 'genetic-small' or 'g"):
        load_agent("genetics")


@pytest.mark.parametrize(
    ("text", "message"), [(None, "there is no file"), ("x = 1\n", r"defines no agent; end it with AGENT = Agent")]
)
def test_a_file_without_an_agent(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UnknownName, match=message):
        load_agent(str(path))


def test_an_agent_whose_packages_are_missing_says_which_extra_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in [m for m in sys.modules if m.startswith("bioseq_gym.agents.llome")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingDependency, match=r"llome needs transformers; pip install 'bioseq-gym\[agents\]'"):
        load_agent("llome")


@pytest.mark.parametrize("name", ["", "my agent", "../me", "a" * 65, "<b>", None])
def test_an_agent_has_a_name_that_a_table_can_show(name: Any) -> None:
    with pytest.raises(InvalidConfig, match="is not 1 to 64 letters, digits"):
        Agent(name, lambda env, seed, config: None)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"env_id": "CartPole-v1"}, r"env_id of agent 'mine' is 'CartPole-v1'; give one of \('Ehrlich-v0', "),
        ({"num_envs": -1}, "num_envs of agent 'mine' is -1; give an integer of at least 0"),
        ({"num_envs": True}, "num_envs of agent 'mine' is True"),
    ],
)
def test_an_agent_wants_an_environment_that_there_is(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Agent("mine", lambda env, seed, config: None, **wanted)


def test_an_agent_file_does_not_take_the_place_of_a_module(tmp_path: Path) -> None:
    before = sys.modules["random"]
    (tmp_path / "random.py").write_text(
        "from bioseq_gym.agent import Agent\nAGENT = Agent('mine', lambda env, seed, config: None)\n"
    )
    assert load_agent(str(tmp_path / "random.py")).name == "mine"
    assert sys.modules["random"] is before


@dataclass(frozen=True)
class Settings:
    n: int | None = setting(None, "a number or none", low=1)
    rate: float = setting(0.1, "a rate", high=3.0)
    name: Optional[str] = setting(None, "a name or none")  # noqa: UP045 - as older code has it
    flag: bool = setting(False, "yes or no")
    LONGEST: ClassVar[list[int]] = [1]  # no setting


@dataclass(frozen=True)
class Other:
    rate: float = 0.1


@dataclass(frozen=True)
class Listed:
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Chosen:
    mode: Literal["a", "b"] = setting("a", "no plain type")


@dataclass(frozen=True)
class Either:
    size: int | str = setting(1, "no plain type")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"config": {"children": 3}}, "must be an instance of a dataclass, not {'children': 3}"),
        ({"config": Settings}, "must be an instance of a dataclass"),
        ({"config": Listed()}, r"the setting 'sizes' of an agent is a list\[int\]; give bool, int, float or str"),
        ({"config": Chosen()}, "the setting 'mode' of an agent is a typing.Literal"),
        ({"config": Either()}, r"the setting 'size' of an agent is a int \| str"),
        (
            {"config": Settings(), "presets": {"other": Other()}},
            "presets of agent 'mine' are not all of the class",
        ),
        ({"run": 5}, r"run of agent 'mine' is 5; give a function run\(env, seed, config\)"),
    ],
)
def test_an_agent_is_what_the_command_line_can_run(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Agent(**{"name": "mine", "run": lambda env, seed, config: None, **wrong})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "--n of mine is 0; give at least 1"),
        ({"n": 1.0}, "--n of mine is 1.0; give a value of type int"),
        ({"n": True}, "--n of mine is True; give a value of type int"),
        ({"rate": 4}, "--rate of mine is 4; give at most 3.0"),
        ({"rate": "0.1"}, "--rate of mine is '0.1'; give a value of type float"),
        ({"rate": None}, "--rate of mine is None; give a value of type float"),
        ({"rate": float("nan")}, "--rate of mine is nan; give a finite number"),
        ({"name": 3}, "--name of mine is 3; give a value of type str"),
        ({"flag": 1}, "--flag of mine is 1; give a value of type bool"),
    ],
)
def test_a_setting_of_a_wrong_type_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    check_config("mine", Settings(n=3, rate=1, name="x", flag=True))
    check_config("mine", Settings())
    with pytest.raises(InvalidConfig, match=message):
        check_config("mine", replace(Settings(), **changes))


def test_an_agent_file_imports_modules_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_it.py").write_text("NAME = 'mine'\n")
    (tmp_path / "json.py").write_text("raise RuntimeError\n")  # the name of another module: not found here
    (tmp_path / "agent.py").write_text(
        "import json\nfrom beside_it import NAME\nfrom bioseq_gym.agent import Agent\nAGENT = Agent(NAME, print)\n"
    )
    assert load_agent(tmp_path / "agent.py").name == "mine"


def test_no_setting_is_called_as_an_option_of_run() -> None:
    """Its own options, from the parser, are the reserved ones."""
    parser = argparse.ArgumentParser()
    _add_run_options(parser)  # type: ignore[arg-type]
    assert {action.dest for action in parser._actions} == RESERVED - {"preset"}

    @dataclass(frozen=True)
    class Seeded:
        seed: int = setting(0, "of mine")

    with pytest.raises(InvalidConfig, match="agent 'mine' has a setting 'seed', an option of its own; rename it"):
        Agent("mine", lambda env, seed, config: None, Seeded())
