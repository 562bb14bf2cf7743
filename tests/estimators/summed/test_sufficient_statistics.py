"""Statistics are made, added, subtracted, saved and shown; what does not belong together is refused."""

import errno
import io
import itertools
import json
import pickle
import sys
import zipfile
from collections import defaultdict

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmixed as bm
from bayesmixed import FormulaError, StorageError, SufficientStatistics
from bayesmixed.design.summed.running import Running
from bayesmixed.estimators import archive
from helpers.strategies import parts, weights
from helpers.summed_cases import make_frame

FRAME = make_frame()
FORMULA = "y ~ k*x + (x | pupil) + (1 | item)"
WHOLE = SufficientStatistics.of(FORMULA, FRAME)


def of(frame, formula=FORMULA, **options):
    return SufficientStatistics.of(formula, frame, **options)


def assert_same(a, b, digits=10):
    """Sums about one origin, levels, counts and the rows' checksum."""
    assert (a.n_rows, a.checksum) == (b.n_rows, b.checksum)
    assert a.total == pytest.approx(b.total, abs=1e-9)
    for one, other in zip(a.groups, b.groups, strict=True):
        np.testing.assert_array_equal(one.levels, other.levels)
        assert one.factor_levels.parts[0].kind == other.factor_levels.parts[0].kind
    for name, count in b.seen.items():
        np.testing.assert_array_equal(a.seen[name], count)
    ours, theirs = a.sums._about(b.sums.origin, b.sums.effect_origins), b.sums.products
    size = np.abs(theirs.VV).max()
    pairs = [(ours.VV, theirs.VV), *zip(ours.S, theirs.S, strict=True), *zip(ours.T, theirs.T, strict=True)]
    for key, own in theirs.pairs.items():
        np.testing.assert_array_equal(ours.pairs[key].first, own.first)
        np.testing.assert_array_equal(ours.pairs[key].second, own.second)
        np.testing.assert_array_equal(ours.pairs[key].counts, own.counts)
        pairs.append((ours.pairs[key].products, own.products))
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=10.0**-digits * size)
    for found, expected in zip(ours.counts, theirs.counts, strict=True):
        np.testing.assert_array_equal(found, expected)


# ---- they add up


@settings(max_examples=40)
@given(parts(120), weights(120), st.randoms())
def test_statistics_of_parts_add_up_in_any_order(rows, w, random):
    """A commutative monoid, with levels that only some parts have; and each part can be taken away again."""
    whole = of(FRAME, sample_weight=w)
    found = [of(FRAME.iloc[at], sample_weight=None if w is None else w[at], like=whole) for at in rows if len(at)]
    random.shuffle(found)
    total, turned = found[0], found[-1]
    for part in found[1:]:
        total = total + part
    for part in found[-2::-1]:
        turned = part + turned

    assert_same(total, whole)
    assert_same(turned, whole)
    assert_same(sum(found), whole)
    if len(found) > 1:
        rest = found[1]
        for part in found[2:]:
            rest = rest + part
        assert_same(whole - found[0], rest, digits=9)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_a_running_sum_is_the_sum(sizes):
    ends = np.cumsum([0, *sizes])
    found = [of(FRAME.iloc[np.arange(a, b) % 120], like=WHOLE) for a, b in itertools.pairwise(ends)]
    running = Running()
    for part in found:
        running = running.plus(part)
    whole = of(FRAME.iloc[np.arange(ends[-1]) % 120], like=WHOLE)

    assert_same(running.total, whole)
    assert running.n_rows == ends[-1]
    levels = [sum(part.sums.products.n_levels) for part in running.parts]
    assert all(a >= b for a, b in itertools.pairwise(levels))


def test_how_a_formula_is_written_does_not_matter():
    other = of(FRAME, "y~k * x+(x|pupil) + (1|item)")

    assert_same(WHOLE + other, of([FRAME, FRAME]))
    assert_same(of(FRAME, "y~k*x + (x|pupil) + (1|item)", like=WHOLE), WHOLE)


