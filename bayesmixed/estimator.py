"""`MixedModelRegressor`: the scikit-learn contract and the order of the steps; no maths."""

from __future__ import annotations

from copy import copy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from bayesmixed import prediction, sampling
from bayesmixed.checks import check_rank, check_residuals, check_response
from bayesmixed.design import Design, DesignSpec
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.families import Family, get_family
from bayesmixed.formula import parse
from bayesmixed.frames import kind_of, read_response, row_labels
from bayesmixed.grouping import GROUP_PRIORS, resolve_group_prior
from bayesmixed.posterior import check_columns, check_names, container, group_effects
from bayesmixed.priors import Priors, resolve_priors
from bayesmixed.pymc_model import build_model
from bayesmixed.sampling.nuts import BACKENDS

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr


class MixedModelRegressor(RegressorMixin, BaseEstimator):
    r"""Bayesian linear mixed model.

    .. math:: y_i \sim N(\alpha + x_i'\beta + \sum_f z_{fi}' b_{f,g_f(i)}, \sigma^2), \qquad
              b_{f,j} \sim N(0, \Sigma_f)

    Parameters
    ----------
    formula : str, optional
        ``"Days + (Days | Subject)"`` or ``"Reaction ~ Days + (Days | Subject)"``, as in lme4 and brms. Needs X
        to be a DataFrame. None: Bayesian linear regression on all columns of X.
    family : {"gaussian"}, default="gaussian"
        Distribution of the response.
    link : {"identity"}, optional
        None: the family's usual link.
    group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
        Whether the effects of a bar ``|`` may correlate. ``||`` in the formula always means independent.
    lkj_eta : float or dict by factor, default=2.0
        Shape of the LKJ prior of correlations; 1 is uniform over correlation matrices.
    priors : dict or Priors, optional
        Overrides of the data-scaled defaults, on the user's scale: see `priors_`.
    sampler : {"auto", "collapsed", "nuts"}, default="auto"
        How to draw from the posterior. "collapsed" integrates all effects out and needs no compiler; it takes
        Normal priors of the common effects, up to 21 standard deviations and correlations, and crossed factors of
        which all but the largest have up to 2,500 effects together; else it raises. "auto" is "collapsed" where that
        can be, else NUTS: `diagnostics_` says which and why.
    draws : int, default=1000
        Kept draws per chain.
    chains : int, default=4
        Number of chains.
    tune : int, default=1000
        Warm-up draws per chain (NUTS).
    target_accept : float, default=0.9
        In (0, 1): higher means smaller steps (NUTS).
    cores : int, optional
        Processes (NUTS). None: as chains and processors allow, 1 inside a joblib worker.
    nuts_backend : {"pymc", "nutpie", "numpyro", "blackjax"}, optional
        None: nutpie when installed, else pymc.
    new_groups : {"sample", "donor", "zero", "nan", "error"} or dict by factor, default="sample"
        Effect of a level that was not seen in fit: drawn from the fitted population; that of a fitted level
        picked at random; 0, the average group; NaN; an error.
    random_state : int, RandomState or None, default=None
        Makes fits and predictions reproducible.
    progressbar : bool, default=False
        Whether to show the sampler's progress, once it takes more than a second.

    Attributes
    ----------
    idata_ : arviz.InferenceData or xarray.DataTree
        The labelled posterior, assembled on first access.
    coef_ : numpy.ndarray of shape (p,)
        Posterior means of the common effects.
    intercept_ : float
        Posterior mean of the intercept at X = 0; 0.0 in a model without intercept.
    priors_ : Priors
        Every prior of the model; ``priors=est.priors_`` fits the same model to other data.
    design_spec_ : DesignSpec
        What was learned from formula and data.
    diagnostics_ : dict
        Sampler and why, convergence, divergences, seconds per step.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        All columns of X in fit, when their names are strings.

    Notes
    -----
    The residual sd is kept above 1e-6 sd(y), so that even data without scatter have a posterior.

    References
    ----------
    Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, Cambridge.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0)
    >>> est.fit(df, df["Reaction"]).predict(df.head(2))  # doctest: +SKIP
    array([253.7, 273.4])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "formula": [str, None],
        "family": [str],
        "link": [str, None],
        "group_prior": [StrOptions(set(GROUP_PRIORS)), dict],
        "lkj_eta": [Interval(Real, 0, None, closed="neither"), dict],
        "priors": [dict, Priors, None],
        "sampler": [StrOptions(set(sampling.SAMPLERS))],
        "draws": [Interval(Integral, 1, None, closed="left")],
        "chains": [Interval(Integral, 1, None, closed="left")],
        "tune": [Interval(Integral, 0, None, closed="left")],
        "target_accept": [Interval(Real, 0, 1, closed="neither")],
        "cores": [Interval(Integral, 1, None, closed="left"), None],
        "nuts_backend": [StrOptions(set(BACKENDS)), None],
        "new_groups": [StrOptions(set(prediction.MODES)), dict],
        "random_state": ["random_state"],
        "progressbar": ["boolean"],
    }

    def __init__(
        self,
        formula: str | None = None,
        *,
        family: str = "gaussian",
        link: str | None = None,
        group_prior: str | dict[str, str] = "lkj",
        lkj_eta: float | dict[str, float] = 2.0,
        priors: dict[str, Any] | Priors | None = None,
        sampler: str = "auto",
        draws: int = 1000,
        chains: int = 4,
        tune: int = 1000,
        target_accept: float = 0.9,
        cores: int | None = None,
        nuts_backend: str | None = None,
        new_groups: str | dict[str, str] = "sample",
        random_state: Any = None,
        progressbar: bool = False,
    ) -> None:
        self.formula = formula
        self.family = family
        self.link = link
        self.group_prior = group_prior
        self.lkj_eta = lkj_eta
        self.priors = priors
        self.sampler = sampler
        self.draws = draws
        self.chains = chains
        self.tune = tune
        self.target_accept = target_accept
        self.cores = cores
        self.nuts_backend = nuts_backend
        self.new_groups = new_groups
        self.random_state = random_state
        self.progressbar = progressbar

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MixedModelRegressor:
        """Draw from the posterior.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            With a formula, a DataFrame that has the formula's columns, grouping factors included.
        y : array-like of shape (n,), optional
            The response; with a two-sided formula None takes the left-hand column of X.
        sample_weight : array-like of shape (n,), optional
            Frequency weights: weight 2 equals the row twice, weight 0 no row.

        Returns
        -------
        self

        Raises
        ------
        FormulaError
            The formula cannot be read or does not fit the columns.
        ValueError
            Missing or infinite values (with column and number), a response that is constant or not numeric.
        SamplerError
            ``sampler="collapsed"`` and a model that is not for it.

        Warns
        -----
        ConvergenceWarning
            When the draws are not trustworthy yet, with causes and remedies.
        """
        spec, design, obs, family = self._learn(X, y, sample_weight, reset=True)
        priors = resolve_priors(design, family, self.priors, self.lkj_eta)
        prediction.resolve_modes(self.new_groups, spec)  # a wrong one is refused before the work
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        draws = sampling.sample(
            design,
            family,
            priors,
            sampler=self.sampler,
            draws=self.draws,
            chains=self.chains,
            tune=self.tune,
            target_accept=self.target_accept,
            cores=self.cores,
            backend=self.nuts_backend,
            seed=seed,
            progressbar=self.progressbar,
        )
        self.design_spec_ = spec
        self.priors_ = priors
        self.diagnostics_ = draws.diagnostics
        self.coef_ = draws.mean("beta") if design.common_names else np.empty(0)
        self.intercept_ = float(draws.mean("Intercept")) if design.has_intercept else 0.0
        self._posterior = prediction.Posterior(draws, spec, family, seed)
        self._observed = (np.asarray(design.y), obs)
        self._idata: Any = None
        return self

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        include_groups: bool | list[str] = True,
        new_groups: str | dict[str, str] | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior mean of the response.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            With a formula, only the formula's columns are needed, in any order.
        return_std : bool, default=False
            Also return the predictive standard deviation.
        include_groups : bool or list of str, default=True
            Grouping factors whose effects enter; the columns of the others need not be in X.
        new_groups : str or dict by factor, optional
            Overrides the constructor's `new_groups`.

        Returns
        -------
        mean : numpy.ndarray of shape (n,)
            Without Monte Carlo noise for new groups: their effect is 0 on average.
        std : numpy.ndarray of shape (n,)
            If `return_std`: residual noise, uncertainty of the parameters and, for new groups, the spread
            of the population.

        Raises
        ------
        NewGroupError
            New levels, under ``new_groups="error"``.
        """
        design, modes = self._new_design(X, include_groups, new_groups)
        mean = prediction.mean(self._posterior, design, modes)
        return (mean, prediction.standard_deviation(self._posterior, design, modes)) if return_std else mean

    def predict_draws(
        self,
        X: Any,
        kind: str = "response",
        n_draws: int | None = None,
        include_groups: bool | list[str] = True,
        new_groups: str | dict[str, str] | None = None,
    ) -> xr.DataArray:
        """Posterior draws for each row.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        kind : {"response", "mean", "linear"}, default="response"
            A new observation; its mean; the linear predictor.
        n_draws : int, optional
            Total number of draws, evenly thinned over the chains (a multiple of their number). Default: all.
        include_groups, new_groups
            As in `predict`. A new level's draws depend only on the fit's seed, factor and label. Missing
            labels, and the noise of ``kind="response"``, depend on the row's position in X.

        Returns
        -------
        xarray.DataArray of dims (chain, draw, obs)
            ``obs`` is the frame's index, else 0 to n - 1.

        Raises
        ------
        ValueError
            An unknown `kind`; an `n_draws` that the chains cannot share evenly.
        NewGroupError
            New levels, under ``new_groups="error"``.
        """
        import xarray as xr  # noqa: PLC0415 - not needed by the other predictions

        if kind not in prediction.KINDS:
            raise ValueError(f"kind must be one of {quoted(prediction.KINDS)}, got {kind!r}.")
        design, modes = self._new_design(X, include_groups, new_groups)
        chains, per_chain = self._posterior.draws.shape
        within = prediction.thin((chains, per_chain), n_draws)
        keep = (np.arange(chains)[:, None] * per_chain + within).ravel()
        values = prediction.draw(self._posterior, design, modes, kind, keep)
        coords = {"chain": np.arange(chains), "draw": within, "obs": row_labels(X)}
        return xr.DataArray(values.reshape(chains, len(within), -1), coords, ("chain", "draw", "obs"), name=kind)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of `predict`.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        y : array-like of shape (n,), optional
            With a two-sided formula None takes the left-hand column of X.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float
            1 is perfect; 0 is as good as the mean of `y`.
        """
        check_is_fitted(self)
        y = read_response(X, y, self.design_spec_.response, type(self).__name__)
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    def build_model(self, X: Any, y: Any = None, sample_weight: Any = None) -> pm.Model:
        """Write the model in PyMC, for reading, plotting and extending; no fit is needed.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        pymc.Model
            Variables and dims named as in `idata_`, on the user's scale.
        """
        self._validate_params()
        _, design, obs, family = self._learn(X, y, sample_weight, reset=None)
        return build_model(design, family, resolve_priors(design, family, self.priors, self.lkj_eta), obs)

    def draw_group_effects(self, factor: str, levels: Any = None) -> xr.DataArray:
        """Posterior draws of group effects, those too many to be stored in `idata_` included.

        Parameters
        ----------
        factor : str
            A grouping factor.
        levels : list of labels, optional
            As in the coordinate of the factor. Default: all, which may fill the memory.

        Returns
        -------
        xarray.DataArray of dims (chain, draw, <factor>, <factor>_effect)
            The same numbers at every call, whichever levels are asked for together.

        Raises
        ------
        ValueError
            An unknown factor or level.
        """
        check_is_fitted(self)
        return group_effects(self._posterior.draws, self.design_spec_, factor, levels)

    @property
    def idata_(self) -> Any:
        """The posterior as ArviZ's container: InferenceData with ArviZ 0.x, DataTree with 1.x."""
        check_is_fitted(self)
        if self._idata is None:
            posterior = self._posterior
            self._idata = container(posterior.draws, posterior.spec, posterior.family.auxiliary, *self._observed)
        return self._idata

    def _learn(
        self, X: Any, y: Any, sample_weight: Any, reset: bool | None
    ) -> tuple[DesignSpec, Design, np.ndarray, Family]:
        """Check the data and learn the design from the rows that count."""
        family = get_family(self.family, self.link)
        parsed = None if self.formula is None else parse(self.formula)
        frame = self._frame(X, parsed is not None, reset)
        if parsed is None and (name := _name(y)) in list(frame.columns):
            raise FormulaError(f"X has a column {name!r}, the name of y: the response would predict itself. Drop it.")
        y = read_response(X, y, None if parsed is None else parsed.response, type(self).__name__)
        obs, weights, counts = row_labels(X), None, None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True)
            counts = weights > 0
            weights, obs = weights[counts], obs[counts]
        y = check_response(y, len(frame), counts)
        frame = frame if counts is None else frame.loc[counts]
        if parsed is None:
            resolve_group_prior(self.group_prior, ())
            spec, design = DesignSpec.plain(frame, y, weights)
        else:
            check_columns(parsed.columns)
            spec, design = DesignSpec.learn(parsed, frame, group_prior=self.group_prior, y=y, weights=weights)
            check_names(spec, family.auxiliary)
            check_rank(design)
        check_residuals(design, refuse=parsed is not None)
        return spec, design, obs, family

    def _new_design(
        self, X: Any, include_groups: bool | list[str], new_groups: str | dict[str, str] | None
    ) -> tuple[Design, dict[str, str]]:
        """Apply the learned design to new data, under the modes for new groups."""
        check_is_fitted(self)
        spec = self.design_spec_
        modes = prediction.resolve_modes(self.new_groups, spec, new_groups)
        factors = prediction.included_factors(spec, include_groups)
        frame = self._frame(X, spec.formula is not None, reset=False)
        design = spec.apply(frame, factors)
        prediction.check_new_levels(design, modes, frame, spec)
        return design, modes

    def _frame(self, X: Any, has_formula: bool, reset: bool | None) -> pd.DataFrame:
        """X as a DataFrame, its columns checked as scikit-learn checks them; `reset` None keeps no record."""
        if has_formula:
            if not isinstance(X, pd.DataFrame):
                raise FormulaError(
                    f"the formula needs named columns, but X is {kind_of(X)}. In a Pipeline, call "
                    'pipe.set_output(transform="pandas").'
                )
            if reset:
                if all(isinstance(name, str) for name in X.columns):
                    _check_feature_names(self, X, reset=True)
                _check_n_features(self, X, reset=True)
            return X
        names: list[Any] = []
        if isinstance(X, pd.DataFrame):
            numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in X.dtypes]
            if not all(numeric):
                text = quoted(X.columns[~np.array(numeric)])
                raise FormulaError(f"columns {text} of X are not numeric; write a formula that says how to use them.")
            names = list(X.columns)
        rules = {"dtype": np.float64, "ensure_all_finite": False}  # `read_columns` counts NaN by column
        X = check_array(X, **rules) if reset is None else validate_data(self, X, reset=reset, **rules)
        if reset is False:  # scikit-learn compared the names, or warned; the columns are those of fit, in order
            names = list(self.design_spec_.common_names)
        elif not names or not all(isinstance(name, str) for name in names):
            names = [f"x{i}" for i in range(X.shape[1])]
        return pd.DataFrame(X, columns=names)

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        """Show the fitted attributes without assembling the posterior: scikit-learn's HTML reads them all."""
        shown = copy(self)
        if hasattr(self, "_posterior"):
            shown._idata = "assembled on first access"
        return super(MixedModelRegressor, shown)._get_fitted_attr_html(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # the container is assembled again on demand
        return {name: None if name == "_idata" else value for name, value in super().__getstate__().items()}


def _name(y: Any) -> Any:
    """The name of a Series, or of the column of a one-column frame; else None."""
    return y.columns[0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else getattr(y, "name", None)
