"""HubEncoder: a vision transformer of the package transformers."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from onelook.extras import import_extra


class HubEncoder(nn.Module):
    """A vision transformer of the package transformers, without a classifier.

    Args:
        config: Its configuration with "model_type", as ``config.json`` keeps it.
        image_size: Side of the square RGB images, in pixels.
        pooling: "cls" gives the class token, "pooler" what the network itself pools.

    Raises:
        ValueError: If the configuration is that of another kind of network.
    """

    def __init__(
        self, config: dict[str, Any], image_size: int, pooling: str = "cls"
    ) -> None:
        super().__init__()
        transformers = _transformers()
        known = transformers.AutoConfig.for_model(**config)
        self.network = transformers.AutoModel.from_config(known)
        self.input_shape = (3, image_size, image_size)
        self.embedding_size, self.pooling = int(getattr(known, "hidden_size", 0)), pooling
        if pooling == "cls" and hasattr(self.network, "pooler"):
            self.network.pooler = None  # learned for another task, or not at all
        names = [name.rpartition(".")[2] for name in self.network.state_dict()]
        if not self.embedding_size or (pooling == "cls" and "cls_token" not in names):
            raise ValueError(f"{known.model_type!r} is no vision transformer")

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, image_size, image_size) to embeddings (N, embedding_size)."""
        found = self.network(pixel_values=images)
        if self.pooling == "pooler":
            pooled: Tensor = found.pooler_output
            return pooled
        tokens: Tensor = found.last_hidden_state  # (N, T, embedding_size)
        return tokens[:, 0]


def read_encoder(
    folder: str, image_size: int, pooling: str = ""
) -> tuple[HubEncoder, dict[str, Any]]:
    """The image encoder in a folder of transformers, and the arguments that build it.

    Of a network of images and texts that is the half that sees images, which pools by
    itself.

    Raises:
        ValueError: If weights are missing, or it is no vision transformer.
    """
    transformers = _transformers()
    whole = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    seeing = getattr(whole, "vision_config", None)
    config = whole if seeing is None else seeing
    content = json.loads(config.to_json_string(use_diff=True))
    for key in ("architectures", "dtype", "transformers_version"):
        content.pop(key, None)
    arguments = {
        "config": content | {"model_type": config.model_type},
        "image_size": image_size,
        "pooling": pooling or ("cls" if seeing is None else "pooler"),
    }
    encoder = HubEncoder(**arguments)
    network, report = transformers.AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    own, state = encoder.network.state_dict(), network.state_dict()
    missing = sorted(set(report["missing_keys"]) & set(own))
    if missing:
        raise ValueError(f"its weights lack {', '.join(missing[:3])}")
    encoder.network.load_state_dict({name: state[name] for name in own})
    return encoder, arguments


def _transformers() -> Any:
    found = import_extra("transformers", "hub", "the encoder 'hub'")
    found.logging.set_verbosity_error()  # it lists what it leaves out
    found.logging.disable_progress_bar()
    return found