def test_frames_one_after_the_other_are_one_part_after_the_other():
    frames = [FRAME[i::7] for i in range(7)]
    for source in (frames, lambda: iter(frames), [*frames, FRAME.head(0)]):
        assert_same(of(source), WHOLE)
    for once in (iter(frames), (frame for frame in [FRAME.head(0), *frames])):
        assert_same(of(once, categories={"k": ["a", "b", "c"]}), WHOLE)
    assert_same(of(lambda: FRAME), WHOLE)
    assert_same(of(pl.from_pandas(FRAME)), WHOLE)
    assert_same(of([pl.from_pandas(frame) for frame in frames]), WHOLE)


def test_weights_are_frequencies_and_may_be_a_column():
    rows = FRAME.loc[np.repeat(np.arange(120), FRAME["w"].astype(int))]
    named, given_ = of(FRAME, sample_weight="w"), of(FRAME, sample_weight=FRAME["w"])
    a, b = (bm.MixedModelRegressor(random_state=0).fit(s) for s in (named, of(rows)))

    assert_same(named, given_, digits=15)
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-9)
    nothing = FRAME.assign(w=np.where(FRAME["pupil"] == "p00", 0, FRAME["w"]))
    assert "p00" not in of(nothing, sample_weight="w").groups[0].levels


def test_a_categorical_factor_keeps_its_order():
    order = [f"p{i:02d}" for i in range(13, -1, -1)] + ["absent"]
    frame = FRAME.assign(pupil=pd.Categorical(FRAME["pupil"], order))
    total = of(frame[::2]) + of(frame[1::2])

    assert total.groups[0].levels.tolist() == order[:-1]
    assert_same(total, of(frame))
    mixed = of(frame[::2]) + of(FRAME[1::2], like=of(FRAME))
    assert mixed.groups[0].levels.tolist() == sorted(order[:-1])


def test_categories_are_stated_or_learned_from_another_part():
    ab, c = FRAME[FRAME["k"] != "c"], FRAME[FRAME["k"] == "c"]
    with pytest.raises(ValueError, match=r"category 'k' has levels 'a', 'b' in one and 'a', 'b', 'c' in the other"):
        of(ab) + of(FRAME)
    with pytest.raises(
        FormulaError, match=r"levels that the first rows did not have: 'c' .* categories={'k': \[...\]}"
    ):
        of(c, like=of(ab))
    stated = {"k": ["a", "b", "c"]}
    assert_same(of(ab, categories=stated) + of(c, categories=stated), WHOLE)
    typed = FRAME.assign(k=pd.Categorical(FRAME["k"]))
    assert_same(of(typed[FRAME["k"] != "c"]) + of(typed[FRAME["k"] == "c"]), WHOLE)
    with pytest.raises(FormulaError, match=r"column 'k' holds 'c', but categories lists only"):
        of(FRAME, categories={"k": ["a", "b"]})
    with pytest.raises(FormulaError, match="categories names 'q'"):
        of(FRAME, categories={"q": [1]})


@pytest.mark.parametrize("levels", ["abc", {"a", "b", "c"}, frozenset("abc")])
def test_categories_without_an_order_are_refused(levels):
    """The first level of a set, with which the others are compared, differs from process to process."""
    with pytest.raises(FormulaError, match="categories needs a list of the levels of 'k', in order"):
        of(FRAME, categories={"k": levels})


def test_categories_that_are_stated_twice_are_named():
    with pytest.raises(FormulaError, match="categories lists 'a' of 'k' twice"):
        of(FRAME, categories={"k": ["a", "b", "a", "c"]})


