"""What an extra of onelook installs: packages, and the files inside them."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from onelook.errors import OnelookError


def import_extra(package: str, extra: str) -> ModuleType:
    """The package, imported now.

    Raises:
        OnelookError: If it is not installed; says which extra brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise _missing(package, extra) from error


def file_of_extra(package: str, name: str, extra: str) -> Path:
    """A file inside an installed package, which is found without importing the package.

    Some packages of nothing but files need ``pkg_resources`` to be imported, which newer
    Pythons no longer bring.

    Args:
        package: Name that one would import.
        name: Of the file, relative to the package.
        extra: Of onelook, which brings the package.

    Raises:
        OnelookError: If the package or the file is not there.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # sys.modules says that there is no such package
        spec = None
    for folder in (spec and spec.submodule_search_locations) or []:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise _missing(f"{package}/{name}", extra)


def _missing(what: str, extra: str) -> OnelookError:
    return OnelookError(f"{what} is not installed: pip install 'onelook[{extra}]'")
