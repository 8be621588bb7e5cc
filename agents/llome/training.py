"""LLOME's training: one loop, transformers' ``Trainer``, for all objectives, in this process or in several.

An objective is a function of the log-likelihoods of the *effective* batch, all that one optimizer step is made of, over
micro-batches and processes. MargE's weights are normalised over it, so it is no sum over micro-batches. Where there are
several, the likelihoods are computed twice: without gradients for the whole effective batch, which gives the derivative
of the objective by each likelihood; then micro-batch by micro-batch, with these derivatives as coefficients. The sum of
the gradients is that of one large batch, as in gradient caching (Gao et al., arXiv 2101.06983). The last batch of an
epoch may have fewer pairs; several processes fill it up with pairs from the beginning. TRL's trainers each sum a loss
of their own over micro-batches, for data of their own form, and could not be compared with MargE in one loop.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from bioseq_gym.agents.determinism import own_generators, young_garbage
from bioseq_gym.agents.llome.codec import Tokens
from bioseq_gym.agents.llome.objectives import dpo_loss, marge_loss, sft_loss
from bioseq_gym.agents.llome.policy import (
    Encoded,
    Floats,
    Policy,
    computes_bfloat16,
    find_device,
    target_log_likelihood,
)
from bioseq_gym.errors import InvalidConfig

logger = logging.getLogger("bioseq_gym.agents.llome")

OBJECTIVES = ("sft", "dpo", "marge")
WEIGHTS = ("batch", "official")
SCHEDULES = ("constant", "linear", "cosine")
WEIGHTS_FILE = "policy.safetensors"
STEPS_FILE = "steps.json"


@dataclass(frozen=True)
class Recipe:
    """How to train: the objective and its constants, and the optimizer's.

    Attributes:
        objective: sft, dpo or marge.
        alpha, beta: of MargE.
        dpo_beta: of DPO.
        weights: batch: MargE's weights are normalised over the effective batch; official: within each micro-batch, as
            in the authors' code, whose micro-batches are of one pair.
        clip: of MargE's log-ratios, see :func:`marge_loss`.
        batch_size: pairs in an effective batch.
        micro_batch: pairs that are computed at a time in a process.
        epochs: passes over the pairs.
        most_steps: optimizer steps, however many the epochs would have; 0: theirs.
        learning_rate: of AdamW; gradients are clipped to a norm of 1.
        schedule: of the learning rate: constant, linear or cosine.
        save_steps: steps between checkpoints that a training that was cut goes on from; 0: none.
        processes: for more than one, ``accelerate launch`` starts them.
        seed: of the order of the pairs.
    """

    objective: str
    alpha: float = 1.0
    beta: float = 10.0
    dpo_beta: float = 0.1
    weights: str = "batch"
    clip: float = 0.0
    batch_size: int = 64
    micro_batch: int = 64
    epochs: int = 1
    most_steps: int = 0
    learning_rate: float = 1e-3
    schedule: str = "constant"
    save_steps: int = 0
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"objective": OBJECTIVES, "weights": WEIGHTS, "schedule": SCHEDULES}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise InvalidConfig(f"--{name} of llome is {value!r}; give one of {', '.join(known)}")
        if self.batch_size % (self.at_a_time * self.processes):
            raise InvalidConfig(
                f"llome's --batch-size {self.batch_size} is no multiple of {self.at_a_time} pairs at a time in each of "
                f"--processes {self.processes}; change it, or --micro-batch"
            )

    @property
    def at_a_time(self) -> int:
        """Pairs in a micro-batch: ``micro_batch``, or what a process has of an effective batch if that is less."""
        return max(1, min(self.micro_batch, self.batch_size // self.processes))

    @property
    def accumulation(self) -> int:
        """Micro-batches of one process in an effective batch."""
        return self.batch_size // (self.at_a_time * self.processes)


class PairData(Dataset[dict[str, Any]]):
    """Training pairs, as ids, with what the reference policy says of them.

    Args:
        rows: for each pair ``prompt``, the ids that ask for an edit of x; ``targets``, those of y and, for DPO, of a
            rejected one; ``references``, their log-likelihoods under the policy at the round's start; ``reward``,
            f(y) - f(x) >= 0.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    @classmethod
    def of(
        cls, policy: Policy, x: Tokens, y: Tokens, rewards: Floats, rejected: Tokens | None = None, *, objective: str
    ) -> PairData:
        """The data of pairs of x and y (n, L) with their rewards (n,); for DPO also ``rejected`` (n, L).

        ``policy`` is the reference, and is asked here, once; for the ``objective`` sft there is none.
        """
        kinds = [y] if rejected is None else [y, rejected]
        references = np.zeros((len(x), len(kinds)))
        if objective != "sft":
            references = np.stack([policy.log_likelihood(x, tokens) for tokens in kinds], axis=1)
        return cls(
            [
                {
                    "prompt": policy.codec.prompt(x[i]),
                    "targets": [policy.codec.target(tokens[i]) for tokens in kinds],
                    "references": references[i].tolist(),
                    "reward": float(rewards[i]),
                }
                for i in range(len(x))
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.rows[i]


class _Collator:
    """B pairs as tensors; the targets of DPO come one behind the other, first the chosen ones, then the rejected."""

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        kinds = range(len(rows[0]["targets"]))
        prompts = [row["prompt"] for _ in kinds for row in rows]
        targets = [row["targets"][kind] for kind in kinds for row in rows]
        encoded = Encoded(prompts, targets, self._padding)
        return {
            "ids": encoded.ids,
            "mask": encoded.mask,
            "target": encoded.target,
            "facts": torch.tensor(
                [
                    [row["reward"], len(row["targets"][0]), *row["references"]] + [0.0] * (2 - len(kinds))
                    for row in rows
                ],
                dtype=torch.float32,
            ),  # (B, 4) reward, tokens of y, reference log-likelihoods
        }


class ObjectiveTrainer(Trainer):
    """Trains a policy on an objective of the effective batch.

    Attributes:
        losses: of each batch over which the objective is taken: of an optimizer step or, with official weights, of a
            micro-batch.
        effective_sample_sizes: of MargE's weights in each of these.
    """

    def __init__(self, recipe: Recipe, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._recipe = recipe
        self.losses: list[float] = []
        self.effective_sample_sizes: list[float] = []
        self._apart = recipe.objective == "marge" and recipe.weights == "official"  # each micro-batch by itself
        self.loss_is_scaled_for_ga = not self._apart  # else compute_loss gives a share of the effective batch's loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The weights that are trained, for a checkpoint: as the model names them, not as transformers' files do."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().contiguous() for name, p in self.model.named_parameters() if p.requires_grad}
        save_file(weights, folder / WEIGHTS_FILE)
        (folder / STEPS_FILE).write_text(json.dumps([self.losses, self.effective_sample_sizes]), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Transformers' own misses what a model names otherwise in its files, as GPT-NeoX its head (in 5.23)."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(Path(resume_from_checkpoint) / WEIGHTS_FILE).items():
                parameters[name].copy_(value)
        steps = (Path(resume_from_checkpoint) / STEPS_FILE).read_text(encoding="utf-8")
        self.losses, self.effective_sample_sizes = json.loads(steps)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The micro-batches of the next step, each with the derivatives of its step's objective, ``slopes``."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._apart or (len(batches) <= 1 and self.accelerator.num_processes == 1):
            return batches, None  # compute_loss sees all that the objective is taken over
        batches = [self._prepare_inputs(batch) for batch in batches]
        self._set_slopes(batches)
        return batches, None

    def _set_slopes(self, batches: list[dict[str, Tensor]]) -> None:
        """Give ``batches`` the derivatives of the objective of all of their pairs, and other processes', together."""
        with torch.no_grad(), self.compute_loss_context_manager():
            logps = [_log_likelihoods(self.model, batch).float() for batch in batches]  # each (B, 1 or 2)
        ours = torch.cat([torch.cat([p, batch["facts"]], dim=1) for p, batch in zip(logps, batches, strict=True)])
        rows = self.accelerator.gather(ours.contiguous())
        kinds = logps[0].shape[1]
        leaf = rows[:, :kinds].clone().requires_grad_()
        loss = self._objective(leaf, rows[:, kinds:])
        (slopes,) = torch.autograd.grad(loss, leaf)
        first = self.accelerator.process_index * len(ours)
        # processes are averaged over, where a sum is meant
        slopes = slopes[first : first + len(ours)] * self.accelerator.num_processes
        for batch, part in zip(batches, slopes.split([len(p) for p in logps]), strict=True):
            batch["slopes"] = part
        self.losses.append(loss.item())

    def _objective(self, logps: Tensor, facts: Tensor) -> Tensor:
        """The loss of the pairs of an effective batch, from (B, 1 or 2) log-likelihoods and (B, 4) facts."""
        rewards, lengths, references = facts[:, 0], facts[:, 1], facts[:, 2:]
        recipe = self._recipe
        if recipe.objective == "sft":
            return sft_loss(logps[:, 0], lengths)
        if recipe.objective == "dpo":
            return dpo_loss(logps[:, 0], logps[:, 1], references[:, 0], references[:, 1], recipe.dpo_beta)
        out = marge_loss(logps[:, 0], references[:, 0], rewards, lengths, recipe.alpha, recipe.beta, recipe.clip)
        self.effective_sample_sizes.append(out.effective_sample_size.item())
        return out.loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The loss, or, where there are slopes, a number whose gradient is this micro-batch's part of the step's."""
        logps = _log_likelihoods(model, inputs).float()
        if "slopes" in inputs:
            return (logps * inputs["slopes"]).sum()
        loss = self._objective(logps, inputs["facts"])
        self.losses.append(loss.item())
        return loss


def _log_likelihoods(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """(B, 1) log-likelihoods, or (B, 2) with those of the rejected targets."""
    logps = target_log_likelihood(model, batch["ids"], batch["mask"], batch["target"])
    return logps.view(-1, len(batch["facts"])).T


def train(policy: Policy, data: PairData, recipe: Recipe, directory: str | os.PathLike[str]) -> dict[str, float]:
    """Train ``policy`` in place.

    Args:
        policy: what is trained; on return it has the new weights.
        data: the pairs.
        recipe: how.
        directory: for checkpoints, and for what goes to other processes and comes back. A training that was cut goes on
            from the checkpoint that it finds here.

    Returns:
        ``loss``: the mean over the last half of the steps; ``steps``; and of MargE the mean ``effective_sample_size``.

    Raises:
        InvalidConfig: the training diverged.
    """
    if recipe.processes > 1:
        found = _launched(policy, data, recipe, Path(directory))
    else:
        found = _train_here(policy, data, recipe, Path(directory))
    trained = [p for p in policy.model.parameters() if p.requires_grad]
    finite = all(p.isfinite().all() for p in trained)  # the last step shows in no loss
    if not (finite and np.isfinite(found["loss"])):
        raise InvalidConfig(f"llome's training diverged: its loss is {found['loss']}; give a smaller --learning-rate")
    return found


def _train_here(policy: Policy, data: PairData, recipe: Recipe, directory: Path) -> dict[str, float]:
    arguments = TrainingArguments(
        output_dir=str(directory),
        per_device_train_batch_size=recipe.at_a_time,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.most_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        max_grad_norm=1.0,
        save_strategy="steps" if recipe.save_steps else "no",
        save_steps=recipe.save_steps or 500,
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=policy.device.type == "cpu",
        bf16=computes_bfloat16(policy.device),
        seed=recipe.seed,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # else a batch is spread over all GPUs there are, and so multiplied
    with own_generators(), young_garbage():
        trainer = ObjectiveTrainer(
            recipe,
            model=policy.model,
            args=arguments,
            train_dataset=data,
            data_collator=_Collator(policy.codec.padding),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=_last_checkpoint(directory))
    policy.model.eval()
    losses, sizes = trainer.losses, trainer.effective_sample_sizes
    found = {"loss": float(np.mean(losses[len(losses) // 2 :])), "steps": trainer.state.global_step}
    return found | ({"effective_sample_size": float(np.mean(sizes))} if sizes else {})


def _last_checkpoint(directory: Path) -> str | None:
    """The newest whole one. Of one that a killed process was writing the state, which comes last, is missing or cut."""
    for folder in sorted(directory.glob("checkpoint-*"), key=lambda folder: -int(folder.name.split("-")[1])):
        with suppress(OSError, ValueError):
            json.loads((folder / TRAINER_STATE_NAME).read_bytes())
            return str(folder)
    return None


def _launched(policy: Policy, data: PairData, recipe: Recipe, directory: Path) -> dict[str, float]:
    """The same in several processes: model, pairs and recipe go through files of ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(policy.state(), directory / "before.safetensors")
    job = {"policy": policy.origin, "recipe": asdict(recipe), "rows": data.rows}
    (directory / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [
        # --multi_gpu means several processes, whatever they compute on; --cpu would start one
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(recipe.processes), "--num_machines", "1", "--main_process_port", "0"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "-m", __name__, str(directory)),
    ]
    own = os.environ | ({"ACCELERATE_USE_CPU": "true"} if policy.device.type == "cpu" else {})
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.error("%s", done.stderr)
        raise InvalidConfig(
            f"llome's training in {recipe.processes} processes failed: {_cause(done.stderr)}; "
            "see that accelerate launch works here, or give --processes 1"
        )
    policy.load_state(load_file(directory / "after.safetensors"))
    found: dict[str, float] = json.loads((directory / "found.json").read_text(encoding="utf-8"))
    return found


def _cause(said: str) -> str:
    """The first error that a process of several raised, or else how the first of them ended."""
    raised = re.search(r"^\[?(?:rank\d+\]: )?([\w.]+(?:Error|Exception|Config): .+)$", said, re.MULTILINE)
    ended = re.search(r"failed \((exitcode: .+?)\)", said)
    return raised.group(1) if raised else ended.group(1) if ended else "no error was printed"


def main(directory: str) -> None:
    """One of the processes of :func:`_launched`."""
    folder = Path(directory)
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if find_device(job["policy"]["device"]).type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # else all make their model on the first one
    policy = Policy.make(**job["policy"])
    policy.load_state(load_file(folder / "before.safetensors"))
    found = _train_here(policy, PairData(job["rows"]), Recipe(**job["recipe"]), folder)
    if os.environ.get("RANK", "0") == "0":
        save_file(policy.state(), folder / "after.safetensors")
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    # one that ends with its group alive now and then aborts: a thread of gloo's is still running
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