# ---- what is refused


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: of(FRAME, "y ~ x + (x | pupil)"), "one has the formula 'y ~ k.*, the other 'y ~ x"),
        (lambda: of(FRAME, FORMULA.replace("y", "wait", 1)), "one has the formula"),
        (lambda: of(FRAME.assign(y=FRAME["wait"]), family="lognormal"), "family 'gaussian', the other 'lognormal'"),
        (
            lambda: of(FRAME, categories={"k": ["b", "a", "c"]}),
            "levels 'a', 'b', 'c' in one and 'b', 'a', 'c' in the other",
        ),
        (lambda: of(FRAME.assign(item="i" + FRAME["item"].astype(str))), "column 'item' holds int labels"),
    ],
)
def test_what_does_not_add_up_is_refused(other, message):
    found = other()
    for one in (lambda: WHOLE + found, lambda: WHOLE - found):
        with pytest.raises(ValueError, match=message):
            one()
    for one in (lambda: WHOLE + 1, lambda: 1 + WHOLE, lambda: WHOLE - 1):
        with pytest.raises(TypeError):
            one()


def test_columns_that_learned_from_other_rows_are_refused():
    formula = "y ~ scale(x) + (1 | pupil)"
    with pytest.raises(ValueError, match=r"'scale\(x\)' has learned different values from the rows of each"):
        of(FRAME[:60], formula) + of(FRAME[60:], formula)
    a = of(FRAME[:60], formula)
    assert (a + of(FRAME[60:], formula, like=a)).n_rows == 120
    assert_same(of([FRAME[:60], FRAME[60:]], formula), of(FRAME, formula), digits=9)


def test_what_never_was_added_is_not_taken_away_as_far_as_sums_show():
    half = of(FRAME[:60], like=WHOLE)
    with pytest.raises(ValueError, match=r"not part of the first: levels .* of 'pupil' have fewer rows in the first"):
        half - WHOLE
    other = FRAME[:60].assign(y=FRAME["y"][:60] * 100)
    with pytest.raises(ValueError, match="a sum of squares would be negative"):
        WHOLE - of(other, like=WHOLE)
    turned = FRAME.assign(k=FRAME["k"].map({"a": "b", "b": "c", "c": "a"}))
    with pytest.raises(ValueError, match="not part of the first"):
        WHOLE - of(turned[turned["k"] == "a"], like=WHOLE) - of(turned[turned["k"] == "a"], like=WHOLE)
    assert (WHOLE - half).n_rows == 60


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: of(FRAME, "x + (1 | pupil)"), FormulaError, "has no response; write 'y ~ x"),
        (lambda: of(FRAME, family="t"), ValueError, "only families 'gaussian', 'lognormal' have sufficient statistics"),
        (lambda: of(FRAME, family="lognormal"), ValueError, "family='lognormal' needs"),
        (lambda: of(FRAME.assign(x=np.nan)), ValueError, "column 'x' has 120 missing values"),
        (lambda: of(FRAME.assign(pupil=None)), ValueError, "120 missing labels"),
        (lambda: of(FRAME.drop(columns="x")), FormulaError, "uses 'x', which is not a column of X"),
        (lambda: of(FRAME.head(0)), ValueError, "no rows of positive weight"),
        (lambda: of([]), ValueError, "no rows of positive weight"),
        (lambda: of("file.csv"), FileNotFoundError, r"file\.csv"),
        (lambda: of(FRAME.to_numpy()), TypeError, "source must be a DataFrame"),
        (lambda: of([FRAME, 3]), TypeError, "part 1 of source must be a DataFrame, got a int"),
        (lambda: of(FRAME, sample_weight="nope"), FormulaError, "sample_weight names 'nope', which is not a column"),
        (lambda: of([FRAME], sample_weight="nope"), FormulaError, "sample_weight names 'nope', which is not a column"),
        (lambda: of([FRAME], sample_weight=np.ones(120)), ValueError, "must be the name of one of their columns"),
        (
            lambda: of(FRAME, "y ~ x + (1 | pupil)", like=WHOLE),
            ValueError,
            "like= has statistics made for another formula, 'y ~ k",
        ),
        (lambda: of(FRAME.assign(y=1.0), family="lognormal", like=WHOLE), ValueError, "like= has .* family 'gaussian'"),
        (lambda: WHOLE.with_labels("x", {}), ValueError, "column must be one of 'pupil', 'item', got 'x'"),
        (lambda: WHOLE.with_labels("item", {0: 1}), ValueError, "has none for 1, 2, 3"),
        (
            lambda: WHOLE.with_labels("item", dict.fromkeys(range(6), 1)),
            ValueError,
            "two levels of 'item' the same label",
        ),
        (lambda: of(FRAME.assign(x=FRAME["x"] * 1e200)), FormulaError, "express it in another unit"),
    ],
)
def test_what_cannot_be_summed_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- files


