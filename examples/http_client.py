"""Enroll and identify through the service: python examples/http_client.py ENROLL PROBE.

Start the service first, with a gallery: onelook serve --gallery gallery.db
Needs httpx; any client that sends multipart/form-data will do.
"""

import argparse
from pathlib import Path
from typing import Any

import httpx


class Client:
    """The requests that most programs need; errors of the service become exceptions."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def enroll(self, identity: str, images: list[Path]) -> dict[str, Any]:
        """Enroll images; they are durable when this returns how many are "new"."""
        files = [("images", (path.name, path.read_bytes())) for path in images]
        return self._post("/v1/enroll", files, {"identity": identity})

    def identify(self, image: Path) -> dict[str, Any]:
        """Who an image shows: "identity" is None if unknown, "matches" are best first."""
        return self._post("/v1/identify", [("image", (image.name, image.read_bytes()))])

    def _post(self, path: str, files: Any, fields: Any = None) -> dict[str, Any]:
        response = self.http.post(path, files=files, data=fields)
        answer: dict[str, Any] = response.json()
        if response.is_error:
            raise RuntimeError(f"{response.status_code}: {answer['error']}")
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("enroll", type=Path, help="an image to enroll, under its file name")
    parser.add_argument("probe", type=Path, help="an image to identify")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token", default="", help="see onelook token")
    options = parser.parse_args()
    client = Client(options.url, options.token)
    print(client.enroll(options.enroll.stem, [options.enroll]))
    answer = client.identify(options.probe)
    print(answer["verdict"], answer["identity"], answer["matches"][0]["score"])


if __name__ == "__main__":
    main()
