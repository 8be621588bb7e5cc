"""The language model that edits sequences: pi(y|x), from scratch or pretrained."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.cache_utils import Cache, DynamicLayer

from bioseq_gym.agents.llome.codec import Codec, TextCodec, TokenCodec
from bioseq_gym.errors import InvalidConfig, MissingDependency

Tokens = NDArray[np.uint8]
Floats = NDArray[np.float64]

SIZES = {"0.1M": (64, 2), "0.6M": (128, 3), "5M": (256, 6)}
"""Width and blocks of the models from scratch, by their number of parameters."""
HEAD = 16  # width of an attention head
ROWS = 1024  # sequences that are written at a time, at most; a quarter as many are scored
CACHE = 8 * 2**30  # bytes that their keys and values may take
LOGITS = 2 * 2**30  # bytes that the logits of those that are scored may take


class Encoded:
    """Prompts or pairs as ids, padded.

    Attributes:
        ids: (B, T) int64.
        mask: (B, T) int64, 0 where there is padding.
        target: (B, T) bool, where an id of a y stands.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], padding: int) -> None:
        before, after = max(map(len, prompts)), max(map(len, targets), default=0)
        shape = (len(prompts), before + after)
        ids, mask, target = np.full(shape, padding), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
        for row, prompt in enumerate(prompts):  # prompts end where targets begin, so that all are written in step
            ids[row, before - len(prompt) : before] = prompt
            mask[row, before - len(prompt) : before] = 1
        for row, tokens in enumerate(targets):
            ids[row, before : before + len(tokens)] = tokens
            mask[row, before : before + len(tokens)] = 1
            target[row, before : before + len(tokens)] = True
        self.ids, self.mask, self.target = (torch.from_numpy(part) for part in (ids, mask, target))


def target_log_likelihood(model: Any, ids: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Log pi(y|x), summed over the ids of y: (B,), from an :class:`Encoded` on the model's device."""
    first = int(target.any(0).nonzero()[0]) - 1  # no logits are needed before the last id of the prompt
    kept = ids.shape[1] - first
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept, use_cache=False, **_places(model, mask))
    logps = torch.log_softmax(logits.logits[:, -kept:-1].float(), dim=-1)  # (B, T', ids)
    chosen = logps.gather(-1, ids[:, first + 1 :, None]).squeeze(-1)
    return (chosen * target[:, first + 1 :]).sum(-1)