def test_a_file_holds_the_statistics(tmp_path):
    small = {"town": [0, 1], "d": pd.to_datetime(["2020-01-01", "2021-01-01"]), "b": [True, False]}
    rows = FRAME.assign(**{name: np.resize(np.asarray(values), 120) for name, values in small.items()})
    for formula in (FORMULA, "y ~ x + (1 | town:d)", "y ~ x + (0 + x | b)", "y ~ C(k, Sum)"):
        found = of(rows, formula)
        found.save(tmp_path / "a.bms", minimum=0)
        for read in (bm.load, SufficientStatistics.load):
            assert_same(read(tmp_path / "a.bms"), found, digits=16)
            assert_same(read(tmp_path / "a.bms") + found, found + found, digits=16)
        assert_same(pickle.loads(pickle.dumps(found)), found, digits=16)


def test_small_groups_are_counted_and_refused(tmp_path):
    frame = FRAME.assign(pupil=np.where(np.arange(120) < 3, "rare", FRAME["pupil"]))
    found = of(frame, "y ~ x + (1 | pupil)")
    assert repr(found).endswith("120 rows, gaussian\n  pupil: 15 levels, 3 of them with fewer than 5 rows")
    with pytest.raises(ValueError, match="statistics of fewer than 5 rows: 3 groups of 'pupil'"):
        found.save(tmp_path / "a.bms", minimum=5)
    with pytest.warns(
        UserWarning, match="reveals the contents of small sets of rows: 3 groups of 'pupil' of fewer than 5 rows"
    ):
        found.save(tmp_path / "a.bms")
    with pytest.raises(ValueError, match=r"pairs of 'pupil', 'item'"):
        of(frame, FORMULA).save(tmp_path / "b.bms", minimum=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bms"]
    assert f"120 rows of weight {FRAME['w'].sum():g}, gaussian" in repr(of(FRAME, sample_weight="w"))


def arms(rare, n=40):
    """Four groups of two arms; `rare` rows of the first are of the new arm."""
    frame = pd.DataFrame({"hospital": np.arange(n) % 4, "y": np.random.default_rng(0).normal(size=n)})
    new = (np.arange(n) // 4) % 2 == 1
    new[frame["hospital"] == 0] = np.arange(n // 4) < rare
    return frame.assign(arm=np.where(new, "new", "standard"), new=new.astype(int), x=np.linspace(-1, 1, n))


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ arm + (arm | hospital)",
        "y ~ x + (0 + new | hospital)",
        "y ~ x + (0 + arm | hospital)",
        "y ~ x + (0 + x | hospital) + (arm | hospital)",
    ],
)
def test_small_cells_of_a_group_and_a_category_are_refused(formula, tmp_path):
    """In the file, sums of one row would be that row."""
    for rare in (1, 4, 6, 9):
        if formula == "y ~ x + (0 + new | hospital)" and rare > 5:
            continue  # there, the sums of the others are not in the file
        with pytest.raises(ValueError, match=r"statistics of fewer than 5 rows: cells of .* in groups of 'hos"):
            of(arms(rare), formula).save(tmp_path / "a.bms", minimum=5)
    for rare in (0, 5, 10):
        of(arms(rare), formula).save(tmp_path / "a.bms", minimum=5)


@pytest.mark.parametrize("formula", ["y ~ arm * sex", "y ~ new * sex", "y ~ 0 + arm:sex", "y ~ x + arm:sex"])
@pytest.mark.parametrize("new", [range(18), range(2, 20), range(20, 38), range(22, 40), range(36, 40)])
def test_small_cells_of_two_columns_are_refused(formula, new, tmp_path):
    frame = arms(5).assign(sex=np.where(np.arange(40) < 20, "f", "m"))
    is_new = np.isin(np.arange(40), new)
    rare = frame.assign(arm=np.where(is_new, "new", "standard"), new=is_new.astype(int))
    with pytest.raises(ValueError, match=r"statistics of fewer than 5 rows: .*cells of"):
        of(rare, formula).save(tmp_path / "a.bms", minimum=5)
    of(frame, formula).save(tmp_path / "a.bms", minimum=5)


def test_the_level_that_others_are_compared_with_has_cells_too(tmp_path):
    frame = pd.DataFrame({"g": np.repeat([0, 1], 50), "k": np.tile(list("abcde"), 20), "y": np.arange(100.0) % 7})
    formula = "y ~ k + (k | g)"
    of(frame, formula).save(tmp_path / "a.bms", minimum=10)
    one = frame.drop(index=frame.index[(frame["g"] == 0) & (frame["k"] == "a")][1:])
    with pytest.raises(ValueError, match=r"cells of .* in groups of 'g'"):
        of(one, formula).save(tmp_path / "a.bms", minimum=2)


def test_numbers_of_rows_alone_are_no_cells(tmp_path):
    """Of a doctor's patients in an arm, the file has how many there are."""
    frame = arms(5).assign(sex=np.where(np.arange(40) < 22, "f", "m"))
    of(frame, "y ~ arm + sex + (1 | hospital)").save(tmp_path / "a.bms", minimum=5)


def test_few_rows_without_groups_are_refused(tmp_path):
    with pytest.raises(ValueError, match="statistics of fewer than 5 rows: 4 rows in all"):
        of(FRAME.head(4), "y ~ x").save(tmp_path / "a.bms", minimum=5)
    with pytest.warns(UserWarning, match="4 rows in all"):
        of(FRAME.head(4), "y ~ x").save(tmp_path / "a.bms")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "a.bms"
    WHOLE.save(path, minimum=0)
    return path.read_bytes()


@pytest.mark.parametrize(
    "formula", ["y ~ x + item + (1 | item)", "y ~ C(item) + (1 | item)", "y ~ (item | pupil:item)"]
)
def test_labels_that_columns_hold_too_are_not_replaced(formula):
    with pytest.raises(ValueError, match="effects also use the column 'item' and would keep its labels"):
        of(FRAME, formula).with_labels("item", {at: 100 - at for at in range(6)})


def test_a_default_serves_for_labels():
    found = of(FRAME, "y ~ x + (1 | item)").with_labels("item", defaultdict(itertools.count(10).__next__))
    assert found.groups[0].levels.tolist() == list(range(10, 16))
    series = pd.Series({at: f"i{at}" for at in range(6)})
    assert of(FRAME, "y ~ x + (1 | item)").with_labels("item", series).groups[0].levels[0] == "i0"


def test_a_cut_file_is_refused_wherever_it_ends(stored, tmp_path):
    short = tmp_path / "short.bms"
    for size in np.linspace(0, len(stored) - 1, 120).astype(int):
        short.write_bytes(stored[:size])
        with pytest.raises(StorageError, match=r"short\.bms' was not written"):
            bm.load(short)


def test_an_altered_file_is_refused_or_says_the_same(stored, tmp_path):
    altered, refused = tmp_path / "altered.bms", 0
    for at in np.random.default_rng(0).choice(len(stored), 150, replace=False):
        other = bytearray(stored)
        other[at] ^= 0xFF
        altered.write_bytes(other)
        try:
            found = bm.load(altered)
        except StorageError:
            refused += 1
        else:  # a byte that does not matter, such as a member's time
            assert_same(found, WHOLE, digits=16)
    assert refused > 110


def rewritten(stored, path, change):
    """The file with another document."""
    with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(path, "w") as new:
        document = json.loads(old.read("state.json"))
        change(document)
        for name in old.namelist():
            new.writestr(name, json.dumps(document) if name == "state.json" else old.read(name))


def test_files_of_another_kind_or_of_parts_that_do_not_fit_are_refused(stored, tmp_path):
    bm.MixedModelRegressor("y ~ x", random_state=0).fit(FRAME).save(tmp_path / "est.bm")
    with pytest.raises(
        StorageError, match=r"class 'MixedModelRegressor', not of 'SufficientStatistics'; bayesmixed.load reads"
    ):
        SufficientStatistics.load(tmp_path / "est.bm")
    path = tmp_path / "a.bms"
    rewritten(stored, path, lambda document: document.update(version=4))
    with pytest.raises(StorageError, match="version 4 of the format"):
        bm.load(path)

    def shorten(node):
        if isinstance(node, list):
            if len(node) == 2 and node[0] == "labels" and isinstance(node[1], dict) and "list" in node[1]:
                node[1]["list"] = node[1]["list"][1:]
            for item in node:
                shorten(item)
        elif isinstance(node, dict):
            for item in node.values():
                shorten(item)

    rewritten(stored, path, lambda document: shorten(document["tree"]))
    with pytest.raises(StorageError, match="effects and levels, expected"):
        bm.load(path)


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bms"
    WHOLE.save(path, minimum=0)
    before = path.read_bytes()
    written = []

    def write_array(member, array, **options):
        written.append(array)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        member.write(array.tobytes())

    monkeypatch.setattr(archive.np.lib.format, "write_array", write_array)
    with pytest.raises(OSError, match="No space left"):
        WHOLE.save(path, minimum=0)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bms"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_disk_that_fills_while_a_file_is_closed_leaves_no_part_of_it(tmp_path):
    import resource
    import signal

    path = tmp_path / "a.bms"
    WHOLE.save(path, minimum=0)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            WHOLE.save(path, minimum=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bms"]


def test_parts_in_which_a_column_is_text_or_a_number_are_refused():
    texts = FRAME.assign(x=np.where(FRAME["x"] > 0, "high", "low"))
    a, b = (SufficientStatistics.of("y ~ x", frame) for frame in (FRAME, texts))

    with pytest.raises(ValueError, match="'x' is numeric in one and categoric in the other"):
        a + b


def test_a_category_of_booleans_that_becomes_a_number_is_named_with_the_cure():
    booleans, numbers = (FRAME.assign(x=values) for values in (FRAME["x"] > 0, 2.5))
    first = SufficientStatistics.of("y ~ C(x)", booleans)

    for use in (
        lambda: SufficientStatistics.of("y ~ C(x)", [booleans, numbers]),
        lambda: first.of("y ~ C(x)", numbers, like=first),
    ):
        with pytest.raises(
            FormulaError, match=r"known levels: False, True.* Known are booleans, these are numbers: conv"
        ):
            use()


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ k:x", "y ~ (x | pupil)"])
def test_booleans_that_become_other_numbers_than_0_and_1_are_refused(formula):
    booleans, numbers = (FRAME.assign(x=values) for values in (FRAME["x"] > 0, 2.5))
    first = of(booleans, formula)
    est = bm.MixedModelRegressor(formula, draws=100, random_state=0).fit(first)

    for use in (
        lambda: of([booleans, numbers], formula),
        lambda: of(numbers, formula, like=first),
        lambda: est.predict(numbers),
        lambda: bm.MixedModelRegressor(formula).partial_fit(booleans).partial_fit(numbers),
    ):
        with pytest.raises(FormulaError, match=r"'x' was boolean in fit but has numbers .* now, such as 2\.5; make it"):
            use()
    with pytest.raises(ValueError, match="'x' is boolean in one and numeric in the other"):
        first + of(FRAME, formula)
    np.testing.assert_array_equal(est.predict(booleans.astype({"x": float})), est.predict(booleans))
    with pytest.raises(FormulaError, match="'x' was boolean in fit but is text now"):
        est.predict(booleans.astype({"x": str}))
