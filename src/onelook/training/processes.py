"""Several processes train one network: who they are, and what they exchange.

``torchrun`` starts the processes; each takes its share of every batch. What follows from
the whole batch is exchanged: embeddings, the sum of the gradients, statistics of batch
norm.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onelook.errors import TrainingError

# The others wait so long while process 0 validates, calibrates and writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """The processes of a training, and which of them this one is."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes, validates and reports."""
        return self.rank == 0

    def device(self, chosen: torch.device) -> torch.device:
        """The device of this process: of several GPUs its own."""
        if self.count == 1 or chosen.type != "cuda":
            return chosen
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            with _others_alive():
                dist.barrier()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Process 0 does it alone, then the others, which find in caches what it made."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def any(self, here: bool) -> bool:
        """Whether it holds in any process."""
        if self.count == 1:
            return here
        found = torch.tensor(float(here))
        return bool(_summed(found) > 0)

    def told(self, value: float) -> float:
        """The value of process 0."""
        if self.count == 1:
            return value
        return float(_summed(torch.tensor(value if self.is_first else 0.0).double()))

    def gathered(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Rows (N, D) of all processes in their order, ``counts`` of each."""
        if self.count == 1:
            return rows
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        with _others_alive():
            dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])

    def sum_gradients(self, network: nn.Module) -> None:
        """Give every process the sum of all their gradients, exchanged as one vector."""
        if self.count == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        total = _summed(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(total, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that ``torchrun`` started, or this one alone."""
    if not dist.is_available() or not (
        dist.is_initialized() or dist.is_torchelastic_launched()
    ):
        yield ALONE
        return
    starts_here = not dist.is_initialized()
    if starts_here:
        _join()
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        if starts_here:
            dist.destroy_process_group()


def _join() -> None:
    # Not there in builds of PyTorch for one process.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun keeps its store over restarts: without a prefix, processes that are started
    # again find the addresses of those that ended.
    attempt = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    how: dict[str, Any] = {"store": attempt, "rank": rank, "world_size": count}
    dist.init_process_group(backend, timeout=PATIENCE, **how)


def is_first() -> bool:
    """Whether this process is the only one that ``torchrun`` started, or the first."""
    return not dist.is_torchelastic_launched() or os.environ.get("RANK", "0") == "0"


def was_restarted() -> bool:
    """Whether ``torchrun --max-restarts`` started this process again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "another process of this training ended or cannot be reached "
            f"({str(error).splitlines()[0]}); what it reported is above. Go on with "
            "--resume, with as many processes as there are, or let torchrun --max-restarts "
            "do so"
        ) from error


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    with _others_alive():
        dist.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    """The sum of the tensors of all processes; each counts in the losses of all."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed_with_gradient(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class GlobalBatchNorm(_BatchNorm):
    """Batch norm by the mean and variance of the images of all processes.

    ``torch.nn.SyncBatchNorm`` runs on GPUs only, and not on a share without images.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalised activations (N, C, ...)."""
        if not self.training:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        over = [0, *range(2, values.ndim)]
        shape = (1, -1, *[1] * (values.ndim - 2))
        n_here = values.new_tensor([values.numel() / values.shape[1]])
        sums = _summed_with_gradient(torch.cat([values.sum(over), n_here]))  # (C + 1,)
        mean, n = sums[:-1] / sums[-1], float(sums[-1].detach())
        centred = values - mean.view(shape)
        variance = _summed_with_gradient(centred.square().sum(over)) / n  # (C,)
        if self.track_running_stats:
            self._keep(mean.detach(), variance.detach() * (n / max(n - 1, 1)))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum or 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def with_global_norms(network: nn.Module) -> None:
    """Make every batch norm a ``GlobalBatchNorm``, with the weights that it has."""
    for part in network.modules():
        if isinstance(part, _BatchNorm):
            part.__class__ = GlobalBatchNorm
