"""DQN (Mnih et al., Nature 518, 2015) of Stable-Baselines3 on ``Ehrlich-v0``: learn what each edit is worth.

An action is one of the L V edits, a position and a token in one number; the reward is the gain in value, scaled. See
``agents/rl/__init__.py`` for how, and for what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecNormalize

from bioseq_gym import VectorEvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.rl.features import token_policy
from bioseq_gym.agents.rl.training import ENDLESS, UntilSpent, reproducible, short_seed
from bioseq_gym.agents.rl.vec_env import SequenceVecEnv


@dataclass(frozen=True)
class Config:
    """Settings of DQN."""

    learning_starts: int = setting(1000, "steps before learning starts", low=0)
    buffer_size: int = setting(100_000, "steps that are remembered", low=100)
    batch_size: int = setting(64, "steps per gradient step", low=1)
    gradient_steps: int = setting(1, "per step of the 8 environments", low=1)
    target_update: int = setting(800, "steps between updates of the target network", low=8)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    gamma: float = setting(0.5, "discount per step", low=0.0, high=1.0)
    exploration: float = setting(
        0.3,
        "the share of random edits falls from 1 over as many steps, repeats included, as are this share of the budget",
        low=0.001,
    )
    exploration_final: float = setting(0.1, "share of random edits that it falls to", low=0.0, high=1.0)
    width: int = setting(128, "of the layers of the network", low=1)
    patience: int = setting(10_000, "sequences asked of which one in a hundred must be new, or the run ends", low=100)
    device: str = setting("cpu", "cpu, cuda or auto")


def run(envs: VectorEvaluationBudget, seed: int, config: Config) -> None:
    """Learn until the next step of all environments does not fit."""
    with reproducible("dqn", config.device):
        model = DQN(
            "MlpPolicy",
            VecNormalize(SequenceVecEnv(envs, flat_actions=True), norm_obs=False, gamma=config.gamma),
            learning_rate=config.learning_rate,
            buffer_size=config.buffer_size,
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            gamma=config.gamma,
            train_freq=1,
            gradient_steps=config.gradient_steps,
            target_update_interval=config.target_update,
            exploration_fraction=config.exploration * envs.remaining / ENDLESS,
            exploration_final_eps=config.exploration_final,
            policy_kwargs=token_policy(config.width, net_arch=[config.width]),
            seed=short_seed(seed),
            device=config.device,
        )
        model.learn(ENDLESS, callback=UntilSpent(envs, config.patience))


AGENT = Agent("dqn", run, Config(), num_envs=8)

if __name__ == "__main__":
    AGENT.main()
