"""``Ehrlich-v0``: edit a feasible sequence, one token at a time."""

from __future__ import annotations

from bioseq_gym.envs.base import SequenceEnv
from bioseq_gym.envs.dynamics import EditDynamics


class EhrlichEnv(SequenceEnv):
    """Edit a feasible sequence, one token at a time, to raise the value of an Ehrlich function.

    ## Description
    The state is a feasible sequence x of L tokens. Each step puts one token at one position; an edit that would make x
    infeasible is refused.

    The value f(x), from 0 to 1, is a product over c hidden motifs. A motif is k tokens at fixed distances from each
    other. Laid on x at the place where most of them match, it counts the share that does, rounded down to one of q
    levels. A hidden transition matrix forbids some neighbours; x is infeasible where it has such a pair (Stanton et
    al., arXiv 2407.00236).

    ## Action Space
    ``MultiDiscrete([L, V])``: ``(position, token)``.

    ## Observation Space
    ``MultiDiscrete([V] * L)``: the sequence, int64.

    ## Rewards
    The gain in f. An infeasible edit gains 0. The rewards of an episode add up to f(last) - f(first).

    ## Starting State
    The task's initial solution, always the same.

    ## Episode End
    Terminated when f reaches 1: at the first step, whatever it is, where the initial solution is optimal already.
    Truncated after ``horizon`` steps, and when an ``EvaluationBudget`` around the environment has nothing left for a
    sequence that is new, the initial solution included.

    ## Information
    ``value``: f of the current sequence, float.
    ``feasible``: whether the last edit was feasible, bool; True after a reset and with ``budget_exhausted``: there was
    no edit then.
    ``budget_exhausted``: True, only when that ended the episode.
    With ``reveal_constraints``, ``action_mask``: (L, V) int8, 1 where the edit leaves the sequence feasible. It is of
    pairs, which no mask of a ``MultiDiscrete`` space can say.

    ## Arguments
    ``task``: a name for :func:`bioseq_gym.load_task`; or else the numbers of ``EhrlichSpec.from_seed``:
    ``V`` = 32 states, ``L`` = 32 positions, ``c`` = 4 motifs of ``k`` = 4 elements, ``q`` = k levels,
    ``epistasis`` = 0 (a motif's share h counts h (1 + epistasis h (h - 1))), ``seed`` = 0 of the instance (not of the
    episodes: that is ``reset(seed=...)``).
    ``horizon``: steps in an episode, 2 L by default.
    ``noise_std`` = 0, at most a million: standard deviation of a Gaussian noise on every value that is observed, from
    ``np_random``; also on the one in ``reward``. Infeasible stays infeasible, the initial value has no noise, and the
    episode terminates when f without noise reaches 1.
    Under a budget a noisy function charges every row that is asked, repeats too.
    ``reveal_constraints`` = False: whether the information says which actions are feasible.
    ``render_mode``: None; ``"ansi"``, text; or ``"rgb_array"``, a picture: the values of the episode, the sequence,
    and, unless a budget is in force, each motif's elements, solid where found and hollow where missing.

    ```python
    >>> env = gymnasium.make("Ehrlich-v0", L=128)
    >>> env = gymnasium.make("Ehrlich-v0", task="llome/ehr-V32-L32-c4-k4-q4", render_mode="ansi")
    ```

    ## Version History
    * v0: first version.
    """

    dynamics_class = EditDynamics
