import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from bayesmixed import Exponential, HalfNormal, HalfStudentT, Normal, PriorError, StudentT
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.priors.defaults import default_priors
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.priors.scaling import Scaling

FAMILY = get_family("gaussian")
DATA = load_sleepstudy()
Y = DATA["Reaction"].to_numpy()


def sleepstudy(formula="Days + (Days | Subject)", frame=DATA, y=Y, **options):
    return DesignSpec.learn(parse(formula), frame, y=y, **options)[1]


@pytest.mark.parametrize(
    "prior", [Normal(1, 2), StudentT(3, 1, 2), HalfNormal(2), HalfStudentT(4, 2), Exponential(0.5)], ids=repr
)
def test_densities_integrate_to_one_over_their_support(prior):
    low = 0 if prior.positive else -np.inf
    total, _ = integrate.quad(lambda x: np.exp(float(prior.log_density(np.array(x)))), low, np.inf)

    assert total == pytest.approx(1, abs=1e-6)
    if prior.positive:
        assert prior.log_density(np.array(-0.1)) == -np.inf


@pytest.mark.parametrize("make", [lambda: Normal(0, 0), lambda: HalfNormal(-1), lambda: Exponential(np.nan)])
def test_a_prior_with_an_impossible_parameter_is_refused(make):
    with pytest.raises(PriorError, match=r"must be (positive|a finite number), got"):
        make()


def test_defaults_of_sleepstudy():
    priors = default_priors(sleepstudy(), FAMILY)
    sd_y, sd_x, mean_x = Y.std(), DATA["Days"].std(ddof=0), 4.5

    assert isinstance(priors.intercept, Normal)
    assert (priors.intercept.mu, priors.intercept.sigma) == pytest.approx((Y.mean(), 2.5 * sd_y))
    assert priors.common["Days"].sigma == pytest.approx(2.5 * sd_y / sd_x)
    assert priors.group_sd["Subject"]["Days"].sigma == pytest.approx(2.5 * sd_y / sd_x)
    assert priors.group_sd["Subject"]["Intercept"].sigma == pytest.approx(2.5 * sd_y)
    assert priors.auxiliary["sigma"] == HalfStudentT(4.0, priors.auxiliary["sigma"].sigma)
    assert priors.auxiliary["sigma"].sigma == pytest.approx(sd_y)
    assert priors.lkj_eta == {"Subject": 2.0}
    assert priors.swept == {"Days": {"Intercept": 4.5}}
    assert priors.group_swept == {"Subject": {"Days": {"Intercept": pytest.approx(4.5)}}}
    independent = default_priors(sleepstudy("Days + (Days || Subject)"), FAMILY)
    assert independent.group_swept == {}
    assert independent.group_sd["Subject"]["Intercept"].sigma == pytest.approx(
        2.5 * sd_y * np.sqrt(1 + (mean_x / sd_x) ** 2)
    )


def test_without_an_intercept_root_mean_squares_replace_sds():
    priors = default_priors(sleepstudy("0 + Days + (0 + Days | Subject)"), FAMILY)
    rms_y, rms_x = np.sqrt(np.mean(Y**2)), np.sqrt(np.mean(DATA["Days"] ** 2))

    assert priors.intercept is None
    assert priors.common["Days"].sigma == pytest.approx(2.5 * rms_y / rms_x)
    assert priors.group_sd["Subject"]["Days"].sigma == pytest.approx(2.5 * rms_y / rms_x)
    assert priors.swept == priors.group_swept == {}
    assert priors.lkj_eta == {}


def test_with_an_offset_the_response_less_the_offset_sets_the_scale():
    frame = DATA.assign(known=100 * DATA["Days"])
    y = Y + frame["known"].to_numpy()
    with_offset = default_priors(sleepstudy("Days + offset(known) + (1 | Subject)", frame, y), FAMILY)
    without = default_priors(sleepstudy("Days + (1 | Subject)"), FAMILY)

    assert with_offset.intercept.mu == pytest.approx(without.intercept.mu)
    assert with_offset.auxiliary["sigma"].sigma == pytest.approx(without.auxiliary["sigma"].sigma)