class Policy:
    """pi(y|x) for x and y of L tokens.

    Args:
        model: a causal language model of transformers; dropout is switched off, so that training and evaluation compute
            the same.
        codec: how it reads and writes.
        device: where it computes.
        origin: the arguments of :meth:`make` that it came from.
    """

    def __init__(self, model: Any, codec: Codec, device: torch.device, origin: dict[str, Any]) -> None:
        self.model, self.codec, self.device, self.origin = model.to(device), codec, device, origin
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            for name, value in vars(module).items():  # what a model hands to the function of that name
                if isinstance(value, float) and name.endswith(("dropout", "layerdrop")):
                    setattr(module, name, 0.0)
        self.model.eval()
        self._rows = _rows(self.model.config, codec, device)
        logits = codec.longest * self.model.config.get_text_config().vocab_size
        self._scored = max(1, min(self._rows // 4, LOGITS // (4 * logits)))

    @classmethod
    def make(cls, V: int, L: int, *, model: str, size: str, lora_rank: int, device: str, seed: int) -> Policy:
        """A policy from scratch, or, where ``model`` is not empty, a pretrained one.

        From scratch it is a GPT-NeoX, which is Pythia's architecture, of that ``size``, with one id for each state.
        Otherwise it is any causal language model of transformers that has attention, and room for prompt and edit, with
        the text form of the paper; code that comes with a model is never run. Where the device computes in bfloat16 it
        does. Weights that are trained are float32 all the same, since bfloat16 rounds away steps as small as the
        paper's; those that adapters leave alone are not.

        Args:
            V: vocabulary size.
            L: sequence length.
            model: name or path, as for ``AutoModelForCausalLM.from_pretrained``; empty: from scratch.
            size: one of :data:`SIZES`.
            lora_rank: train low-rank adapters of that rank (Hu et al., arXiv 2106.09685) of a pretrained model instead
                of all weights; 0: all.
            device: cpu, cuda or auto.
            seed: of weights that are drawn.

        Raises:
            InvalidConfig: there is no such model, size or device, or the model can't hold prompt and edit.
            MissingDependency: adapters are asked for and peft is not installed.
        """
        where = find_device(device)
        origin = {"V": V, "L": L, "model": model, "size": size, "lora_rank": lora_rank, "device": device, "seed": seed}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if model:
                network, codec = _pretrained(model, V, L, lora_rank, where)
            else:
                network, codec = _from_scratch(V, L, size)
        return cls(network, codec, where, origin)

    def encode(self, x: Tokens, y: Tokens | None = None) -> Encoded:
        """``x`` (B, L) as prompts, with ``y`` (B, L) behind them."""
        prompts = [self.codec.prompt(row) for row in x]
        return Encoded(prompts, [] if y is None else [self.codec.target(row) for row in y], self.codec.padding)

    @torch.no_grad()
    def log_likelihood(self, x: Tokens, y: Tokens) -> Floats:
        """Log pi(y|x), summed over the ids of y: (B,), from (B, L) and (B, L)."""
        found = []
        for i in range(0, len(x), self._scored):
            batch = self.encode(x[i : i + self._scored], y[i : i + self._scored])
            parts = (part.to(self.device) for part in (batch.ids, batch.mask, batch.target))
            with self._precision():
                found.append(target_log_likelihood(self.model, *parts).cpu().double().numpy())
        return np.concatenate([*found, np.empty(0)])

    def sample(
        self, x: Tokens, count: int, temperatures: Floats, forbidden: NDArray[np.bool_] | None, rng: torch.Generator
    ) -> tuple[list[list[Tokens | None]], Floats]:
        """Write ``count`` edits of each x.

        Args:
            x: (B, L) seeds; each distinct one of those that are written at a time is read once.
            count: edits per seed.
            temperatures: (B,) of the sampling; 1 is the model's own distribution, 0 the most likely id each time.
            forbidden: (V, V) transitions that are not written, by a model that writes states; None: everything may be.
            rng: of the draws, on the CPU.

        Returns:
            B lists of ``count`` edits, (L,) each or None where no sequence was written; and the mean log-likelihood per
            id, (B, count), at temperature 1, under the mask if there is one.
        """
        edits: list[list[Tokens | None]] = []
        likelihoods = []
        step = max(1, self._rows // count)
        for i in range(0, len(x), step):
            written, found = self._write(x[i : i + step], count, temperatures[i : i + step], forbidden, rng)
            rows = [self.codec.decode(ids) for ids in written]
            edits += [rows[j : j + count] for j in range(0, len(rows), count)]
            likelihoods.append(found.reshape(-1, count))
        return edits, np.concatenate([*likelihoods, np.empty((0, count))])

    @torch.no_grad()
    def _write(
        self, x: Tokens, count: int, temperatures: Floats, forbidden: NDArray[np.bool_] | None, rng: torch.Generator
    ) -> tuple[list[list[int]], Floats]:
        """The ids of B * count edits, and the mean log-likelihood of each, (B * count,)."""
        distinct, where = np.unique(x, axis=0, return_inverse=True)
        prompts, device = self.encode(distinct), self.device
        mask = prompts.mask.to(device)
        cache = _cache(self.model.config)
        out = self._step(prompts.ids.to(device), mask, cache)
        rows = torch.from_numpy(np.repeat(where, count)).to(device)
        cache.batch_select_indices(rows)
        logits, mask = out[rows], mask[rows]
        heat = torch.from_numpy(np.repeat(temperatures, count)).to(device, torch.float32)[:, None]
        barred = None if forbidden is None else torch.from_numpy(forbidden).to(device)
        stop = torch.tensor(sorted(self.codec.stop), device=device)
        ids: list[Tensor] = []
        writing = torch.ones(len(logits), dtype=torch.bool, device=device)
        total, length = torch.zeros(len(logits), device=device), torch.zeros(len(logits), device=device)
        for t in range(self.codec.longest):
            if t:
                mask = torch.cat([mask, writing[:, None].to(mask.dtype)], dim=1)
                logits = self._step(ids[-1][:, None], mask, cache)
            if barred is not None and (bar := self.codec.impossible(t, ids[-1] if t else None, barred)) is not None:
                logits = logits.masked_fill(bar, -torch.inf)
            token = _draw(logits, heat, rng)
            total += torch.log_softmax(logits, dim=-1).gather(1, token[:, None]).squeeze(1) * writing
            length += writing
            ids.append(token)
            writing = writing & ~torch.isin(token, stop)
            if not writing.any():
                break
        lengths = length.long().tolist()
        written = [row[:n] for row, n in zip(torch.stack(ids, dim=1).tolist(), lengths, strict=True)]
        return written, (total / length).cpu().double().numpy()

    def _step(self, ids: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """The logits (B, ids) behind ``ids`` (B, T), which are added to ``cache``; ``mask`` is of all that is in it."""
        places = {name: where[:, -ids.shape[1] :] for name, where in _places(self.model, mask).items()}
        with self._precision():
            out = self.model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1, **places
            )
        logits: Tensor = out.logits[:, -1].float()
        return logits

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=computes_bfloat16(self.device))

    def state(self) -> dict[str, Tensor]:
        """A copy of the weights that are trained."""
        trained = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        return {name: p.cpu().clone(memory_format=torch.contiguous_format) for name, p in trained.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put the weights of :meth:`state` in place."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in state.items():
                parameters[name].copy_(value)


def find_device(name: str) -> torch.device:
    """The device called cpu, cuda or auto. Raises InvalidConfig if this machine has none of that name."""
    if name not in ("cpu", "cuda", "auto") or (name == "cuda" and not torch.cuda.is_available()):
        raise InvalidConfig(f"--device of llome is {name!r}; give one of cpu, cuda, auto that this machine has")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether it is a GPU that does."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


class _RoomyLayer(DynamicLayer):
    """Keys and values that grow in place, where transformers' own copies all at each step."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, heads, T, width); return all of them."""
        n = self.get_seq_length()
        if n == 0:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            self._room = value_states.new_empty(2, 0, 0, 0, 0)
            return self.keys, self.values
        end, (B, heads, _, width) = n + key_states.shape[-2], self.keys.shape
        if self._room.shape[-2] < end:
            # under autocast values are bfloat16 and keys, behind a rotation, float32, which attention rounds anyway
            self._room = value_states.new_empty(2, B, heads, 2 * end, width)
            self._room[0, ..., :n, :], self._room[1, ..., :n, :] = self.keys, self.values
        self._room[0, ..., n:end, :], self._room[1, ..., n:end, :] = key_states, value_states
        self.keys, self.values = self._room[0, ..., :end, :], self._room[1, ..., :end, :]
        return self.keys, self.values


def _rows(config: Any, codec: Codec, device: torch.device) -> int:
    """Sequences of which the keys and values fit into :data:`CACHE`, with room to grow; 1 to :data:`ROWS`."""
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    number = 2 if computes_bfloat16(device) else 4
    ids = len(codec.prompt(np.full(codec.L, codec.V - 1, np.uint8))) + codec.longest
    room = 2 * ids
    return max(1, min(ROWS, CACHE // (2 * config.num_hidden_layers * heads * width * room * number)))


def _cache(config: Any) -> Cache:
    """An empty cache of keys and values for a model of that config."""
    cache = DynamicCache(config=config)
    if any(type(layer) is not DynamicLayer for layer in cache.layers):  # sliding windows and the like
        return cache
    return Cache(layers=[_RoomyLayer() for _ in cache.layers])


def _draw(logits: Tensor, heat: Tensor, rng: torch.Generator) -> Tensor:
    """(B,) ids drawn from softmax(logits / heat), the most likely one where ``heat`` (B, 1) is 0."""
    drawn = torch.softmax(logits / torch.where(heat > 0.0, heat, 1.0), dim=-1)
    token = torch.multinomial(drawn.cpu(), 1, generator=rng).squeeze(1).to(logits.device)
    return torch.where(heat.squeeze(1) > 0.0, token, logits.argmax(-1))


def _places(model: Any, mask: Tensor) -> dict[str, Tensor]:
    """The positions of ids that are not padding, for models whose positions don't come from distances alone."""
    plain = getattr(model, "module", model)  # as it is in one process
    plain = plain.get_base_model() if hasattr(plain, "get_base_model") else plain  # without adapters
    if "position_ids" not in inspect.signature(plain.forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def _from_scratch(V: int, L: int, size: str) -> tuple[Any, Codec]:
    if size not in SIZES:
        raise InvalidConfig(f"--size of llome is {size!r}; give one of {', '.join(SIZES)}")
    codec, (width, blocks) = TokenCodec(V, L), SIZES[size]
    config = GPTNeoXConfig(
        vocab_size=codec.size,
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=width // HEAD,
        intermediate_size=4 * width,
        max_position_embeddings=2 * L + 2,
        rotary_pct=1.0,  # y_t mostly copies x_t, which is found by its distance
        bos_token_id=None,
        eos_token_id=codec.end,
    )
    return GPTNeoXForCausalLM(config), codec


def _pretrained(name: str, V: int, L: int, lora_rank: int, device: torch.device) -> tuple[Any, Codec]:
    dtype = torch.bfloat16 if lora_rank and computes_bfloat16(device) else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        network = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False, dtype=dtype)
    except (OSError, ValueError) as error:
        raise InvalidConfig(
            f"can't load the model {name!r} ({str(error).splitlines()[0]}); give the name or the path of a causal "
            "language model of transformers, or none for a model from scratch"
        ) from None
    codec, config = TextCodec(tokenizer, V, L), network.config.get_text_config()
    if getattr(config, "num_attention_heads", None) is None:
        raise InvalidConfig(f"the model {name!r} has no attention heads; give a transformer")
    needed = len(codec.prompt(np.full(L, V - 1, np.uint8))) + codec.longest
    if (room := getattr(config, "max_position_embeddings", None)) and needed > room:
        raise InvalidConfig(f"the model {name!r} reads {room} ids, and L={L} takes {needed}; give one that reads more")
    if lora_rank:
        try:
            from peft import LoraConfig, get_peft_model
        except ModuleNotFoundError:
            raise MissingDependency("--lora-rank of llome needs peft; pip install 'bioseq-gym[agents]'") from None
        adapters = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # peft asks what newer releases of transformers call otherwise
            network = get_peft_model(network, adapters)
    return network, codec
