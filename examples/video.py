"""Name what a film or a camera shows, frame by frame, and print only what changes.

    onelook enroll people/ --gallery people.db --model dlib-faces
    python examples/video.py film.mp4 --gallery people.db
    python examples/video.py 0 --gallery people.db      # the first camera

Frames are arrays, so any source of arrays will do. Pillow reads GIF, animated WebP and
TIFF; films and cameras need OpenCV: pip install opencv-python-headless
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

import onelook

Frame = NDArray[np.uint8]  # (H, W, 3), RGB
OF_PILLOW = {".gif", ".webp", ".tif", ".tiff", ".png"}


def frames_of(source: str) -> Iterator[Frame]:
    """The frames of a file, or of the camera of that number."""
    if Path(source).suffix.lower() in OF_PILLOW:
        with Image.open(source) as film:
            for frame in ImageSequence.Iterator(film):
                yield np.asarray(frame.convert("RGB"))
        return
    try:
        import cv2
    except ImportError:
        raise SystemExit(
            f"{source}: needs OpenCV: pip install opencv-python-headless"
        ) from None
    film = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not film.isOpened():
        raise SystemExit(f"{source}: no such film or camera")
    while (read := film.read())[0]:
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


def names_in(gallery: onelook.Gallery, frames: Iterable[Frame]) -> Iterator[str]:
    """What each frame shows: a name, "unknown", "unsure", or why there is no answer."""
    for frame in frames:
        try:
            answer = gallery.identify(frame)
        except onelook.DataError as error:  # no face in it, or nothing drawn
            yield f"no answer: {str(error).removeprefix('image 1: ')}"
            continue
        yield answer.identity or answer.verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="a film, or the number of a camera")
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--every", type=int, default=1, help="look at each N-th frame")
    given = parser.parse_args()
    gallery = onelook.Gallery.open(given.gallery)
    frames = islice(frames_of(given.source), 0, None, given.every)
    numbered = enumerate(names_in(gallery, frames))
    for name, run in groupby(numbered, key=lambda one: one[1]):
        first, _ = next(run)
        print(f"frame {first * given.every}: {name}", flush=True)


if __name__ == "__main__":
    main()
