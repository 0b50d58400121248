"""The encoder of the published 19-layer system for LFW faces."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LfwEncoder(nn.Module):
    """The 19-layer encoder for colour photographs of 128 x 128 pixels, 135.9 M parameters.

    It ends in ReLU and batch norm, so two untrained embeddings lie about 45 apart
    (``sqrt(2 * 1024)``): a contrastive margin far below that costs a negative pair nothing.
    """

    embedding_size = 1024
    input_shape = (3, 128, 128)  # channels, height, width

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
        self.norm1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 128, 5, padding=2)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv3 = nn.Conv2d(128, 256, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(256)
        self.conv4 = nn.Conv2d(256, 512, 3, padding=1)
        self.norm4 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 16 * 16, self.embedding_size)
        self.norm5 = nn.BatchNorm1d(self.embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 128, 128) to embeddings (N, 1024)."""
        # A tenth less time a step than with channels first.
        x = self.conv1(images.contiguous(memory_format=torch.channels_last))
        x = F.max_pool2d(self.norm1(F.relu(x)), 2)  # (N, 64, 64, 64)
        x = F.max_pool2d(self.norm2(F.relu(self.conv2(x))), 2)  # (N, 128, 32, 32)
        x = F.max_pool2d(self.norm3(F.relu(self.conv3(x))), 2)  # (N, 256, 16, 16)
        x = self.norm4(F.relu(self.conv4(x)))  # (N, 512, 16, 16)
        embeddings: Tensor = self.norm5(F.relu(self.fc(x.flatten(1))))  # (N, 1024)
        return embeddings
