"""Faces in photographs: find them (``detect``) and turn them upright (``align``).

dlib does both, as the extra ``onelook[faces]`` installs it: its detectors of frontal and of
turned faces, and its five points, the corners of the eyes and the base of the nose. dlib is
under the Boost licence. The two files that it needs are in the public domain (CC0). Their
author learned the points from 7,198 photographs of the internet, the turned faces from
ImageNet, AFLW, Pascal VOC, VGG Face, WIDER and FaceScrub, and marked them himself. dlib's
68-point file is not used: its photographs exclude commercial use.
"""

import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.decoding import Item, open_image
from onelook.data.inputs.images import ImageInput
from onelook.errors import UnfitError
from onelook.extras import file_of_extra, import_extra
from onelook.recipe import ImageSettings

Photograph = NDArray[np.uint8]

PACKAGE = "face_recognition_models"
POINTS_FILE = "models/shape_predictor_5_face_landmarks.dat"
TURNED_FILE = "models/mmod_human_face_detector.dat"
# Side of the detectors' window, in pixels.
WINDOW = 80
# Smallest faces looked for, one size after the other, as shares of the shorter side; a
# turned face is looked for last.
SMALLEST_SHARES = (1 / 3, 1 / 6, 1 / 12)
SMALLEST_TURNED_SHARE = 1 / 4
# Margin around an aligned face, as a share of its size, as dlib's network expects it.
PADDING = 0.25
# Side of the box used where no face is found, as a share of the shorter side: the usual
# size of a face in LFW.
MIDDLE_SHARE = 0.42

_of_thread = threading.local()


