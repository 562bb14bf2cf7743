"""The grammar: what a formula means, and every text that is refused because it would be misread."""

import pytest

from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import GroupTerm, parse


def bar(effects, *columns, correlated=None, uses=()):
    """The `GroupTerm` of one bar, its factor named after its columns."""
    return GroupTerm(":".join(columns), effects, correlated, columns, tuple(uses))


BARS = {
    "(1 | g)": [bar("1", "g")],
    "(1|g)": [bar("1", "g")],
    "(x | g)": [bar("x", "g", uses="x")],
    "(1 + x + z | g)": [bar("1 + x + z", "g", uses="xz")],
    "(0 + x | g)": [bar("0 + x", "g", uses="x")],
    "(x - 1 | g)": [bar("x - 1", "g", uses="x")],
    "(x || g)": [bar("x", "g", correlated=False, uses="x")],
    "(x || g/h)": [bar("x", "g", correlated=False, uses="x"), bar("x", "g", "h", correlated=False, uses="x")],
    "(k | g)": [bar("k", "g", uses="k")],
    "(x*z | g)": [bar("x * z", "g", uses="xz")],
    "(bs(x, df=4) | g)": [bar("bs(x, df = 4)", "g", uses="x")],
    "(np.log(x) || g)": [bar("log(x)", "g", correlated=False, uses="x")],
    "(`my x` | `my g`)": [bar("`my x`", "my g", uses=["my x"])],
    "(1 | g:h)": [bar("1", "g", "h")],
    "(1 | g + h)": [bar("1", "g"), bar("1", "h")],
    "(1 | g*h)": [bar("1", "g"), bar("1", "h"), bar("1", "g", "h")],
    "(1 | g/h)": [bar("1", "g"), bar("1", "g", "h")],
    "(x | g/h)": [bar("x", "g", uses="x"), bar("x", "g", "h", uses="x")],
    "(1 | g/h/k)": [bar("1", "g"), bar("1", "g", "h"), bar("1", "g", "h", "k")],
    "(1 | (a + b)/c)": [bar("1", "a"), bar("1", "b"), bar("1", "a", "b", "c")],
    "(1 | a/(b + c))": [bar("1", "a"), bar("1", "a", "b"), bar("1", "a", "c")],
    "(1 | a:(b + c))": [bar("1", "a", "b"), bar("1", "a", "c")],
    "(1 | a:b/c)": [bar("1", "a", "b"), bar("1", "a", "b", "c")],
    "(1 | a/b*c)": [bar("1", "a"), bar("1", "a", "b"), bar("1", "c"), bar("1", "a", "c"), bar("1", "a", "b", "c")],
    "(1 | C(g))": [bar("1", "g")],
    "(1 | C(g):h)": [bar("1", "g", "h")],
    "(1 | g + g)": [bar("1", "g")],
    "(1 | g:g)": [bar("1", "g")],
    "((1 | g))": [bar("1", "g")],
    "(1 | ((g)))": [bar("1", "g")],
    "(1 | g) + (1 | h)": [bar("1", "g"), bar("1", "h")],
    "(1 | g) + (0 + x | g)": [bar("1", "g"), bar("0 + x", "g", uses="x")],
    "(1 | g) + ((x || h) + (1 | k))": [bar("1", "g"), bar("x", "h", correlated=False, uses="x"), bar("1", "k")],
    "(1 | class) + (1 | straße)": [bar("1", "class"), bar("1", "straße")],
}


@pytest.mark.parametrize(("formula", "groups"), BARS.items())
def test_each_bar_and_factor_gives_a_group_term(formula, groups):
    parsed = parse(formula)

    assert parsed.groups == tuple(groups)
    assert (parsed.response, parsed.common, parsed.variables) == (None, "1", ())


