"""The command line: a thin command per verb, which parses, calls the library, prints."""

import sys
from typing import NoReturn

from onelook.cli import (  # noqa: F401  (they add their commands)
    calibrate,
    compare,
    evaluate,
    explain,
    gallery,
    hub,
    review,
    serve,
    train,
)
from onelook.cli.printing import fail
from onelook.cli.shared import app, log
from onelook.errors import OnelookError, one_line


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0, or 1 (error), 2 (bad usage), 130 (Ctrl-C)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        app(arguments, prog_name="onelook", obj=arguments)
    except (OnelookError, ValueError, OSError) as error:
        log.info("where the error came from:", exc_info=True)
        fail(str(error) if isinstance(error, OnelookError) else one_line(error))
    except RecursionError:
        log.info("where the error came from:", exc_info=True)
        fail("something that was read is nested too deeply")
    sys.exit(0)
