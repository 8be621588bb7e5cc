"""``EhrlichPropose-v0``: propose a whole sequence."""

from __future__ import annotations

from bioseq_gym.envs.base import SequenceEnv
from bioseq_gym.envs.dynamics import ProposeDynamics


class EhrlichProposeEnv(SequenceEnv):
    """Propose a whole sequence and be paid its value: a bandit, for black-box optimizers.

    ## Description
    Each episode is one step, which proposes a sequence x of L tokens.

    The value f(x), from 0 to 1, is a product over c hidden motifs. A motif is k tokens at fixed distances from each
    other. Laid on x at the place where most of them match, it counts the share that does, rounded down to one of q
    levels. A hidden transition matrix forbids some neighbours; x is infeasible where it has such a pair (Stanton et
    al., arXiv 2407.00236).

    ## Action Space
    ``MultiDiscrete([V] * L)``: a sequence.

    ## Observation Space
    ``MultiDiscrete([V] * L)``: a sequence, int64: the initial solution after a reset, the proposed one after a step.

    ## Rewards
    f(x); an infeasible sequence earns 0.

    ## Starting State
    The task's initial solution, always the same.

    ## Episode End
    Terminated after one step. Truncated instead when an ``EvaluationBudget`` around the environment has nothing
    left for a sequence that is new; the observation then stays as it was.

    ## Information
    ``value``: f of the sequence observed, float, -inf if infeasible. ``feasible``: whether it is feasible, bool.
    ``budget_exhausted``: True, only when that ended the episode; the others are then of the initial solution.
    With ``reveal_constraints``, ``feasible_successors``: (V, V) int8, read-only, 1 where the second token may follow
    the first.

    ## Arguments
    ``task``: a name for :func:`bioseq_gym.load_task`; or else the numbers of ``EhrlichSpec.from_seed``:
    ``V`` = 32 states, ``L`` = 32 positions, ``c`` = 4 motifs of ``k`` = 4 elements, ``q`` = k levels,
    ``epistasis`` = 0 (a motif's share h counts h (1 + epistasis h (h - 1))), ``seed`` = 0 of the instance (not of the
    episodes: that is ``reset(seed=...)``).
    ``noise_std`` = 0, at most a million: standard deviation of a Gaussian noise on every value that is observed, from
    ``np_random``; also on the one in ``reward``. Infeasible stays infeasible, and the initial value has no noise.
    Under a budget a noisy function charges every row that is asked, repeats too.
    ``reveal_constraints`` = False: whether the information says which token may follow which.
    ``render_mode``: None; ``"ansi"``, text; or ``"rgb_array"``, a picture: the value, the sequence, and, unless a
    budget is in force, each motif's elements, solid where found and hollow where missing.

    ```python
    >>> env = gymnasium.make("EhrlichPropose-v0", task="llome/ehr-V32-L32-c4-k4-q4")
    >>> envs = gymnasium.make_vec("EhrlichPropose-v0", num_envs=1000)
    ```

    ## Version History
    * v0: first version.
    """

    dynamics_class = ProposeDynamics
