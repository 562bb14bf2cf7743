import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from bayesmixed.keyed_random import cell_uniforms, normals, row_uniforms, uniforms


def test_same_key_same_numbers_in_another_process():
    code = (
        "from bayesmixed.keyed_random import normals; print(repr(normals((3, 'effect', 'g', 'i:308'), (4,)).tolist()))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert eval(printed) == normals((3, "effect", "g", "i:308"), (4,)).tolist()


def test_numbers_are_pinned():
    # Philox's raw stream and BLAKE2b are stable: a change here would change every stored prediction
    expected = [0.90839664, 0.20602942, 0.69759267]

    np.testing.assert_allclose(uniforms((0, "pinned"), (3,)), expected, atol=1e-8)


def test_every_part_of_the_key_matters():
    keys = [(0, "a", "b"), (1, "a", "b"), (0, "c", "b"), (0, "a", "c"), (0, "ab", ""), (0, "a", "b", "")]
    firsts = {uniforms(key, (1,))[0] for key in keys}

    assert len(firsts) == len(keys)


def test_asking_for_more_does_not_change_the_first():
    np.testing.assert_array_equal(uniforms((0, "a"), (3,)), uniforms((0, "a"), (1000,))[:3])


def test_rows_do_not_depend_on_the_batch():
    for width in (1, 3, 4, 7):
        whole = row_uniforms((5, "noise"), 0, 50, width)

        assert whole.shape == (50, width)
        np.testing.assert_array_equal(row_uniforms((5, "noise"), 20, 31, width), whole[20:31])


def test_numbers_are_uniform_and_independent_between_keys():
    draws = np.array([uniforms((0, "level", str(label)), (200,)) for label in range(200)])

    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(draws[:, 0], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.25
    assert stats.kstest(normals((0, "n"), (5000,)), "norm").pvalue > 1e-3
    assert 0 < draws.min() < draws.max() < 1


@pytest.mark.parametrize(("width", "count"), [(12, 1), (12, 3), (7, 2), (1, 1), (40, 5)])
def test_runs_of_a_table_are_those_of_its_rows(width, count):
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 9, 30), rng.integers(0, width - count + 1, 30)
    table = row_uniforms((3, "a"), 0, 9, width)
    expected = [table[row, column : column + count] for row, column in zip(rows, columns, strict=True)]

    np.testing.assert_array_equal(cell_uniforms((3, "a"), rows, columns, count, width), expected)
