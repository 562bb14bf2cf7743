"""Columns without the levels that no row has are those of a formula that was learned without them."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.coding import without_unseen
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse

FORMULAS = [
    "k",
    "0 + k",
    "k*x",
    "k:x",
    "C(k, Sum)",
    "0 + C(k, Sum)",
    "x*C(k, Sum)",
    "k*m",
    "m:k + x",
    "S(k)",
    "offset(x) + k",
    "0 + k:m",
]


def make_frame(there):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "k": pd.Categorical(rng.choice(list(there), 60), list("abcd")),
            "m": pd.Categorical(rng.choice(list("uv"), 60), list("uvw")),
            "x": rng.normal(size=60),
        }
    )


@pytest.mark.parametrize("there", ["abc", "bcd", "acd", "bd", "ad"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_columns_are_those_of_the_levels_that_occur(formula, there):
    frame = make_frame(there)
    parsed = parse(formula)
    table = DesignSpec.table_of(parsed, frame, all_categories=True)
    spec = ColumnsSpec.learn(parsed.common, parsed.variables, table)
    found, A = without_unseen(spec, spec.occurrences(table))
    expected = ColumnsSpec.learn(parsed.common, parsed.variables, DesignSpec.table_of(parsed, frame))

    assert found.names == expected.names
    X, offset = expected.evaluate(table)
    np.testing.assert_allclose(spec.evaluate(table)[0] @ A, X, atol=1e-12)
    np.testing.assert_array_equal(found.evaluate(table)[0], X)
    if offset is not None:
        np.testing.assert_array_equal(found.evaluate(table)[1], offset)


def test_a_single_level_is_refused():
    table = DesignSpec.table_of(parsed := parse("k"), make_frame("b"), all_categories=True)
    spec = ColumnsSpec.learn(parsed.common, parsed.variables, table)
    with pytest.raises(FormulaError, match="'k' has a single level, 'b', in all rows"):
        without_unseen(spec, spec.occurrences(table))