COMMON = {
    "x": ("x", "x"),
    "~ x": ("x", "x"),
    "+ x": ("x", "x"),
    "1": ("1", ""),
    "0": ("0", ""),
    "0 + x": ("0 + x", "x"),
    "x - 1": ("x - 1", "x"),
    "-1 + x": ("- 1 + x", "x"),
    "x + z - (x + k)": ("x + z - (x + k)", "xzk"),
    "x*z + x:k + k/x + (x + z)**2": ("x * z + x : k + k / x + (x + z) ** 2", "xzk"),
    "np.log(x) + numpy.sqrt(z) + log1p(w)": ("log(x) + sqrt(z) + log1p(w)", "xzw"),
    "np.maximum( x ,z )": ("maximum(x, z)", "xz"),
    "poly(x, 2, raw=True)": ("poly(x, 2, raw = True)", "x"),
    'T(k, "b") + S(k) + C(k, Sum)': ('T(k, "b") + S(k) + C(k, Sum)', "k"),
    "C(k, Treatment('b'))": ("C(k, Treatment('b'))", "k"),
    "{x > 0} + I(x != 2)": ("{x > 0} + I(x != 2)", "x"),
    "{x * 1e-3 + 1.5E2}": ("{x * 0.001 + 150}", "x"),
    "offset(log(x)) + scale(center(z))": ("offset(log(x)) + scale(center(z))", "xz"),
    "x\n  + z": ("x + z", "xz"),
    # as R and patsy write it
    "factor(k) + x": ("C(k) + x", "kx"),
    "as.factor(k):x": ("C(k) : x", "kx"),
    "factor(k, Sum)": ("C(k, Sum)", "k"),
    "as.factor(k, contrast=Sum)": ("C(k, contrast = Sum)", "k"),
    "I(x^2) + {(x + z)^3}": ("I(x ** 2) + {(x + z) ** 3}", "xz"),
    "log(1 + x^2) + scale(x ^ 0.5)": ("log(1 + x ** 2) + scale(x ** 0.5)", "x"),
    "Q('x') + Q(\"z\")": ("`x` + `z`", "xz"),
    # nothing after the bars is lost, and brackets around a sum that holds bars go
    "(1 | g) + x": ("x", "x"),
    "x + (1 | g) + z": ("x + z", "xz"),
    "(1 | g) - 1": ("- 1", ""),
    "x + (1 | g) - z": ("x - z", "xz"),
    "x*z + (1 | g) - x:z": ("x * z - x : z", "xz"),
    "(x + (1 | g))": ("x", "x"),
    "x + ((z + (x | g)) + (1 | h)) - 1": ("x + z - 1", "xz"),
}


@pytest.mark.parametrize(("formula", "common", "variables"), [(f, *pair) for f, pair in COMMON.items()])
def test_the_common_part_is_the_sum_without_its_bars(formula, common, variables):
    parsed = parse(formula)

    assert parsed.common == common
    assert parsed.variables == tuple(variables)
    assert parsed.response is None


@pytest.mark.parametrize("name", ["my x", "_hidden", "x/z", "a|b", "~", "2nd", "np.log(x)", "class"])
def test_a_backquoted_name_is_a_column_whatever_it_holds(name):
    parsed = parse(f"`{name}` + {{`{name}` ** 2}} + (`{name}` | `{name}`)")

    assert parse(f"`{name}` ~ 1").response == name
    assert parsed.variables == (name,)
    assert parsed.groups == (GroupTerm(name, f"`{name}`", None, (name,), (name,)),)


@pytest.mark.parametrize("name", ["my x", "1st", "größe (cm)", "a/b", "x + z", "50%", "Q", "(1 | g)"])
@pytest.mark.parametrize("quote", ["Q('{}')", 'Q("{}")', "Q( '{}' )"])
def test_q_quotes_a_name_as_backquotes_do(name, quote):
    patsy, ours = quote.replace("{}", name), f"`{name}`"
    formula = "{0} + log({0}) + ({0} || {0})"
    read, expected = parse(formula.replace("{0}", patsy)), parse(formula.replace("{0}", ours))

    assert (read.common, read.groups, read.variables) == (expected.common, expected.groups, expected.variables)
    assert parse(f"{patsy} ~ 1").response == name


def test_a_column_may_be_called_like_a_function_of_another_language():
    assert parse("Q + factor + as.factor + Helmert").variables == ("Q", "factor", "as.factor", "Helmert")
    assert parse("(1 | factor(g)/as.factor(h))").groups == (bar("1", "g"), bar("1", "g", "h"))


