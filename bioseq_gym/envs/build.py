"""``EhrlichBuild-v0``: build a sequence from nothing, token by token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.envs.base import SequenceEnv
from bioseq_gym.envs.dynamics import BuildDynamics
from bioseq_gym.errors import InvalidSpec


class EhrlichBuildEnv(SequenceEnv):
    """Build a sequence from nothing, token by token, and be paid the value of an Ehrlich function when it is full.

    ## Description
    The state is the first tokens of a sequence x of L tokens. Each step appends one.

    The value f(x), from 0 to 1, is a product over c hidden motifs. A motif is k tokens at fixed distances from each
    other. Laid on x at the place where most of them match, it counts the share that does, rounded down to one of q
    levels. A hidden transition matrix forbids some neighbours; x is infeasible where it has such a pair (Stanton et
    al., arXiv 2407.00236).

    ## Action Space
    ``Discrete(V)``: the next token.

    ## Observation Space
    ``MultiDiscrete([V + 1] * L)``: the sequence, int64; V where it is still empty.

    ## Rewards
    0 but for the last step, which earns f(x); an infeasible sequence earns 0.

    ## Starting State
    The empty sequence.

    ## Episode End
    Terminated after L tokens. Truncated when the full sequence is new and an ``EvaluationBudget`` around the
    environment has nothing left for it; the last token is then not appended. In a vector environment that truncates
    every episode, full or not.

    ## Information
    At the end of an episode ``value``: f(x), float, -inf if infeasible; and ``feasible``, bool.
    ``budget_exhausted``: True, only when that ended the episode; there is no ``value`` and no ``feasible`` then.
    With ``reveal_constraints``, always, ``action_mask``: (V,) int8, 1 for a token that may come next; all ones for the
    first. At least one token may always come next, and a sequence built from such tokens alone is feasible. The method
    ``action_masks()`` gives the same, for ``MaskablePPO`` of sb3-contrib.

    ## Arguments
    ``task``: a name for :func:`bioseq_gym.load_task`; or else the numbers of ``EhrlichSpec.from_seed``:
    ``V`` = 32 states, ``L`` = 32 positions, ``c`` = 4 motifs of ``k`` = 4 elements, ``q`` = k levels,
    ``epistasis`` = 0 (a motif's share h counts h (1 + epistasis h (h - 1))), ``seed`` = 0 of the instance (not of the
    episodes: that is ``reset(seed=...)``).
    ``noise_std`` = 0, at most a million: standard deviation of a Gaussian noise on every value that is observed, from
    ``np_random``; also on the one in ``reward``. Infeasible stays infeasible.
    Under a budget a noisy function charges every row that is asked, repeats too.
    ``reveal_constraints`` = False: whether the information says which tokens may come next.
    ``render_mode``: None; ``"ansi"``, text; or ``"rgb_array"``, a picture: the value once the sequence is full, the
    sequence, and, unless a budget is in force, each motif's elements, solid where found and hollow where missing.

    ```python
    >>> env = gymnasium.make("EhrlichBuild-v0", L=128, reveal_constraints=True)
    >>> observation, info = env.reset(seed=0)
    >>> env.step(env.action_space.sample(mask=info["action_mask"]))
    ```

    ## Version History
    * v0: first version.
    """

    dynamics_class = BuildDynamics

    def action_masks(self) -> NDArray[np.bool_]:
        """(V,) whether each token may come next. Raises InvalidSpec without ``reveal_constraints``."""
        if not self.reveal_constraints:
            raise InvalidSpec("there are no action masks; make the environment with reveal_constraints=True")
        mask: NDArray[np.bool_] = self._dynamics.masks()["action_mask"][0].astype(np.bool_)
        return mask
