"""``EhrlichBuild-v0``: build a sequence from nothing, token by token."""

from __future__ import annotations

from bioseq_gym.envs.base import SequenceEnv
from bioseq_gym.envs.dynamics import BuildDynamics


class EhrlichBuildEnv(SequenceEnv):
    """Build a sequence from nothing, token by token, and be paid the value of an Ehrlich function when it is full.

    ## Description
    The state is the first tokens of a sequence x of L tokens. Each step appends one. The value f(x) of the full
    sequence is a product over c hidden motifs of how much of each motif x holds, 0 <= f <= 1, and a hidden transition
    matrix forbids some neighbours (Stanton et al., arXiv 2407.00236).

    ## Action Space
    ``Discrete(V)``: the next token.

    ## Observation Space
    ``MultiDiscrete([V + 1] * L)``: the sequence, int64; V where it is still empty.

    ## Rewards
    0 but for the last step, which earns f(x); an infeasible sequence earns 0.

    ## Starting State
    The empty sequence.

    ## Episode End
    Terminated after L tokens. Truncated at the last of them when an :class:`EvaluationBudget` around the environment
    has nothing left for a sequence that is new; the last token is then not appended.

    ## Information
    At the end of an episode ``value``: f(x), float, -inf if infeasible; and ``feasible``, bool.
    ``budget_exhausted``: True, only when that ended the episode; there is no value then.
    With ``reveal_constraints``, always, ``action_mask``: (V,) int8, 1 for a token that may come next; all ones for the
    first. A sequence built from such tokens is feasible, and there always is one.

    ## Arguments
    ``task``, or ``V``, ``L``, ``c``, ``k``, ``q``, ``epistasis`` and ``seed``; ``noise_std``, ``reveal_constraints``
    and ``render_mode``: as in :class:`~bioseq_gym.envs.ehrlich.EhrlichEnv`.

    ```python
    >>> env = gymnasium.make("EhrlichBuild-v0", L=128, reveal_constraints=True)
    >>> observation, info = env.reset(seed=0)
    >>> env.step(env.action_space.sample(mask=info["action_mask"]))
    ```

    ## Version History
    * v0: first version.
    """

    dynamics_class = BuildDynamics
