"""Muon: momentum whose matrix is made orthogonal before it is taken as a step.

After Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein, Muon: An optimizer for hidden
layers in neural networks (2024), https://kellerjordan.github.io/posts/muon/.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# A quintic whose iteration brings every singular value near 1 within a few steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 4
MOMENTUM = 0.95  # Nesterov's


class Muon(torch.optim.AdamW):
    """Muon for the groups that say ``orthogonal``, AdamW for all others.

    A convolution's weight (O, I, H, W) is taken as a matrix (O, I * H * W). Norms, biases,
    the first and the last layer are no maps between hidden features: AdamW is for them.

    Args:
        groups: Parameter groups; ``orthogonal: True`` where the tensors have at least two
            dimensions. Their ``lr`` is the root mean square of a step's singular values.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        groups = [{"orthogonal": False, "momentum": MOMENTUM, **group} for group in groups]
        super().__init__(groups, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every group."""
        every_group = self.param_groups
        self.param_groups = [group for group in every_group if not group["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = every_group
        for group in every_group:
            if group["orthogonal"]:
                self._orthogonal_step(group)
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
                state["step"] = torch.zeros(())  # AdamW looks for it when a state is loaded
            state["step"] += 1
            momentum = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
            ahead = parameter.grad.add(momentum, alpha=group["momentum"])  # Nesterov's
            step = orthogonalized(ahead.flatten(1)).view_as(parameter)
            rows, columns = len(parameter), parameter[0].numel()
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(step, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix (M, N) with the same singular vectors and singular values near 1.

    Newton-Schulz iterations: products of matrices alone, no decomposition.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
