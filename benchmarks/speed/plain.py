"""What people would run instead: the published training loop, and a metric library's.

Neither uses anything of onelook but the network and the list of files: Pillow decodes on
access in the two workers of a DataLoader, in fp32, with PyTorch's Adam as it comes.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from onelook.recipe import ImageSettings

WORKERS = 2
LEARNING_RATE = 1e-4


def decode(path: str, images: ImageSettings) -> Tensor:
    """One file as the network takes it (C, H, W), as a short loader function does it."""
    with Image.open(path) as file:
        image = file.convert("L" if images.channels == 1 else "RGB")
    if images.crop:
        side = round(images.crop * min(image.size))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    image = image.resize((images.width, images.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if images.invert:
        pixels = 1 - pixels
    mean, std = (np.float32(v)[:, None, None] for v in (images.mean, images.std))
    return torch.from_numpy((pixels - mean) / std)


class RandomPairs(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The published data set: an index means nothing, a partner is drawn until one fits."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int], images: ImageSettings):
        self.files = list(zip(paths, labels, strict=True))
        self.images = images

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        left, right, is_same = self.draw()
        both = decode(left[0], self.images), decode(right[0], self.images)
        return *both, torch.tensor(is_same, dtype=torch.float32)

    def draw(self) -> tuple[tuple[str, int], tuple[str, int], bool]:
        """Two files with their labels; half of the pairs are of one class."""
        left, is_same = random.choice(self.files), random.random() < 0.5
        while True:
            right = random.choice(self.files)
            if (left[1] == right[1]) == is_same:
                return left, right, is_same


class LabelledFiles(Dataset[tuple[Tensor, int]]):
    """Images with labels, decoded on access."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int], images: ImageSettings):
        self.paths, self.labels, self.images = paths, labels, images

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return decode(self.paths[index], self.images), self.labels[index]


def published_loop(
    encoder: nn.Module, data: RandomPairs, n_pairs: int
) -> Callable[[], int]:
    """Two forward passes a step, Hadsell's loss on their distance."""
    optimizer = torch.optim.Adam(encoder.parameters(), lr=LEARNING_RATE)
    loader: DataLoader[tuple[Tensor, Tensor, Tensor]] = DataLoader(
        data, batch_size=n_pairs, shuffle=True, num_workers=WORKERS, drop_last=True
    )
    batches = _endless(loader)

    def step() -> int:
        left, right, is_same = next(batches)
        optimizer.zero_grad()
        distance = F.pairwise_distance(encoder(left), encoder(right))
        apart = torch.clamp(2.0 - distance, min=0.0)
        loss = (is_same * distance**2 + (1 - is_same) * apart**2).mean()
        loss.backward()
        optimizer.step()
        loss.item()  # as the published loop prints it
        return 2 * len(left)

    return step


def metric_learning_loop(
    encoder: nn.Module,
    data: Dataset[tuple[Tensor, int]],
    labels: Sequence[int],
    n_images: int,
    supervised_contrastive: bool,
    workers: int,
) -> Callable[[], int]:
    """pytorch-metric-learning as its examples use it: MPerClassSampler, loss, one pass."""
    from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss
    from pytorch_metric_learning.samplers import MPerClassSampler

    loss_function = SupConLoss() if supervised_contrastive else ContrastiveLoss()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=LEARNING_RATE)
    sampler = MPerClassSampler(labels, m=2)
    loader = DataLoader(
        data, batch_size=n_images, sampler=sampler, num_workers=workers, drop_last=True
    )
    batches = _endless(loader)

    def step() -> int:
        images, classes = next(batches)
        optimizer.zero_grad()
        loss = loss_function(encoder(images), classes)
        loss.backward()
        optimizer.step()
        return len(images)

    return step


def in_memory(data: LabelledFiles) -> TensorDataset:
    """Every file decoded beforehand."""
    images = torch.stack([data[i][0] for i in range(len(data))])
    return TensorDataset(images, torch.as_tensor(data.labels))


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    for again in repeat(loader):
        yield from again