@pytest.mark.parametrize(
    "name", ["log", "np.log", "C", "offset", "x.values", "log.__class__", "größe", "x_1", "lambda"]
)
def test_a_name_without_a_call_is_a_column(name):
    assert parse(f"{name} + {{{name} + 1}} + (1 | {name})").variables == (name,)


@pytest.mark.parametrize(
    ("formula", "response"), [("y ~ x", "y"), ("`my y` ~ x", "my y"), ("y ~ 1", "y"), ("~ x", None), ("x", None)]
)
def test_the_left_side_is_one_column_or_absent(formula, response):
    assert parse(formula).response == response


def test_two_sided_is_one_sided_but_for_the_response():
    two, one = parse("y ~ x + (x || g/h) - 1"), parse("x + (x || g/h) - 1")

    assert (two.common, two.variables, two.groups) == (one.common, one.variables, one.groups)
    assert two.text == "y ~ x + (x || g/h) - 1"


def test_the_first_spelling_of_an_interaction_names_the_factor():
    terms = parse("(1 | h:g) + (0 + x | g:h)").groups

    assert [(term.factor, term.columns) for term in terms] == [("h:g", ("h", "g"))] * 2


REFUSED = {
    # formulae would fit another model and say nothing
    "y ~ x | g": "a bar needs parentheses",
    "x + 1 || g": "a bar needs parentheses",
    "(1 | g) | h": "a bar needs parentheses",
    "x > 0": "'>' cannot be used outside a call; put a comparison inside braces",
    "x <= 0": "'<=' cannot be used outside a call",
    "x == 1": "'==' cannot be used outside a call",
    "x != 1": "'!=' cannot be used outside a call",
    "x = z": "'=' cannot be used outside a call",
    "(x | g) > 0": "'>' cannot be used outside a call",
    "x %in% k": "'%in%' cannot be used outside a call; write nesting as 'a/b'",
    "x z": "an operator is missing between 'x' and 'z'",
    "(x)(z)": "an operator is missing",
    "(1 | g)(1 | h)": "an operator is missing",
    "{x}{z}": "an operator is missing",
    "log(x)(z)": "an operator is missing",
    "log x": "an operator is missing between 'log' and 'x'",
    # other languages
    "x^2": r"'\^' cannot be used outside a call; write '\*\*'",
    "y ~ .": r"'\.' cannot be used outside a call; list the columns by name",
    "x + _x": "'_x' starts with an underscore; write it in backquotes",
    "(1 | _g)": "'_g' starts with an underscore",
    "mm(g, h)": "'mm'.*multi-membership factors are not supported",
    "s(x)": r"'s'.*use bs\(x, df=",
    "ns(x, 3)": r"'ns'.*use bs\(x, df=",
    "mo(k)": "'mo'.*monotonic effects are not supported",
    "(1 | gr(g))": r"'gr'.*\(1 \| g\)",
    "binary(k)": "'binary'.*0/1 column",
    "x[1]": r"'\[' cannot be used outside a call; subsets and lists are not supported",
    "y['a'] ~ x": "subsets and lists are not supported",
    "bs(x, df=[4])": r"'\[' cannot be used inside a call; .* except in knots=\[2, 5\]",
    "bs(x, knots=[z])": r"knots has to be a list of numbers, as in knots=\[2, 5\]; got 'z'",
    "x, z": "',' cannot be used outside a call",
    "x <- 3": "'<' cannot be used",
    "{x % 2}": "'%' cannot be used inside a call",
    "{x // 2}": "'//' cannot be used inside a call",
    "{x & z}": "'&' cannot be used inside a call",
    "{x : z}": "':' cannot be used inside a call",
    "C(y ~ x)": "'~' cannot be used inside a call",
    "x § z": "unexpected character '§'",
    # arithmetic and constants as terms
    "2*x": r"2 is not a term; put arithmetic inside braces",
    "x + 3": "3 is not a term",
    "x + 1.0": "1.0 is not a term",
    "2x": "2 is not a term",
    "x + 'a'": "'a' is not a term",
    "True": "True is not a term",
    "x + None": "None is not a term",
    "(2 | g)": "2 is not a term",
    # the left side
    "log(y) ~ x": "left side must be the name of one column, got 'log\\(y\\)'.*TransformedTargetRegressor",
    "y + z ~ x": "got 'y \\+ z'.*TransformedTargetRegressor",
    "{y - 1} ~ x": "TransformedTargetRegressor",
    "(y) ~ x": "left side must be the name of one column",
    "(y ~ x)": "left side must be the name of one column",
    "a ~ b ~ c": "more than one '~'",
    "~ ~ x": "more than one '~'",
    # names and categories of other languages
    "Q(x)": r"Q\(\) takes the name of one column in quotes, as in Q\('body mass'\)",
    "Q('')": r"Q\(\) takes the name of one column",
    "Q('a', 'b')": r"Q\(\) takes the name of one column",
    "np.factor(k)": "'np.factor', which is not a known function",
    "C(k, Helmert)": r"Helmert is not a contrast; use Treatment or Sum, as in C\(k, Sum\)",
    "C(k, Diff())": "Diff is not a contrast; use Treatment or Sum",
    "factor(k, contr.helmert)": "contr.helmert is not a contrast",
    "x:C(k, Poly)": "Poly is not a contrast",
    "(C(k, Simple) | g)": "Simple is not a contrast",
    "C(k, contrast=Deviation)": "Deviation is not a contrast",
    "C(k, 'Sum')": "'Sum' is not a contrast",
    "C(k, 2)": "2 is not a contrast",
    "C(k, sum)": "sum is not a contrast",
    "C(k, levels=3)": "make the column a Categorical: pd.Categorical",
    "factor(k, labels='a')": "got 'labels'",
    "Treatment(k)": r"Treatment is a contrast and belongs inside C\(\)",
    "x + Sum('a')": r"Sum is a contrast and belongs inside C\(\), as in C\(k, Sum\)",
    "T(k, Treatment('a'))": "Treatment is a contrast",
    # nothing there, or half of it
    "": "has no terms; write '1' for an intercept only",
    "   ": "has no terms",
    "~": "has no terms",
    "y ~": "has no terms",
    "(x": "a bracket is not closed",
    "{x": "a bracket is not closed",
    "log(x": "a bracket is not closed",
    "x)": r"a '\)' has no opening bracket",
    "x}": "a '}' has no opening bracket",
    "`x": "'`' cannot be used",
    "C(k, 'b)": "cannot be used inside a call",
    # bars in the wrong place
    "x - (1 | g)": r"can only be added, got '- \(1 \| g\)'",
    "-(1 | g)": "can only be added",
    "x*(1 | g)": r"can only be added, got 'x \* \(1 \| g\)'",
    "(1 | g)*x": "can only be added",
    "(1 | g):x": "can only be added",
    "x/(z + (1 | g))": "can only be added",
    "((1 | g) + x)**2": "can only be added",
    "x - (z + (1 | g))": "can only be added",
    "(1 | g | h)": r"more than one bar in '\(1 \| g \| h\)'",
    "(1 | g || h)": "more than one bar",
    "((1 | g) | h)": r"expected '\(effects \| factor\)', got '\(\(1 \| g\) \| h\)'",
    "(1 | (x | g))": r"expected '\(effects \| factor\)'",
    "( | g)": r"expected '\(effects \| factor\)'",
    "(1 | )": r"expected '\(effects \| factor\)'",
    "log(1 | g)": r"'\|' cannot be used inside a call",
    "log((1 | g))": r"'\|' cannot be used inside a call",
    "{1 | g}": r"'\|' cannot be used inside a call",
    # not a grouping factor
    "(1 | g - h)": "a grouping factor must be a column, or columns joined by ':', '/', '\\*' or '\\+', got 'g - h'",
    "(1 | 1)": "a grouping factor must be a column",
    "(1 | 0 + g)": "a grouping factor must be a column",
    "(1 | log(g))": r"a grouping factor must be a column.*got 'log\(g\)'",
    "(1 | {g})": "a grouping factor must be a column",
    "(1 | C(g, Sum))": "a grouping factor must be a column",
    "(1 | g**2)": "means the term itself",
    "(1 | g + )": "a grouping factor must be a column",
    "(1 | +g)": "a grouping factor must be a column",
}


