"""What commands print: results to standard output, messages to standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from onelook.errors import CONTROLS

# What is printed may have lines and columns of its own.
_CONTROLS = {code: text for code, text in CONTROLS.items() if chr(code) not in "\n\t"}

LISTED = 10  # images that are named; the others are counted


def print_text(value: Any) -> None:
    """Print a line for people, its control characters escaped."""
    print(str(value).translate(_CONTROLS))


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_either(value: Any, text: str, as_json: bool) -> None:
    print_json(value) if as_json else print_text(text)


def print_result(result: Any, as_json: bool) -> None:
    print_json(result.to_dict()) if as_json else print_text(result)


def print_rows(rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        return print_json(rows)
    width = max(map(len, rows))
    for name, text in rows.items():
        print_text(f"{name:{width}}  {text}")


def say(message: str) -> None:
    print(message.translate(_CONTROLS), file=sys.stderr)


def say_listed(what: str, found: Sequence[tuple[str, str]]) -> None:
    """Name the first images that something befell, with the reasons; count the others."""
    for address, reason in found[:LISTED]:
        say(f"{what} {address}: {reason}")
    if len(found) > LISTED:
        say(f"{what.rstrip(':')} {len(found) - LISTED:,} more (--json names all)")


def fail(message: str) -> NoReturn:
    say(f"error: {message}")
    sys.exit(1)
