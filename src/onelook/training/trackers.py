"""Trackers: where the figures of a training can be followed besides its log file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from onelook.extras import import_extra

# Takes named values and the step that they are of.
Track = Callable[[dict[str, float], int], None]


@contextmanager
def tracking(name: str | None, folder: Path, recipe: str) -> Iterator[Track]:
    """A function that sends figures to one of ``TRACKERS``, or nowhere if none is named."""
    if name is None:
        yield lambda values, step: None
        return
    if name not in TRACKERS:
        raise ValueError(f"unknown tracker {name!r}; known: {', '.join(TRACKERS)}")
    with TRACKERS[name](folder, recipe) as track:
        yield track


@contextmanager
def _tensorboard(folder: Path, recipe: str) -> Iterator[Track]:
    import_extra("tensorboard", "tensorboard", "--tracker tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def track(values: dict[str, float], step: int) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)

        yield track


@contextmanager
def _mlflow(folder: Path, recipe: str) -> Iterator[Track]:
    mlflow = import_extra("mlflow", "mlflow", "--tracker mlflow")
    mlflow.set_experiment("onelook")
    with mlflow.start_run(run_name=recipe):
        yield lambda values, step: mlflow.log_metrics(values, step=step)


@contextmanager
def _wandb(folder: Path, recipe: str) -> Iterator[Track]:
    wandb = import_extra("wandb", "wandb", "--tracker wandb")
    with wandb.init(project="onelook", name=recipe, dir=str(folder)) as run:
        yield lambda values, step: run.log(values, step=step)


TRACKERS: dict[str, Callable[[Path, str], AbstractContextManager[Track]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
