"""The loops over episodes, compiled by Numba when they are first called."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioseq_gym.compiled import compiled

EPISODE = np.dtype(
    [
        ("value", "f8"),  # of the sequence, as observed: with noise, if there is any
        ("exact", "f8"),  # the same without noise
        ("reward", "f8"),  # of the last step
        ("steps", "i8"),  # taken so far
        ("feasible", "?"),  # whether the last step was, by its exact value; True where it was not scored
        ("terminated", "?"),
        ("truncated", "?"),
    ],
    align=True,
)
"""What is known of one episode, beside its tokens. One array of these is cheaper to hand to a kernel than seven.

``SequenceEnv.step`` unpacks a record by position: keep the order.
"""


@compiled
def first_out_of_range(
    actions: NDArray[np.int64],  # (N, A)
    limits: NDArray[np.int64],  # (A,)
) -> int:
    """The first row of ``actions`` with a number below 0 or not below its limit; -1 if there is none."""
    for i in range(actions.shape[0]):
        bad = False
        for j in range(actions.shape[1]):
            bad |= actions[i, j] < 0 or actions[i, j] >= limits[j]
        if bad:
            return i
    return -1


@compiled
def place_tokens(
    actions: NDArray[np.int64],  # (N, 2) position and token
    tokens: NDArray[np.uint8],  # (N, L) changed
) -> None:
    """Put each action's token at its position."""
    for i in range(actions.shape[0]):
        tokens[i, actions[i, 0]] = actions[i, 1]


@compiled
def settle_edits(
    actions: NDArray[np.int64],  # (N, 2) position and token
    observed: NDArray[np.float64],  # (N,) values of the edited sequences, -inf where infeasible
    exact: NDArray[np.float64],  # (N,) the same without noise
    horizon: int,
    tokens: NDArray[np.unsignedinteger],  # (N, L) changed
    episodes: NDArray[np.void],  # (N,) changed
) -> None:
    """Keep the feasible edits, refuse the others."""
    for i in range(actions.shape[0]):
        episode = episodes[i]
        episode["steps"] += 1
        episode["reward"] = 0.0
        episode["feasible"] = exact[i] > -np.inf
        if episode["feasible"]:
            episode["reward"] = observed[i] - episode["value"]
            episode["value"] = observed[i]
            episode["exact"] = exact[i]
            tokens[i, actions[i, 0]] = actions[i, 1]
        episode["terminated"] = episode["exact"] >= 1.0
        episode["truncated"] = episode["steps"] >= horizon and not episode["terminated"]


@compiled
def append_tokens(
    actions: NDArray[np.int64],  # (N, 1) the next token
    observed: NDArray[np.float64],  # (M,) values of the M sequences that this step completes, in order
    exact: NDArray[np.float64],  # (M,) the same without noise
    tokens: NDArray[np.unsignedinteger],  # (N, L) changed
    episodes: NDArray[np.void],  # (N,) changed; fewer than L steps each
) -> None:
    """Append each action's token; pay for the sequences that are complete."""
    complete = 0
    for i in range(actions.shape[0]):
        episode = episodes[i]
        tokens[i, episode["steps"]] = actions[i, 0]
        episode["steps"] += 1
        episode["reward"] = 0.0
        episode["terminated"] = episode["steps"] == tokens.shape[1]
        episode["truncated"] = False
        if episode["terminated"]:
            episode["value"] = observed[complete]
            episode["exact"] = exact[complete]
            episode["feasible"] = exact[complete] > -np.inf
            if episode["feasible"]:
                episode["reward"] = observed[complete]
            complete += 1
