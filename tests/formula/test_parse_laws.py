"""Laws of the grammar: no text but is read or refused, and what was read reads as itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse
from helpers.strategies import formulas, texts


def as_text(parsed):
    """A formula with one bar per factor that says what `parsed` does."""
    terms = [parsed.common]
    for term in parsed.groups:
        bar = "||" if term.correlated is False else "|"
        terms.append(f"({term.effects_formula} {bar} {':'.join(f'`{column}`' for column in term.columns)})")
    return f"{f'`{parsed.response}` ~ ' if parsed.response else ''}{' + '.join(terms)}"


@given(st.one_of(texts(), formulas()))
def test_any_text_is_read_as_itself_or_refused(text):
    try:
        parsed = parse(text)
    except FormulaError:
        return
    again = parse(as_text(parsed))

    assert replace(again, text=text) == parsed


@given(formulas())
def test_spaces_say_nothing(text):
    def meaning(formula):
        try:
            return replace(parse(formula), text="")
        except FormulaError:
            return None

    text = text.replace("`a b`", "w")  # there, a space says something

    assert meaning(text.replace(" ", "  \n")) == meaning(text)


def test_a_number_beyond_floats_is_not_a_column_called_inf():
    with pytest.raises(FormulaError, match=r"the number 1e400 is too large"):
        parse("{x * 1e400}")