@pytest.mark.parametrize(("formula", "message"), REFUSED.items())
def test_what_would_be_misread_is_refused_with_its_cure(formula, message):
    with pytest.raises(FormulaError, match=message):
        parse(formula)


@pytest.mark.parametrize("formula", ["(1 | g}", "(x}", "log(x}", "{x)", "({x)}"])
def test_a_bracket_is_closed_by_its_own_kind(formula):
    with pytest.raises(FormulaError, match=r"bracket|close"):
        parse(formula)


@pytest.mark.parametrize("formula", ["+", "(1 | g) +", "y ~ +", "x + (1 | g) +"])
def test_a_sign_without_a_term_is_refused(formula):
    with pytest.raises(FormulaError, match=r"'\+'"):
        parse(formula)


@pytest.mark.parametrize("formula", ["y ~ y", "y ~ x + (y | g)", "y ~ (1 | y)", "y ~ log(y)"])
def test_the_response_cannot_explain_itself(formula):
    with pytest.raises(FormulaError, match="the response 'y' is also on the right side"):
        parse(formula)


@pytest.mark.parametrize("formula", ["x - offset(z)", "y ~ x - offset(log(z)) + (1 | g)"])
def test_an_offset_cannot_be_subtracted(formula):
    with pytest.raises(FormulaError, match=r"an offset can only be added; to subtract it, write offset\(-x\)"):
        parse(formula)


