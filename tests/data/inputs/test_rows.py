"""Which row of a store holds which item."""

import pytest

from onelook.data.inputs.rows import find_rows
from onelook.errors import DataError


def test_rows_are_found_in_the_order_asked():
    assert find_rows(["b", "a", "b"], {"a": 0, "b": 7}, []).tolist() == [7, 0, 7]


def test_an_item_that_is_not_there_is_named_with_its_reason():
    with pytest.raises(DataError, match="^c: empty file$"):
        find_rows(["a", "c"], {"a": 0}, [("c", "empty file")])
    with pytest.raises(DataError, match="^d: not among the prepared items$"):
        find_rows(["d"], {"a": 0}, [("c", "empty file")])
