"""How a language model reads and writes sequences: as one token for each state, or as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

Tokens = NDArray[np.uint8]


class Codec(Protocol):
    """What stands between sequences of V states and the ids of a language model.

    Attributes:
        V: vocabulary size.
        L: sequence length.
        stop: ids that end what is written.
        padding: an id for the places that are masked.
        longest: ids that the writing of one sequence takes at most.
    """

    V: int
    L: int
    stop: frozenset[int]
    padding: int
    longest: int

    def prompt(self, x: Tokens) -> list[int]:
        """The ids that ask for an edit of ``x``, (L,)."""

    def target(self, y: Tokens) -> list[int]:
        """The ids that write ``y``, (L,), with the one that ends it."""

    def decode(self, ids: Sequence[int]) -> Tokens | None:
        """What ``ids`` write, (L,), with or without the one that ends it; None if that is no sequence."""

    def impossible(self, t: int, last: Tensor | None, forbidden: Tensor) -> Tensor | None:
        """Which ids must not be written at place ``t``, (B, ids) bool or to be broadcast to it; None if all may.

        Args:
            t: the place, from 0.
            last: (B,) the ids written before it; None at place 0.
            forbidden: (V, V) bool, transitions that must not be written; each token has a successor.
        """


class TokenCodec:
    """One id for each of the V states, a separator and an end: ``x_1 .. x_L <sep> y_1 .. y_L <end>``.

    Args:
        V: vocabulary size.
        L: sequence length.
    """

    def __init__(self, V: int, L: int) -> None:
        self.V, self.L = V, L
        self.separator, self.end = V, V + 1
        self.size = V + 2
        self.stop = frozenset({self.end})
        self.padding = self.end
        self.longest = L + 1

    def prompt(self, x: Tokens) -> list[int]:
        """See :class:`Codec`."""
        return [*x.tolist(), self.separator]

    def target(self, y: Tokens) -> list[int]:
        """See :class:`Codec`."""
        return [*y.tolist(), self.end]

    def decode(self, ids: Sequence[int]) -> Tokens | None:
        """See :class:`Codec`."""
        states = ids[:-1] if len(ids) and ids[-1] == self.end else ids
        if len(states) != self.L or max(states) >= self.V:
            return None
        return np.array(states, np.uint8)

    def impossible(self, t: int, last: Tensor | None, forbidden: Tensor) -> Tensor | None:
        """See :class:`Codec`: states of which none is forbidden, up to the length, and then the end."""
        if t == self.L:
            mask = torch.ones(1, self.size, dtype=torch.bool, device=forbidden.device)
            mask[0, self.end] = False
            return mask
        mask = torch.zeros(1 if last is None else len(last), self.size, dtype=torch.bool, device=forbidden.device)
        mask[:, self.V :] = True
        if last is not None:
            mask[:, : self.V] = forbidden[last]
        return mask


class TextCodec:
    """The text form of the paper, for a pretrained model: ``<inc> [3, 1, ...]``, a new line, ``[3, 2, ...]``.

    Args:
        tokenizer: of the model.
        V: vocabulary size.
        L: sequence length.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, V: int, L: int) -> None:
        self.V, self.L = V, L
        self._tokenizer = tokenizer
        # ids that close the list, whatever they hold before or behind the bracket
        self.stop = frozenset(i for token, i in tokenizer.get_vocab().items() if "]" in token)
        self.padding = min(self.stop)
        self.longest = max(len(self.target(np.full(L, state, np.uint8))) for state in range(V)) + 8

    def prompt(self, x: Tokens) -> list[int]:
        """See :class:`Codec`."""
        return self._ids(f"<inc> {x.tolist()}\n")

    def target(self, y: Tokens) -> list[int]:
        """See :class:`Codec`."""
        return self._ids(str(y.tolist()))

    def decode(self, ids: Sequence[int]) -> Tokens | None:
        """See :class:`Codec`; what stands behind the list is cut off."""
        text, bracket, _ = self._tokenizer.decode(ids).partition("]")
        try:
            states = json.loads(text + bracket)
        except ValueError:
            return None
        if not (isinstance(states, list) and len(states) == self.L and all(type(state) is int for state in states)):
            return None
        return np.array(states, np.uint8) if min(states) >= 0 and max(states) < self.V else None

    def impossible(self, t: int, last: Tensor | None, forbidden: Tensor) -> Tensor | None:
        """See :class:`Codec`: None, since an id is no state. What is forbidden is dropped when it is whole."""
        return None

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