@pytest.mark.parametrize("formula", [None, 3, b"x", ["x"]])
def test_a_formula_is_a_string(formula):
    with pytest.raises(FormulaError, match=f"must be a string, got {type(formula).__name__}"):
        parse(formula)


HARMFUL = [
    "np.loadtxt('/etc/passwd')",
    "numpy.loadtxt('/etc/passwd')",
    "np.lib.npyio.loadtxt('x')",
    "np.np.loadtxt('x')",
    "np.random.normal(x)",
    "np.C(k)",
    "np.(x)",
    "np (x)",
    "`np`.loadtxt('x')",
    "(np).loadtxt('x')",
    "log(np.loadtxt('x'))",
    "scale(x, np.load('x'))",
    "bs(x, df=open('x'))",
    "os.system('true')",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr(x, 'y')",
    "__import__('os')",
    "{__import__('os').system('true')}",
    "__builtins__",
    "x.__class__()",
    "x.to_csv('/tmp/x')",
    "log.__class__(x)",
    "C.__globals__(x)",
    "log(x).tofile('x')",
    "{x.__class__.__bases__(0)}",
    "{x.__class__[0]}",
    "lambda x: x",
    "{lambda: 1}",
    "{lambda x: x}",
    "[x for x in z]",
    "{x for x in z}",
    "(x for x in z)",
    "{x: z}",
    "{x if z else k}",
    "{x := z}",
    "{not x}",
    "{x @ z}",
    "x; import os",
    "x # comment",
    "f'{x}'",
    "x\\\nz",
]


@pytest.mark.parametrize("formula", HARMFUL)
@pytest.mark.parametrize("place", ["{}", "y ~ z + {}", "({} | g)", "(1 | {})"])
def test_python_never_gets_past_the_parser(formula, place):
    text = place.replace("{}", formula)

    with pytest.raises(FormulaError, match="formula"):
        parse(text)


def test_an_unknown_function_lists_the_known_ones():
    with pytest.raises(FormulaError, match=r"calls 'foo'.*Known functions: 'abs'.*'bs', 'C'.*'log'.*'Treatment'\."):
        parse("foo(x)")


def test_a_refusal_quotes_the_formula_as_written():
    with pytest.raises(FormulaError, match=r"formula 'y  ~ x   \| g'"):
        parse("y  ~ x   | g")
