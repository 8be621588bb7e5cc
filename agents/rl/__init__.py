"""What the agents of reinforcement learning share: the environment as Stable-Baselines3 wants it, network, training.

The algorithms are SB3's and sb3-contrib's, unchanged. So is the scaling of rewards, by ``VecNormalize``: they are
divided by the standard deviation, over all steps, of the discounted return so far, and clipped to -10 .. 10. For
``maskable-ppo``, which is paid in one step of L and does not discount, a payment is some sqrt(L) of these, so that at
L = 128 many are clipped, middling ones like large ones. Without clipping it was not tried.

**What was tried** on ``ehrlich/ehr-V32-L32-c4-k4-q4-seed101`` and ``-seed102``, by ``bioseq-gym run AGENT --task TASK
--budget 10000 --seed S`` with these settings: simple regret after 10,000 evaluations, the median over both functions,
of ``ppo`` with seeds 0 and 1, of the others with seed 0. Differences below 0.1 mean little. On seed101, with seed 0,
``random`` reaches 0.930, ``random-walks`` 0.906 and ``genetic`` 0.

=============  ============================================================  ======
agent          settings, the rest as it is now                               regret
=============  ============================================================  ======
ppo            learning_rate 3e-4, gamma 0.99, ent_coef 0.01, epochs 10      0.938
ppo            learning_rate 1e-3, gamma 0.99, ent_coef 0.01, epochs 10      0.938
ppo            the same, batch_size 64                                       0.938
ppo            learning_rate 1e-3, gamma 0.9, ent_coef 0.01                  0.898
ppo            learning_rate 1e-3, gamma 0.7, ent_coef 0.01                  0.906
ppo            learning_rate 3e-3, gamma 0.99, ent_coef 0.01                 0.906
ppo            learning_rate 3e-3, gamma 0.8, ent_coef 0.01                  0.844
ppo            the same, epochs 10                                           0.898
ppo            the same, n_steps 8                                           0.883
ppo            learning_rate 3e-3, gamma 0.8, ent_coef 0                     0.848
ppo            learning_rate 3e-3, gamma 0.5, ent_coef 0                     0.848
ppo            learning_rate 1e-2, gamma 0.8, ent_coef 0.01: repeats itself  0.957
maskable-ppo   learning_rate 3e-3, ent_coef 0.01, 64 environments            0.578
maskable-ppo   the same, epochs 2                                            0.648
maskable-ppo   learning_rate 1e-3, ent_coef 0, 64 environments               0.625
maskable-ppo   the same, 32 environments, minibatches 2                      0.684
maskable-ppo   learning_rate 1e-3, ent_coef 0.01, gae_lambda 1               0.701
maskable-ppo   learning_rate 1e-3, ent_coef 0.02: the default                0.578
dqn            learning_rate 3e-4, gamma 0.9, exploration_final 0.05         0.883
dqn            the default, but embeddings of width 8                        0.508
dqn            the default, but gradient_steps 2                             0.602
dqn            the default, but gamma 0                                      0.414
=============  ============================================================  ======

10,000 evaluations tell little of PPO; its default comes from ``--budget 100000 --seed 0``:

=============================================  ========================  =======
settings                                       seed101                   seed102
=============================================  ========================  =======
learning_rate 3e-3, gamma 0.8, ent_coef 0.01   0.684, gave up at 68,000
learning_rate 3e-3, gamma 0.8, ent_coef 0.03   0.438
learning_rate 3e-3, gamma 0.8, ent_coef 0.1    0.789
learning_rate 1e-3, gamma 0.8, ent_coef 0.02   0.250
learning_rate 3e-3, gamma 0.5, ent_coef 0.03   0, after 71,000           0.813
learning_rate 1e-3, gamma 0.5, ent_coef 0.02   0, after 69,000           0.813
=============================================  ========================  =======

**How far the defaults come**, with seed 0 and a budget of a million unless it says otherwise:

============  ===========  =====  =====  =====  =====  ======  ===================================================
agent         function     1k     3k     10k    30k    100k    end, and seconds of one core
============  ===========  =====  =====  =====  =====  ======  ===================================================
ppo           V32 seed101  0.969  0.953  0.859  0.719          0 at 69,000, 18 s (budget 100,000)
ppo           V32 seed102  0.969  0.969  0.938  0.859  0.813   0.684 at 1,000,000, 266 s
dqn           V32 seed101  0.984  0.969  0.906  0.813  0.438   0.438 at 191,000, 200 s, then stopped by hand
maskable-ppo  V32 seed101  0.813  0.578  0.578  0.578          0.578 at 80,000, 272 s, then stopped by hand
dqn           V32 seed101  0.984  0.906  0.438  0.250          103 s (budget 30,000, over which it explores)
ppo           V8 L128      0.968  0.967  0.905                 5 s (budget 10,000)
dqn           V8 L128      0.954  0.917  0.849                 63 s (budget 10,000)
genetic       V8 L128      0.910  0.798  0.330                 0.3 s (budget 10,000)
random        V8 L128      0.967  0.967  0.960                 0.1 s (budget 10,000)
random-walks  V8 L128      0.983  0.979  0.970                 0.5 s (budget 10,000)
============  ===========  =====  =====  =====  =====  ======  ===================================================

V8 L128 is ``ehrlich/ehr-V8-L128-c8-k8-q8-seed101``.

**The network.** One-hot vectors, which SB3 makes of a ``MultiDiscrete`` space in a loop over positions, take 1.5 times
as long in training as the embeddings here, and in a rollout 2 (L = 32) to 8 times (L = 128). A convolution behind the
embeddings takes 2.5 times as long in training, and was no better in the one run of ``ppo`` and of ``maskable-ppo``.
"""