def test_weights_count_rows():
    weights = np.arange(180) % 3 + 1.0
    repeated = DATA.loc[np.repeat(np.arange(180), weights.astype(int))]
    weighted = default_priors(sleepstudy(weights=weights), FAMILY)
    expected = default_priors(sleepstudy(frame=repeated, y=repeated["Reaction"].to_numpy()), FAMILY)

    assert weighted.intercept.mu == pytest.approx(expected.intercept.mu)
    assert weighted.common["Days"].sigma == pytest.approx(expected.common["Days"].sigma)
    assert weighted.group_sd["Subject"]["Intercept"].sigma == pytest.approx(
        expected.group_sd["Subject"]["Intercept"].sigma
    )


def test_defaults_follow_the_units():
    minutes = DATA.assign(Days=DATA["Days"] * 1440)
    one, other = default_priors(sleepstudy(), FAMILY), default_priors(sleepstudy(frame=minutes, y=Y / 1000), FAMILY)

    assert other.intercept.sigma == pytest.approx(one.intercept.sigma / 1000)
    assert other.common["Days"].sigma == pytest.approx(one.common["Days"].sigma / 1000 / 1440)
    assert other.group_sd["Subject"]["Intercept"].sigma == pytest.approx(
        one.group_sd["Subject"]["Intercept"].sigma / 1000
    )


def test_a_slope_far_from_centred_warns_and_widens_the_group_intercept():
    frame = DATA.assign(Year=DATA["Days"] + 2000)
    default_priors(sleepstudy("Year + (Year | Subject)", frame), FAMILY)  # swept: warnings are errors
    design = sleepstudy("Year + (Year || Subject)", frame)
    with pytest.warns(UserWarning, match=r"the mean of 'Year' is more than 3 standard deviations from zero.*center"):
        priors = default_priors(design, FAMILY)

    ratio = (2004.5) / DATA["Days"].std(ddof=0)
    assert priors.group_sd["Subject"]["Intercept"].sigma == pytest.approx(2.5 * Y.std() * np.sqrt(1 + ratio**2))


def test_a_common_dummy_does_not_warn():
    frame = DATA.assign(flag=(np.arange(180) > 2).astype(int))

    default_priors(sleepstudy("flag + (flag | Subject)", frame), FAMILY)  # warnings are errors


def test_the_users_priors_override_and_the_rest_stays():
    user = {
        "Intercept": Normal(250, 10),
        "Days": Normal(10, 1),
        "sd_Subject": {"Days": Exponential(0.1)},
        "sigma": HalfNormal(9),
    }
    design = sleepstudy()
    priors, default = resolve_priors(design, FAMILY, user), default_priors(design, FAMILY)

    assert priors.intercept == Normal(250, 10)
    assert priors.swept == {}, "a prior of the user's is on the Intercept at X = 0"
    assert priors.group_swept == {"Subject": {"Days": {"Intercept": pytest.approx(4.5)}}}
    assert priors.common == {"Days": Normal(10, 1)}
    assert priors.group_sd["Subject"] == {
        "Intercept": default.group_sd["Subject"]["Intercept"],
        "Days": Exponential(0.1),
    }
    assert priors.auxiliary == {"sigma": HalfNormal(9)}
    assert list(user) == ["Intercept", "Days", "sd_Subject", "sigma"], "the user's dict is not touched"
    assert user["sd_Subject"] == {"Days": Exponential(0.1)}


