"""PPO with action masks (Huang and Ontañón, arXiv 2006.14171) of sb3-contrib on ``EhrlichBuild-v0``: learn to write.

It writes a sequence token by token and is paid the value, scaled, when it is full. The environment reveals which token
may come next, so that every sequence is feasible: this agent is told what the others must find out. See
``agents/rl/__init__.py`` for how rewards are scaled, and for what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecNormalize

from bioseq_gym import VectorEvaluationBudget
from bioseq_gym.agent import Agent, setting
from bioseq_gym.agents.rl.features import token_policy
from bioseq_gym.agents.rl.training import ENDLESS, UntilSpent, reproducible, short_seed
from bioseq_gym.agents.rl.vec_env import SequenceVecEnv
from bioseq_gym.errors import InvalidConfig


@dataclass(frozen=True)
class Config:
    """Settings of PPO with masks."""

    episodes: int = setting(1, "sequences that each of the 40 environments builds between updates", low=1)
    minibatches: int = setting(4, "parts of them, each of which is a step of Adam", low=1)
    epochs: int = setting(4, "passes over the steps of an update", low=1)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    gamma: float = setting(1.0, "discount per token", low=0.0, high=1.0)
    gae_lambda: float = setting(0.95, "of generalized advantage estimation", low=0.0, high=1.0)
    clip_range: float = setting(0.2, "largest change of a probability ratio", low=0.001)
    ent_coef: float = setting(0.02, "weight of the entropy bonus", low=0.0)
    width: int = setting(128, "of the layers of the network", low=1)
    patience: int = setting(10_000, "sequences asked of which one in a hundred must be new, or the run ends", low=100)
    device: str = setting("cpu", "cpu, cuda or auto")


def run(envs: VectorEvaluationBudget, seed: int, config: Config) -> None:
    """Learn until the last tokens of the next sequences, one in each environment, do not fit."""
    n_steps = config.episodes * envs.length
    tokens = n_steps * envs.num_envs
    if tokens % config.minibatches or tokens == config.minibatches:
        raise InvalidConfig(
            f"--minibatches of maskable-ppo is {config.minibatches}; give a smaller divisor of {tokens}, the "
            "tokens that are written between updates"
        )
    with reproducible("maskable-ppo", config.device):
        model = MaskablePPO(
            "MlpPolicy",
            VecNormalize(SequenceVecEnv(envs), norm_obs=False, gamma=config.gamma),
            learning_rate=config.learning_rate,
            n_steps=n_steps,
            batch_size=tokens // config.minibatches,
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


AGENT = Agent("maskable-ppo", run, Config(), env_id="EhrlichBuild-v0", num_envs=40, reveal_constraints=True)

if __name__ == "__main__":
    AGENT.main()
