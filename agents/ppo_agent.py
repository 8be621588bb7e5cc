"""PPO (Schulman et al., arXiv 1707.06347) of Stable-Baselines3 on ``Ehrlich-v0``: learn to edit, one token at a time.

It sees the sequence and chooses a position and a token; the reward is the gain in value, scaled. See
``agents/rl/__init__.py`` for how, and for what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from bioseq_gym import VectorEvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.rl.features import token_policy
from bioseq_gym.agents.rl.training import ENDLESS, UntilSpent, reproducible, short_seed
from bioseq_gym.agents.rl.vec_env import SequenceVecEnv
from bioseq_gym.errors import InvalidConfig


@dataclass(frozen=True)
class Config:
    """Settings of PPO."""

    n_steps: int = setting(32, "steps of each of the 16 environments between updates", low=1)
    batch_size: int = setting(128, "steps per minibatch, a divisor of 16 n-steps", low=2)
    epochs: int = setting(4, "passes over the steps of an update", low=1)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    gamma: float = setting(0.5, "discount per step", low=0.0, high=1.0)
    gae_lambda: float = setting(0.95, "of generalized advantage estimation", low=0.0, high=1.0)
    clip_range: float = setting(0.2, "largest change of a probability ratio", low=0.001)
    ent_coef: float = setting(0.02, "weight of the entropy bonus", low=0.0)
    width: int = setting(128, "of the layers of the network", low=1)
    patience: int = setting(10_000, "sequences asked of which one in a hundred must be new, or the run ends", low=100)
    device: str = setting("cpu", "cpu, cuda or auto")


def run(envs: VectorEvaluationBudget, seed: int, config: Config) -> None:
    """Learn until the next step of all environments does not fit."""
    steps = config.n_steps * envs.num_envs
    if steps % config.batch_size:
        raise InvalidConfig(f"--batch-size of ppo is {config.batch_size}; give a divisor of 16 n-steps, {steps}")
    with reproducible("ppo", config.device):
        model = PPO(
            "MlpPolicy",
            VecNormalize(SequenceVecEnv(envs), norm_obs=False, gamma=config.gamma),
            learning_rate=config.learning_rate,
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            policy_kwargs=token_policy(config.width, net_arch=[config.width]),
            seed=short_seed(seed),
            device=config.device,
        )
        model.learn(ENDLESS, callback=UntilSpent(envs, config.patience))


AGENT = Agent("ppo", run, Config(), num_envs=16)

if __name__ == "__main__":
    AGENT.main()
