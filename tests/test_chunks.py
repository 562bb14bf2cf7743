"""Budgets of memory: what is allowed where, and the loop over what fits."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmixed.chunks import Budget, allow, allowed, at_once, chunks

SMALL = st.integers(0, 200)


@given(SMALL, SMALL, SMALL)
def test_chunks_cover_every_item_once_in_order_and_hold_what_fits(n, width, numbers):
    pieces = list(chunks(n, width, numbers))

    np.testing.assert_array_equal(np.concatenate([np.arange(n)[piece] for piece in pieces] or [[]]), np.arange(n))
    for piece in pieces:
        assert 1 <= piece.stop - piece.start <= at_once(width, numbers)
        assert piece.stop - piece.start == 1 or (piece.stop - piece.start) * width <= numbers
    assert len({piece.stop - piece.start for piece in pieces[:-1]}) <= 1


def test_a_budget_holds_within_its_block_alone():
    usual = allowed()
    with allow(working=7) as outer:
        assert outer == allowed() == Budget(working=7)
        with allow(stored=0):
            assert allowed() == Budget(working=7, stored=0)
        assert allowed() == outer
        with pytest.raises(ZeroDivisionError), allow(working=1):
            _ = 1 / 0
        assert allowed() == outer
    assert allowed() == usual == Budget()


def test_a_budget_is_of_its_own_thread():
    with allow(working=7), ThreadPoolExecutor(1) as pool:
        assert pool.submit(allowed).result() == Budget()
        assert pool.submit(lambda: allow(working=3).__enter__().working).result() == 3
        assert allowed().working == 7


def test_a_name_that_is_no_budget_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrking'"), allow(wrking=1):
        pass


PAGES = """
import resource
import bayesmixed as bm

df = bm.datasets.load_sleepstudy()
est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0)

def use():
    est.fit(df).predict_interval(df)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(3):
    use()
before = faults()
for _ in range(5):
    use()
print((faults() - before) / 5)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this threshold")
def test_a_process_of_small_fits_keeps_its_pages():
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    run = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, env=usual)

    assert float(run.stdout) < 200  # thousands without the array that `chunks` frees