def test_one_prior_serves_all_effects_and_terms():
    frame = DATA.assign(k=np.tile(["a", "b", "c"], 60), x=np.linspace(-1, 1, 180))
    design = sleepstudy("x + k + (x | Subject)", frame)

    assert set(resolve_priors(design, FAMILY, {"beta": Normal(0, 1)}).common.values()) == {Normal(0, 1)}
    by_term = resolve_priors(design, FAMILY, {"k": Normal(0, 3), "x": StudentT(3, 0, 1)}).common
    assert by_term == {"x": StudentT(3, 0, 1), "k[b]": Normal(0, 3), "k[c]": Normal(0, 3)}
    assert resolve_priors(design, FAMILY, {"beta": {"k[c]": Normal(0, 3)}}).common["k[c]"] == Normal(0, 3)
    sds = resolve_priors(design, FAMILY, {"sd_Subject": HalfNormal(5)}).group_sd["Subject"]
    assert sds == {"Intercept": HalfNormal(5), "x": HalfNormal(5)}


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"Dayz": Normal()}, r"unknown prior 'Dayz'; valid names: 'Intercept', 'beta', 'sd_Subject', 'sigma', 'Days'"),
        ({"sd_Site": HalfNormal()}, "unknown prior 'sd_Site'"),
        ({"beta": {"Dayz": Normal()}}, "unknown prior 'Dayz'"),
        ({"sd_Subject": {"Dayz": HalfNormal()}}, "but the effects are 'Intercept', 'Days'"),
        ({"sigma": Normal()}, "prior of 'sigma' must have positive support"),
        ({"sd_Subject": Normal()}, "must have positive support"),
        ({"Days": 3}, "prior of 'Days' must be a distribution such as Normal, got 3"),
        ({"Days": Normal}, "prior of 'Days' must be a distribution such as Normal"),
        ({"beta": Normal(), "Days": Normal()}, "'Days' has two priors"),
        ({"sd_Subject": HalfNormal(), "sd_Subject[Days]": HalfNormal(2)}, r"'sd_Subject\[Days\]' has two priors"),
        ({"sd_Subject[Days]": HalfNormal(2), "sd_Subject": {"Days": HalfNormal()}}, "has two priors"),
        ([Normal()], "priors must be a dict"),
        ({1: Normal()}, "the keys of priors must be names, got 1"),
    ],
)
def test_wrong_priors_are_refused(user, message):
    with pytest.raises(PriorError, match=message):
        resolve_priors(sleepstudy(), FAMILY, user)


def test_a_column_that_shares_a_priors_name_is_ambiguous():
    design = sleepstudy("sigma + (1 | Subject)", DATA.assign(sigma=DATA["Days"]))

    with pytest.raises(PriorError, match="prior 'sigma' is ambiguous; for the common effect write"):
        resolve_priors(design, FAMILY, {"sigma": HalfNormal(1)})
    assert resolve_priors(design, FAMILY, {"beta": {"sigma": Normal(0, 1)}}).common == {"sigma": Normal(0, 1)}


def test_an_intercept_prior_without_an_intercept_is_refused():
    with pytest.raises(PriorError, match="unknown prior 'Intercept'"):
        resolve_priors(sleepstudy("0 + Days + (1 | Subject)"), FAMILY, {"Intercept": Normal()})


@pytest.mark.parametrize(
    ("eta", "message"), [({"Site": 1}, "lkj_eta names 'Site'"), (-1, "positive number"), ("a", "positive number")]
)
def test_wrong_lkj_eta_is_refused(eta, message):
    with pytest.raises(PriorError, match=message):
        default_priors(sleepstudy(), FAMILY, eta)


def test_lkj_eta_by_factor():
    assert default_priors(sleepstudy(), FAMILY, {"Subject": 4}).lkj_eta == {"Subject": 4.0}


