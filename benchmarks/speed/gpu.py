"""Training on a GPU, if there is one: images/s, fraction of its peak, larger batches."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from onelook.recipe import override
from onelook.training.prepare import prepare
from speed.bare import BareStep, Switches
from speed.networks import MODELS, TITLES, recipe_of
from speed.table import Row, print_table

TIMES = (1, 2, 4, 8)  # as large as the recipe's batch
WARM_UP, STEPS = 5, 20
ON = Switches(fused=True, channels_last=True, bf16=True)
SIDE = 8192  # of the matrices whose product is taken for the peak


def measure(networks: list[str], device: str = "cuda") -> list[Row]:
    """Print the table of all networks."""
    if not torch.cuda.is_available():
        print("\nGPU: none is at hand, so none is measured")
        return []
    peak = matrix_peak(device, SIDE)
    lines, rows = [], []
    for network in networks:
        for times in TIMES:
            n_images, seconds, work = timed_step(network, times, device)
            rate, share = n_images / seconds, work / seconds / peak
            words = [str(n_images), f"{rate:,.0f}", f"{100 * share:.1f}%"]
            lines.append([TITLES[network], *words])
            model = f"{MODELS[network]}, {n_images} images a step, GPU"
            rows.append(Row("train-throughput", model, "images_per_second", rate))
            rows.append(Row("train-throughput", model, "share_of_peak", share))
    print_table(
        f"GPU: {torch.cuda.get_device_name()}, bf16, the bare step",
        ["", "images a step", "images/s", "share of peak"],
        lines,
        f"peak: {peak / 1e12:,.0f} TFLOP/s, a product of {SIDE} x {SIDE} matrices in bf16",
    )
    return rows


def timed_step(network: str, times: int, device: str) -> tuple[int, float, float]:
    """Images, seconds and floating-point operations of a step."""
    recipe = recipe_of(network)
    larger = {
        "sampling.batch_size": times * recipe.sampling.batch_size,
        "sampling.classes_per_batch": times * recipe.sampling.classes_per_batch,
    }
    recipe = override(recipe, larger)
    bare = BareStep(recipe, prepare(recipe, progress=False), device)
    with FlopCounterMode(display=False) as counter:
        bare.seconds(ON, 1)
    bare.seconds(ON, WARM_UP)
    seconds = bare.seconds(ON, STEPS) / STEPS
    return len(bare.inputs), seconds, float(counter.get_total_flops())


def matrix_peak(device: str, side: int) -> float:
    """Floating-point operations a second of a large product in bf16."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    _repeat(lambda: a @ a, 5)
    return 2 * side**3 / _repeat(lambda: a @ a, 20)


def _repeat(job: Callable[[], object], times: int) -> float:
    """Seconds of one call, the mean of several."""
    begun = time.perf_counter()
    for _ in range(times):
        job()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / times
