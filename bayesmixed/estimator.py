"""`MixedModelRegressor`: the scikit-learn contract and the order of the steps; no maths."""

from __future__ import annotations

from copy import copy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bayesmixed import new_groups as group_modes
from bayesmixed import prediction, sampling
from bayesmixed.design import Design
from bayesmixed.errors import quoted
from bayesmixed.frames import read_response, row_labels
from bayesmixed.grouping import GROUP_PRIORS
from bayesmixed.inputs import as_frame, learn
from bayesmixed.posterior import container, group_effects
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
        "collapsed" integrates all effects out and needs no compiler. It raises where common effects have priors
        other than Normal, where there are more than 21 group sds and correlations, and where crossed factors beside
        the largest have more than 2,500 effects. "auto" is NUTS there: `diagnostics_` says which and why.
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
        Whether to show the sampler's progress.

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
        "new_groups": [StrOptions(set(group_modes.MODES)), dict],
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
        spec, design, obs, family = learn(self, X, y, sample_weight, reset=True)
        priors = resolve_priors(design, family, self.priors, self.lkj_eta)
        group_modes.resolve_modes(self.new_groups, spec)  # a wrong one is refused before the work
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
        self.coef_ = draws.mean("beta").copy() if design.common_names else np.empty(0)
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
        X, y, sample_weight
            As in `fit`.

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
        _, design, obs, family = learn(self, X, y, sample_weight, reset=None)
        return build_model(design, family, resolve_priors(design, family, self.priors, self.lkj_eta), obs)

    def draw_group_effects(self, factor: str, levels: Any = None) -> xr.DataArray:
        """Posterior draws of group effects, those included that are too many to be stored in `idata_`.

        Parameters
        ----------
        factor : str
        levels : list of labels, optional
            Default: all, which may fill the memory.

        Returns
        -------
        xarray.DataArray of dims (chain, draw, <factor>, <factor>_effect)
            The same numbers at every call, whichever levels are asked for together.
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

    def _new_design(
        self, X: Any, include_groups: bool | list[str], new_groups: str | dict[str, str] | None
    ) -> tuple[Design, dict[str, str]]:
        """Apply the learned design to new data, under the modes for new groups."""
        check_is_fitted(self)
        spec = self.design_spec_
        modes = group_modes.resolve_modes(self.new_groups, spec, new_groups)
        factors = group_modes.included_factors(spec, include_groups)
        frame = as_frame(self, X, spec.formula is not None, reset=False)
        design = spec.apply(frame, factors)
        group_modes.check_new_levels(design, modes, frame, spec)
        return design, modes

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        """Show the fitted attributes without assembling the posterior: scikit-learn's HTML reads them all."""
        shown = copy(self)
        if hasattr(self, "_posterior"):
            shown._idata = "assembled on first access"
        return super(MixedModelRegressor, shown)._get_fitted_attr_html(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:  # the container is assembled again on demand
        return {name: None if name == "_idata" else value for name, value in super().__getstate__().items()}
