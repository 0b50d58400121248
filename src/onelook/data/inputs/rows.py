"""Which row of a store holds which item."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onelook.errors import DataError


def find_rows(
    addresses: Sequence[str], row_of: Mapping[str, int], bad: Iterable[tuple[str, str]]
) -> NDArray[np.int64]:
    """The row (N,) of each address.

    Raises:
        DataError: If one is not in the store, or is among ``bad``: then with its reason.
    """
    try:
        return np.fromiter(
            (row_of[address] for address in addresses), np.int64, len(addresses)
        )
    except KeyError as error:
        address = error.args[0]
        reason = dict(bad).get(address, "not among the prepared items")
        raise DataError(f"{address}: {reason}") from None