class Face(NamedTuple):
    """A face in pixels; ``score`` is 0 at the threshold of the detector, 1 if clear."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


def detect(
    photograph: Photograph, smallest: float = WINDOW, turned: bool = False
) -> list[Face]:
    """The faces of a photograph (H, W, 3) uint8, RGB, upright; the surest first.

    Half of the side ``smallest`` takes four times as long; 250 x 250 pixels take 7 ms at
    the default. With ``turned``, a convolutional network looks for faces in profile too,
    for 60 times the time.

    Reference:
        Dalal, Triggs. Histograms of Oriented Gradients for Human Detection. CVPR 2005.
        King. Max-Margin Object Detection. 2015.
    """
    zoom = WINDOW / smallest
    size = [max(1, round(side * zoom)) for side in photograph.shape[1::-1]]
    image = Image.fromarray(np.ascontiguousarray(photograph))
    zoomed = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR))
    if turned:
        found = [(face.rect, face.confidence) for face in _turned_detector()(zoomed)]
    else:
        boxes, scores, _ = _detector().run(zoomed, 0, 0.0)
        found = list(zip(boxes, scores, strict=True))
    faces = []
    for box, score in found:
        edges = (box.left(), box.top(), box.right(), box.bottom())
        faces.append(Face._make([*(edge / zoom for edge in edges), score]))
    return sorted(faces, key=lambda face: -face.score)


def main_face(photograph: Photograph) -> Face | None:
    """The face that a photograph (H, W, 3) is of, large and near its middle, or None.

    Large faces are looked for first, smaller ones only where none is found, and turned ones
    at the end. Among several the main one has the largest area less twice the squared
    distance from the middle, a rule of FaceNet's re-implementation by Sandberg.
    """
    height, width = photograph.shape[:2]

    def rank(face: Face) -> float:
        aside = (face.left + face.right - width) / 2
        above = (face.top + face.bottom - height) / 2
        area = (face.right - face.left) * (face.bottom - face.top)
        return float(area - 2 * (aside**2 + above**2))

    looks = [(share, False) for share in SMALLEST_SHARES] + [(SMALLEST_TURNED_SHARE, True)]
    for share, turned in looks:
        faces = detect(photograph, share * min(height, width), turned)
        if faces:
            return max(faces, key=rank)
    return None


def align(photograph: Photograph, face: Face, size: int = 150) -> NDArray[np.uint8]:
    """The face (size, size, 3) turned upright, its eyes and nose at fixed places.

    Reference:
        Kazemi, Sullivan. One Millisecond Face Alignment with an Ensemble of Regression
        Trees. CVPR 2014.
    """
    photograph = np.ascontiguousarray(photograph)
    box = _dlib().rectangle(*(round(edge) for edge in face[:4]))
    points = _points()(photograph, box)
    aligned: NDArray[np.uint8] = _dlib().get_face_chip(photograph, points, size, PADDING)
    return aligned


@dataclass(frozen=True)
class FaceInput(ImageInput):
    """The main face of a photograph, aligned, as the pixels that a network sees.

    Args:
        settings: Size and normalisation; square, RGB and without a crop of its own.
        without_face: ``"refuse"`` a photograph in which no face is found, or take its
            ``"middle"``, where the face is known to be; ``replaced`` are such photographs.
        share: Side of the square that the network sees, as a share of the aligned face's.
        above: How far the middle of that square lies above the middle of the aligned face,
            as a share of its side.
    """

    without_face: Literal["refuse", "middle"] = "refuse"
    share: float = 1.0
    above: float = 0.0
    replaced: list[str] = field(default_factory=list, compare=False)

    kind: ClassVar[str] = "face"

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = self.settings
        if settings.height != settings.width or settings.channels != 3 or settings.crop:
            raise ValueError(
                "an aligned face is square, RGB and not cropped: set height = width, "
                f"channels = 3 and crop = 0, got {settings.height} x {settings.width}, "
                f"{settings.channels} and {settings.crop}"
            )
        # A package that is missing is no damage of the first photograph.
        _dlib(), _points()

    @property
    def subject(self) -> str:
        return "face"

    def _load(self, item: Item, name: str) -> NDArray[np.uint8]:
        image = open_image(item, name)
        photograph = np.asarray(image.convert("RGB"))
        face = main_face(photograph)
        if face is None:
            if self.without_face == "refuse":
                raise UnfitError(
                    f"{name}: no face was found; take a photograph with a face that "
                    "is upright and fills a tenth of the shorter side or more"
                )
            self.replaced.append(name)
            face = _middle(photograph)
        return self.load_face(photograph, face)

    def load_face(self, photograph: Photograph, face: Face) -> NDArray[np.uint8]:
        """Pixels (3, size, size) of one face of a photograph (H, W, 3)."""
        if (self.share, self.above) == (1.0, 0.0):
            aligned = align(photograph, face, self.settings.height)
        else:
            aligned = _part(align(photograph, face), self.share, self.above)
            size = self.settings.width, self.settings.height
            image = Image.fromarray(aligned).resize(size, Image.Resampling.BILINEAR)
            aligned = np.asarray(image)
        return np.ascontiguousarray(aligned.transpose(2, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        framed = {"share": self.share, "above": self.above}
        own = framed if (self.share, self.above) != (1.0, 0.0) else {}
        return {**super().to_dict(), "without_face": self.without_face, **own}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "FaceInput":
        values = {key: value for key, value in content.items() if key != "kind"}
        known = {"without_face", "share", "above"} & values.keys()
        own = {key: values.pop(key) for key in known}
        return cls(ImageSettings(**values), **own)


def _part(face: NDArray[np.uint8], share: float, above: float) -> NDArray[np.uint8]:
    """A square of the aligned face; beyond its rim the rim goes on."""
    size = len(face)
    side = round(share * size)
    top, left = round((size - side) / 2 - above * size), round((size - side) / 2)
    rim = max(0, -top, -left, top + side - size, left + side - size)
    wide = np.pad(face, ((rim, rim), (rim, rim), (0, 0)), mode="edge")
    return wide[rim + top : rim + top + side, rim + left : rim + left + side]


def _middle(photograph: Photograph) -> Face:
    y, x = photograph.shape[0] / 2, photograph.shape[1] / 2
    half = MIDDLE_SHARE * min(x, y)
    return Face(x - half, y - half, x + half, y + half, score=0.0)


def _dlib() -> Any:
    return import_extra("dlib", "faces")


def _detector() -> Any:
    """dlib's detector, one a thread: it keeps the photograph that it works on."""
    if not hasattr(_of_thread, "detector"):
        _of_thread.detector = _dlib().get_frontal_face_detector()
    return _of_thread.detector


def _turned_detector() -> Any:
    if not hasattr(_of_thread, "turned_detector"):
        path = str(file_of_extra(PACKAGE, TURNED_FILE, "faces"))
        _of_thread.turned_detector = _dlib().cnn_face_detection_model_v1(path)
    return _of_thread.turned_detector


@cache
def _points() -> Any:
    return _dlib().shape_predictor(str(file_of_extra(PACKAGE, POINTS_FILE, "faces")))
