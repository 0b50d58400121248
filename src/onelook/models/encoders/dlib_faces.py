"""DlibFaceEncoder: dlib's face recognition network, its weights read into PyTorch.

On one core it takes a tenth of the time that dlib's own build from the package index takes,
and it is a module like any other: on any device, to fine-tune, to export.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onelook.models.dlib_weights import EMBEDDING_SIZE, STAGES, dlib_weights

# What dlib takes from the red, green and blue of a pixel in [0, 255], and divides by.
MEAN, SCALE = (122.782, 117.001, 104.298), 256.0


class DlibBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a stride of 2 halves the map without padding."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 2 - stride)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride), rounded down."""
        y = self.conv2(F.relu(self.conv1(x)))
        if self.stride == 2:
            x = F.avg_pool2d(x, 2)
            # dlib fills up with zeros whichever of the two is smaller, in channels,
            # height or width.
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)


class DlibFaceEncoder(nn.Module):
    """dlib's residual network of 29 convolutions for aligned faces.

    Two faces are of one person where the Euclidean distance of their embeddings is small:
    dlib was trained towards balls of radius 0.6. The faces must be aligned as
    ``onelook.data.inputs.faces.align`` does.

    Its author made the weights public domain (CC0, in the package face-recognition-models,
    whose own code is MIT). He trained them on about 3 million photographs of 7,485 people,
    half of them from VGG Face and FaceScrub, the others from the internet, none of them of
    people in LFW. Those photographs were published for research; the people on them were
    not asked.

    Args:
        pretrained: Read the weights that ``onelook[faces]`` brings, or keep random ones.

    Reference:
        King. High Quality Face Recognition with Deep Metric Learning. 2017,
        http://blog.dlib.net/2017/02. He, Zhang, Ren, Sun. Deep Residual Learning for Image
        Recognition. CVPR 2016.
    """

    input_shape = (3, 150, 150)  # channels, height, width
    embedding_size = EMBEDDING_SIZE

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, 2)
        blocks, size = [], 32
        for stage, (channels, n_blocks) in enumerate(STAGES):
            for block in range(n_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(DlibBlock(size, channels, stride))
                size = channels
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(size, self.embedding_size, bias=False)
        if pretrained:
            weights = dlib_weights()
            self.load_state_dict({key: torch.from_numpy(weights[key]) for key in weights})

    def forward(self, images: Tensor) -> Tensor:
        """Map aligned faces (N, 3, 150, 150), (pixels - MEAN) / SCALE, to (N, 128)."""
        x = images.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)  # (N, 32, 35, 35)
        x = self.blocks(x)  # (N, 256, 2, 2)
        embeddings: Tensor = self.linear(x.mean((2, 3)))  # (N, 128)
        return embeddings
