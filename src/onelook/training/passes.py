"""The passes of a batch through the encoders, and the gradient of a batch in parts.

A batch may be too large for one pass, or be shared by several processes. The loss sees all
of its embeddings in either case: they are gathered, the loss gives the gradient of each,
and every part goes on from there through the encoder on its own. So the loss, of whatever
kind, and its gradient are those of the whole batch.

Reference:
    Gao, Zhang, Han, Callan. Scaling Deep Contrastive Learning Batch Size under Memory
    Limited Setup. RepL4NLP 2021.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onelook.errors import DataError
from onelook.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Pass:
    """Slots [start, end) of one side that pass the encoder together."""

    side: str
    start: int
    end: int

    def share(self, rank: int, count: int) -> tuple[int, int]:
        """The slots of one of ``count`` processes."""
        size = self.end - self.start
        return self.start + size * rank // count, self.start + size * (rank + 1) // count


@dataclass(frozen=True, eq=False)
class Plan:
    """The passes of a batch, in the order of its embeddings, and who takes what of them."""

    passes: tuple[Pass, ...]
    processes: Processes = ALONE

    def slots(self, side: str) -> NDArray[np.int64]:
        """The slots of a side that this process encodes."""
        mine = [p.share(self.processes.rank, self.processes.count) for p in self.passes]
        kept = [mine[i] for i, p in enumerate(self.passes) if p.side == side]
        return np.concatenate([np.arange(start, end) for start, end in kept])

    def rows(self, rank: int) -> NDArray[np.int64]:
        """The rows of the batch's embeddings that a process makes."""
        parts, before = [], 0
        for one in self.passes:
            start, end = one.share(rank, self.processes.count)
            parts.append(before + np.arange(start, end) - one.start)
            before += one.end - one.start
        return np.concatenate(parts)

    def pieces(self) -> list[tuple[str, int, int]]:
        """Of each pass of this process: its side, and its place among the side's slots."""
        pieces, places = [], {"left": 0, "right": 0}
        for one in self.passes:
            start, end = one.share(self.processes.rank, self.processes.count)
            place = places[one.side]
            places[one.side] = place + end - start
            pieces.append((one.side, place, place + end - start))
        return pieces


def plan_batch(
    n_items: int,
    *,
    two_sides: bool,
    twins: str,
    chunk: int = 0,
    processes: Processes = ALONE,
) -> Plan:
    """The passes of a batch of ``n_items``, of at most ``chunk`` items each if not 0.

    Raises:
        DataError: If a pass has fewer items than there are processes.
    """
    half = n_items // 2
    if two_sides:
        wholes = [("left", 0, n_items), ("right", 0, n_items)]
    elif twins == "apart":
        # As the published pair systems make them: batch norm sees one side at a time.
        wholes = [("left", 0, half), ("left", half, 2 * half)]
    else:
        wholes = [("left", 0, n_items)]
    passes = []
    for side, start, end in wholes:
        n = max(1, -(-(end - start) // chunk)) if chunk else 1
        edges = [start + (end - start) * part // n for part in range(n + 1)]
        passes += [Pass(side, a, b) for a, b in zip(edges, edges[1:], strict=False)]
    smallest = min(one.end - one.start for one in passes)
    if smallest < processes.count:
        raise DataError(
            f"{smallest} items that pass the encoder together are too few for "
            f"{processes.count} processes; take fewer processes, a larger chunk, or larger "
            "batches"
        )
    return Plan(tuple(passes), processes)


def gradient_in_parts(
    network: nn.Module,
    plan: Plan,
    embed: Callable[[int], Tensor],
    loss: Callable[[Tensor], Tensor],
    again: bool,
) -> tuple[Tensor, Tensor]:
    """Add the gradient of a whole batch; gives its loss and its embeddings (N, D).

    Args:
        network: What learns: the model and the loss.
        plan: The passes.
        embed: Embeddings of this process's piece of a number; the same each time.
        loss: The loss (scalar) of all embeddings (N, D).
        again: Embed once without and once with gradients, one piece in memory at a time.
    """
    processes, n_pieces = plan.processes, len(plan.passes)
    with torch.set_grad_enabled(not again), _statistics_kept(network, again):
        pieces = [embed(number) for number in range(n_pieces)]
    rows = [plan.rows(rank) for rank in range(processes.count)]
    found = processes.gathered(torch.cat(pieces).detach(), [len(own) for own in rows])
    whole = torch.empty_like(found)
    whole[torch.from_numpy(np.concatenate(rows)).to(found.device)] = found
    value = loss(whole.requires_grad_())
    torch.autograd.backward(value)
    if not processes.is_first:
        # Every process has the whole gradient of what learns behind the embeddings.
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
    gradient = whole.new_zeros(whole.shape) if whole.grad is None else whole.grad
    own = gradient[torch.from_numpy(rows[processes.rank]).to(found.device)]
    for number, part in enumerate(torch.split(own, [len(p) for p in pieces])):
        torch.autograd.backward(embed(number) if again else pieces[number], part)
    processes.sum_gradients(network)
    return value.detach(), whole.detach()


@contextmanager
def _statistics_kept(network: nn.Module, wanted: bool) -> Iterator[None]:
    """Batch norm as in training, without a change to its running statistics."""
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    norms = [norm for norm in norms if wanted and norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
