"""The only file that distinguishes PyMC 5 from 6 and ArviZ 0.x from 1.x; it loads neither until a function needs it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    import xarray as xr

_SAME = 1e-9  # differences of log densities below this are rounding errors


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")  # finding the libraries takes milliseconds


class _Holders:
    """How many blocks want one thread, and what restores the number of threads when none does any more."""

    lock = Lock()
    count = 0
    limit: Any = None


@contextmanager
def one_blas_thread(wanted: bool = True) -> Iterator[None]:
    """BLAS with one thread, for many products of small matrices: several threads would mostly wait for each other.

    The setting is that of the whole process. It is restored when the last block ends, in whichever threads they run.
    """
    with _Holders.lock:
        if wanted and not _Holders.count:
            _Holders.limit = _blas().limit(limits=1)
        _Holders.count += wanted
    try:
        yield
    finally:
        with _Holders.lock:
            _Holders.count -= wanted
            if wanted and not _Holders.count:
                for library in _blas().lib_controllers:
                    # from threadpoolctl 3.8 on, a library obeys only the thread that has set it
                    getattr(library, "clear_controlling_thread", lambda **_: None)(force=True)
                _Holders.limit.restore_original_limits()


@contextmanager
def imports_uncollected() -> Iterator[None]:
    """Import without collecting garbage: there is hardly any, and looking for it takes as long as importing xarray."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def import_arviz() -> Any:
    """Import ArviZ without its 0.x announcement of a refactoring."""
    with warnings.catch_warnings(), imports_uncollected():
        warnings.filterwarnings("ignore", message="(?s).*ArviZ is undergoing a major refactor", category=FutureWarning)
        import arviz
    return arviz


def import_pymc() -> Any:
    """Import PyMC, after ArviZ."""
    import_arviz()
    with imports_uncollected():
        import pymc

    return pymc


def dataset(container: Any, group: str | None) -> xr.Dataset:
    """One group of an InferenceData (ArviZ 0.x) or DataTree (ArviZ 1.x), or an extracted group, as a Dataset."""
    import xarray as xr

    node = container if group is None else container[group]
    return node if isinstance(node, xr.Dataset) else node.to_dataset()


def container(groups: dict[str, xr.Dataset], attrs: dict[str, Any]) -> Any:
    """Put datasets into ArviZ's container: InferenceData with ArviZ 0.x, xarray's DataTree with ArviZ 1.x."""
    if int(version("arviz").split(".")[0]) == 0:
        return import_arviz().InferenceData(**groups, attrs=attrs)
    import xarray as xr

    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs.update(attrs)
    return tree


def loo(log_likelihood: xr.Dataset, relative_ess: float) -> Any:
    """ArviZ's ELPD result for a pointwise log likelihood (chain, draw, obs), row by row, without its warning of k-hat.

    If a row's density is the same at every draw, its weights have no tail: ArviZ 1.x raises an error, and 0.x reports
    an infinite k-hat. Such rows get a tail of differences too small to show in any printed digit of the result.
    """
    import xarray as xr

    same = log_likelihood.max(("chain", "draw")) - log_likelihood.min(("chain", "draw")) < _SAME
    noise = np.random.default_rng(0).standard_normal([log_likelihood.sizes[name] for name in ("chain", "draw")])
    moved = log_likelihood + same * xr.DataArray(_SAME * noise, dims=("chain", "draw"))
    data = container({"log_likelihood": moved}, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto", category=UserWarning)
        return import_arviz().loo(data, pointwise=True, reff=relative_ess)


def replace_rows(result: Any, rows: np.ndarray, values: np.ndarray, k_hat: np.ndarray) -> None:
    """Put log densities known by other means into a result of `loo`, with the values to show as their k-hat.

    Parameters
    ----------
    result : arviz.ELPDData
    rows : numpy.ndarray of int, shape (k,)
    values, k_hat : numpy.ndarray of shape (k,)
        By ArviZ's convention, k-hat is 0.
    """
    each, total, effective = ("loo_i", "elpd_loo", "p_loo") if "loo_i" in dir(result) else ("elpd_i", "elpd", "p")
    scale = {"log": 1, "negative_log": -1, "deviance": -2}[result.scale]
    pointwise = getattr(result, each).copy(deep=True)
    before, spread = pointwise.values.sum(), pointwise.values.std()
    pointwise[rows] = scale * values
    pareto_k = result.pareto_k.copy(deep=True)
    pareto_k[rows] = k_hat
    found = {each: pointwise, "pareto_k": pareto_k, total: float(pointwise.values.sum())}
    found["se"] = result.se * pointwise.values.std() / spread  # versions differ in the divisor
    found[effective] = getattr(result, effective) - (found[total] - before) / scale
    found["warning"] = bool((pareto_k > result.good_k).any())
    for name, value in found.items():
        setattr(result, name, value)


def run_nuts(model: Any, *, backend: str, target_accept: float, **settings: Any) -> Any:
    """Sample a ``pm.Model`` with the named implementation of NUTS; the same call on PyMC 5 and 6.

    Parameters
    ----------
    model : pymc.Model
    backend : {"pymc", "nutpie", "numpyro", "blackjax"}
    target_accept : float
    **settings
        draws, tune, chains, cores, random_seed, progressbar of ``pymc.sample``.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
    """
    pymc = import_pymc()
    with warnings.catch_warnings():
        # slower linear algebra is no reason to alarm a user who installed with pip
        warnings.filterwarnings("ignore", message="(?s).*could not link to a BLAS", category=UserWarning)
        # numba's remark on the memory layout of PyTensor's own arrays: nothing that a user could change
        warnings.filterwarnings("ignore", message="(?s).*np.dot.. is faster on contiguous arrays")
        # JAX's samplers announce their own internals
        if backend in ("numpyro", "blackjax"):
            warnings.filterwarnings("ignore", category=UserWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
        return pymc.sample(
            model=model,
            nuts_sampler=backend,
            target_accept=target_accept,
            compute_convergence_checks=False,
            quiet=not settings["progressbar"],
            **settings,
        )
