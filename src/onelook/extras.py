"""What an extra of onelook installs: packages, and the files inside them."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from onelook.errors import MissingExtraError


def import_extra(package: str, extra: str, purpose: str = "") -> ModuleType:
    """The package, or a module in it; an error names the extra, and what needs it."""
    try:
        importlib.import_module(package.partition(".")[0])
        return importlib.import_module(package)
    # A package built for another version of its base can fail with any of the three.
    except (ImportError, RuntimeError, OSError) as error:
        raise _missing(package, extra, purpose) from error


def file_of_extra(package: str, name: str, extra: str) -> Path:
    """The file ``name`` in the folder of an installed package, which is not imported.

    Some packages of nothing but files need ``pkg_resources`` to be imported, which newer
    Pythons no longer bring.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # sys.modules says that there is no such package
        spec = None
    for folder in (spec and spec.submodule_search_locations) or []:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise _missing(f"{package}/{name}", extra)


def _missing(what: str, extra: str, purpose: str = "") -> MissingExtraError:
    needs = f"{purpose} needs {what}, which" if purpose else what
    return MissingExtraError(f"{needs} is not installed: pip install 'onelook[{extra}]'")
