"""What the agents of reinforcement learning share: the environment as Stable-Baselines3 wants it, network, training."""
