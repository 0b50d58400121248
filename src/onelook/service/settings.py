"""ServiceSettings: limits of the service, and who may use it."""

from dataclasses import dataclass
from pathlib import Path

from onelook.service.tokens import Tokens

WAITING_LARGEST = 8  # images of the largest size that may wait to be decoded
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and access of a service.

    Args:
        max_bytes: Largest body of a request.
        max_pixels: Most pixels of an image; checked in its header, before it is decoded.
        max_images: Most images of a request.
        max_waiting: Most images that are accepted and not answered; beyond, 503. One
            client has at most half of these and of what else there is a limit of.
        max_held_bytes: Most bytes of all bodies held at one time.
        body_seconds: Time in which a client must send its body.
        batch_size: Number of images embedded together.
        batch_wait: Longest time in seconds that an image waits for others being decoded.
        tokens: Who may read and write; None where tokens are not required.
        read_only: Refuse enrolling, renaming and forgetting.
        hosts: Host names that the service answers to; None for any. Without tokens this
            keeps out web pages that point a name of their own at this machine.
        cors: Origins whose web pages may send requests, such as ``https://shop.example``.
        card_text: The model card in Markdown.
        on_device: Folder of the page that answers in the browser (``onelook.page``), which
            gives the model's weights to all who reach it; None for none.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 40_000_000
    max_images: int = 32
    max_waiting: int = 256
    max_held_bytes: int = 512 << 20
    body_seconds: float = 30.0
    batch_size: int = 32
    batch_wait: float = 0.005
    tokens: Tokens | None = None
    read_only: bool = False
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES
    cors: tuple[str, ...] = ()
    card_text: str = ""
    on_device: Path | None = None

    @property
    def max_waiting_pixels(self) -> int:
        """Most pixels of all images that are accepted and not decoded."""
        return WAITING_LARGEST * self.max_pixels

    def __post_init__(self) -> None:
        limits = ("max_bytes", "max_pixels", "max_images", "max_waiting", "max_held_bytes")
        for name in (*limits, "body_seconds", "batch_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.batch_wait < 0:
            raise ValueError(f"batch_wait must not be negative, got {self.batch_wait}")
        for held, one in (("max_waiting", "max_images"), ("max_held_bytes", "max_bytes")):
            # One client gets at most half, so that there is always room for others.
            if getattr(self, held) < 2 * getattr(self, one):
                raise ValueError(
                    f"{held} must be at least twice {one}, got {getattr(self, held)} and "
                    f"{getattr(self, one)}: a request of that size would never be accepted"
                )
