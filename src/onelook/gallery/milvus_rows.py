"""An entry as a row of a Milvus collection, and back; the collections' columns."""

import base64
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from onelook.errors import GalleryError
from onelook.extras import import_extra
from onelook.gallery.store import FORMAT, Entry, Floats, Header, Hit, Stored, digest_of

# Bytes that Milvus keeps, in UTF-8.
LIMITS = {"identity": 1024, "digest": 1024, "metadata": 65_535, "thumbnail": 65_535}
NEAR = {"cosine": "COSINE", "euclidean": "L2", "manhattan": "L2"}
WHOLE = ["id", "identity", "digest", "metadata", "thumbnail", "vector"]


def schema_of(client: Any, header: Header) -> Any:
    """Columns of a gallery, with its header as their description."""
    kind = import_extra("pymilvus", "milvus").DataType
    schema = client.create_schema(
        auto_id=False,
        enable_dynamic_field=False,
        description=json.dumps({"onelook": FORMAT} | asdict(header)),
    )
    schema.add_field("id", kind.INT64, is_primary=True)
    # Hashes of the name, and of name and image: no name is ever part of an expression.
    schema.add_field("who", kind.VARCHAR, max_length=64)
    schema.add_field("key", kind.VARCHAR, max_length=64)
    # Microseconds since 1970 on the writer's clock; readers ask for what is newer.
    schema.add_field("written", kind.INT64)
    for name, most in LIMITS.items():
        schema.add_field(name, kind.VARCHAR, max_length=most)
    schema.add_field("vector", kind.FLOAT_VECTOR, dim=header.embedding_size)
    return schema


def schema_of_ids(client: Any) -> Any:
    """Columns of a collection whose rows get ids from the server, each only once."""
    kind = import_extra("pymilvus", "milvus").DataType
    schema = client.create_schema(auto_id=True, enable_dynamic_field=False)
    schema.add_field("id", kind.INT64, is_primary=True)
    schema.add_field("nothing", kind.FLOAT_VECTOR, dim=2)
    return schema


def schema_of_settings(client: Any) -> Any:
    """Columns of a collection whose rows are parts of what a gallery keeps by name."""
    kind = import_extra("pymilvus", "milvus").DataType
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", kind.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("text", kind.VARCHAR, max_length=65_535)
    schema.add_field("vector", kind.FLOAT_VECTOR, dim=2)
    return schema


def parts_of(name: str, value: bytes) -> list[dict[str, Any]]:
    """The rows that keep a value, one at least; Milvus keeps texts of up to 64 kB."""
    text, step = base64.b64encode(value).decode(), 60_000
    return [
        {
            "id": f"{name} {number:06}",
            "text": text[start : start + step],
            "vector": [0.0, 0.0],
        }
        for number, start in enumerate(range(0, max(len(text), 1), step))
    ]


def joined_parts(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """The values that rows keep, by name."""
    texts: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        name = row["id"].rpartition(" ")[0]
        texts[name] = texts.get(name, "") + row["text"]
    return {name: base64.b64decode(text) for name, text in texts.items()}


def row_of(entry: Entry, vector: Floats) -> dict[str, Any]:
    """The columns of an entry, except ``id`` and ``written``."""
    if entry.original is not None:
        raise GalleryError(
            "Milvus keeps texts of up to 64 kB and no original images; use a file or "
            "postgresql://… to keep originals"
        )
    # With a letter before it: "" means no thumbnail, "b" an empty one.
    picture = entry.thumbnail
    text = "" if picture is None else "b" + base64.b64encode(picture).decode()
    row = {
        "identity": entry.identity,
        "digest": entry.digest,
        "metadata": json.dumps(entry.metadata),
        "thumbnail": text,
    }
    for name, most in LIMITS.items():
        if (n_bytes := len(row[name].encode())) > most:
            raise GalleryError(
                f"{name} of {entry.identity[:40]!r} takes {n_bytes} bytes, Milvus "
                f"keeps {most}; shorten it, or use a file or postgresql://…"
            )
    who = digest_of(entry.identity.encode())
    return row | {
        "who": who,
        "key": digest_of(f"{who} {entry.digest}".encode()),
        "vector": vector,
    }


def stored_of(row: dict[str, Any]) -> Stored:
    """The entry that a row keeps."""
    text = row["thumbnail"]
    return Stored(
        identity=row["identity"],
        vector=np.asarray(row["vector"], np.float32),
        digest=row["digest"],
        metadata=json.loads(row["metadata"]),
        thumbnail=base64.b64decode(text[1:]) if text else None,
        id=row["id"],
    )


def hit_of(entry_id: int, row: dict[str, Any]) -> Hit:
    """The hit with this id, of a row with ``identity`` and ``vector``."""
    return Hit(entry_id, row["identity"], np.asarray(row["vector"], np.float32))
