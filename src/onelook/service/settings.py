"""ServiceSettings: how much the service takes on, who may ask, and from where."""

from dataclasses import dataclass

from onelook.service.tokens import Tokens

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and doors of a service.

    Args:
        max_bytes: Of the body of one request.
        max_pixels: Of one image, as its header says; checked before it is decoded.
        max_images: Of one request.
        max_waiting: Images that are accepted and not answered; more are told to come back.
        max_held_bytes: Of all bodies that are held at one time.
        body_seconds: In which a client must have sent its body.
        batch_size: Images that are embedded in one go.
        batch_wait: Seconds that an image waits at most for others that are being decoded.
        tokens: Who may read and write; None where everybody may who reaches the port.
        read_only: Nothing is enrolled, renamed or forgotten, whoever asks.
        hosts: Names under which the service may be asked; None for any. Without tokens
            this keeps web pages out that point a name of their own at this machine.
        cors: Origins whose web pages may ask, such as ``https://shop.example``.
        card_text: The model card as Markdown, for people.

    Raises:
        ValueError: If a limit is not positive, or would refuse for ever what another one
            allows.
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

    def __post_init__(self) -> None:
        for name in (
            "max_bytes",
            "max_pixels",
            "max_images",
            "max_waiting",
            "max_held_bytes",
            "body_seconds",
            "batch_size",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.batch_wait < 0:
            raise ValueError(f"batch_wait must not be negative, got {self.batch_wait}")
        for held, one in (("max_waiting", "max_images"), ("max_held_bytes", "max_bytes")):
            if getattr(self, held) < getattr(self, one):
                raise ValueError(
                    f"{held} must be at least {one}, got {getattr(self, held)} and "
                    f"{getattr(self, one)}: a request of that size would never be accepted"
                )