def test_fitted_priors_are_taken_as_they_are_and_another_models_refused():
    design = sleepstudy()
    fitted = default_priors(design, FAMILY)

    assert resolve_priors(sleepstudy(frame=DATA.head(60), y=Y[:60]), FAMILY, fitted) is fitted
    with pytest.raises(PriorError, match="belong to another model"):
        resolve_priors(sleepstudy("Days + (1 | Subject)"), FAMILY, fitted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"swept": {"Days": {"Nights": 1.0}}}, "swept has 'Days' swept of 'Nights', but this model allows only"),
        (
            {"swept": {"Dayz": {"Intercept": 1.0}}},
            "swept has 'Dayz' swept of 'Intercept', but this model .* 'nothing'|",
        ),
        (
            {"swept": {"Days": {"Intercept": np.nan}}},
            r"swept\['Days'\]\['Intercept'\] must be a finite number, got nan",
        ),
        ({"swept": {"Days": {"Intercept": "3"}}}, r"swept\['Days'\]\['Intercept'\] must be a finite number, got '3'"),
        (
            {"group_swept": {"Subject": {"Intercept": {"Days": 1.0}}}},
            r"group_swept\['Subject'\] has 'Intercept' swept of",
        ),
        ({"group_swept": {"Site": {"Days": {"Intercept": 1.0}}}}, r"group_swept\['Site'\] has 'Days' swept of"),
        ({"group_sd": {"Subject": {"Intercept": Normal(), "Days": HalfNormal()}}}, "must have positive support"),
        ({"auxiliary": {"sigma": "wide"}}, "prior of 'sigma' must be a distribution such as HalfNormal"),
        ({"lkj_eta": {"Subject": -1}}, "lkj_eta must be a positive number"),
        ({"common": {}}, "belong to another model: common covers nothing, but this model has 'Days'"),
    ],
)
def test_a_changed_priors_object_is_checked_like_a_dict(change, message):
    design = sleepstudy()
    changed = Priors(**{**vars(default_priors(design, FAMILY)), **change})

    with pytest.raises(PriorError, match=message):
        resolve_priors(design, FAMILY, changed)


def test_scaling_leaves_the_columns_where_a_bounded_intercept_needs_them():
    design = sleepstudy()
    default = default_priors(design, FAMILY)
    bounded = Priors(**{**vars(default), "intercept": HalfNormal(100)})

    later = sleepstudy(frame=DATA[DATA["Days"] > 3], y=Y[DATA["Days"] > 3])

    np.testing.assert_array_equal(Scaling.learn(design, FAMILY, default).x_location, [0.0])
    np.testing.assert_allclose(Scaling.learn(later, FAMILY, default).x_location, [6.5 - 4.5])
    np.testing.assert_array_equal(Scaling.learn(later, FAMILY, bounded).x_location, [0.0])


def test_names_as_a_table_shows_them_are_taken_too():
    frame = pd.DataFrame({"x": np.arange(6.0), "k": list("abcabc"), "g": list("aabbcc")})
    design = DesignSpec.learn(parse("x + k + (x | g)"), frame, y=np.arange(6.0) ** 2)[1]
    family = get_family("gaussian")
    one = resolve_priors(
        design,
        family,
        {"beta[x]": Normal(0, 3), "beta[k[b]]": Normal(1, 2), "sd_g[x]": HalfNormal(5), "k[c]": Normal(7)},
    )
    other = resolve_priors(
        design,
        family,
        {"beta": {"x": Normal(0, 3), "k[b]": Normal(1, 2), "k[c]": Normal(7)}, "sd_g": {"x": HalfNormal(5)}},
    )

    assert one == other
    assert one != resolve_priors(design, family)
    assert {name for name, _ in one.rows if "[" in name} == {
        "Intercept at x = 2.5, k[b] = 0.33333, k[c] = 0.33333",
        *("beta[x]", "beta[k[b]]", "beta[k[c]]"),
        *("sd_g[Intercept] at x = 2.5", "sd_g[x]"),
    }
    for wrong in ("beta[z]", "sd_g[z]", "sd_h[x]", "sd_g[x", "[x]"):
        with pytest.raises(PriorError):
            resolve_priors(design, family, {wrong: HalfNormal(1)})
