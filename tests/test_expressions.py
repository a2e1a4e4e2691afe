"""Text that users write: what is read, and that nothing else gets through."""

import pytest
import sympy as sp
from hypothesis import given, strategies as st

from climbopt.foundations.errors import InputError
from climbopt.model.expressions import L, Relation, affine_part, entry, parse_expression, parse_relation, r, z
from climbopt.model.symbols import D

GROUPS = {"romance": ("es", "pt"), "west-germanic": ("de", "nl")}
INF = float("inf")


@pytest.mark.parametrize(
    "text, expression, lower, upper",
    [
        ("r[sw] >= 0.5 * r[en]", r["sw"] - 0.5 * r["en"], 0, INF),
        ("L[de] <= L[fr] + 0.05", L["de"] - L["fr"], -INF, 0.05),
        ("z[pt] + z[es] >= 0.3", z["pt"] + z["es"], 0.3, INF),
        ("sum(r[x] for x in romance) <= 0.4", r["es"] + r["pt"], -INF, 0.4),
        ('sum(r[lang]**2 for lang in "west-germanic") <= 0.4', r["de"] ** 2 + r["nl"] ** 2, -INF, 0.4),
        ("0.1 <= r[is] + r[as] <= 0.2", r["is"] + r["as"], 0.1, 0.2),
        ("0.2 >= r[zh-Hant] >= 0.1", r["zh-Hant"], 0.1, 0.2),
        ("r['in'] == r[\"or\"]", r["in"] - r["or"], 0, 0),
        ("-r[a] <= -0.1", -r["a"], -INF, -0.1),
        ("  r[ a ] * D\n >= 1e9 ", D * r["a"], 1e9, INF),
        ("L[a] / (1 + r[b]) - 2**-1 <= +3", L["a"] / (1 + r["b"]), -INF, 3.5),
        ("r[a] - 3 <= r[b] ** 0.5 - 3", r["a"] - r["b"] ** 0.5, -INF, 0),
    ],
)
def test_relations(text, expression, lower, upper):
    found = parse_relation(text, GROUPS)
    assert sp.simplify(found.expression - expression) == 0
    assert (found.lower, found.upper) == (pytest.approx(lower), pytest.approx(upper))


@pytest.mark.parametrize(
    "text, words",
    [
        ("__import__('os').system('true') <= 1", "call"),
        ("r[a] <= open('x')", "call"),
        ("exec('1') <= r[a]", "call"),
        ("r.__class__ <= 1", "attribute"),
        ("r[a].real <= 1", "attribute"),
        ("().__class__.__bases__ <= r[a]", "attribute"),
        ("r[a][b] <= 1", "index"),
        ("q[a] <= 1", "index"),
        ("r <= 1", "'r' is none of"),
        ("os <= r[a]", "'os' is none of"),
        ("(lambda: r[a])() <= 1", "not allowed"),
        ("[r[a] for x in romance] <= 1", "not allowed"),
        ("sum([r[a]]) <= 1", "call"),
        ("sum(r[x] for x in romance if 1) <= 1", "a sum is"),
        ("sum(r[x] for x in romance for y in romance) <= 1", "a sum is"),
        ("sum(sum(r[y] for y in romance) for x in romance) <= 1", "a sum inside a sum"),
        ("f'{r}' <= r[a]", "not allowed"),
        ("'text' <= r[a]", "not allowed"),
        ("r[a] if 1 else r[b] <= 1", "a constraint compares"),
        ("(r[a] := 1) <= 1", "cannot be read"),
        ("r[a] <= True", "truth value"),
        ("r[a] ** 9 <= 1", "exponent is between"),
        ("r[a] ** r[b] <= 1", "exponent is a number"),
        ("9 ** 9 ** 9 <= r[a]", "exponent is a number"),
        ("r[a] ** (10**9) <= 1", "exponent is a number"),
        ("(-2) ** 0.5 <= r[a]", "no real number"),
        ("r[a] / 0 <= 1", "divides by 0"),
        ("r[a] + ", "cannot be read"),
        ("r[a] + 0.2", "a constraint compares"),
        ("", "cannot be read"),
        ("r[a] < 0.2", "a comparison is"),
        ("r[a] != 0.2", "a comparison is"),
        ("r[a] in romance", "a comparison is"),
        ("r[a] <= r[b] <= r[c]", "chained"),
        ("0.1 <= r[b] >= 0.2", "chained"),
        ("0.1 <= r[b] <= 0.2 <= 0.3", "chained"),
        ("0.1 == r[b] == 0.1", "chained"),
        ("0.3 <= r[b] <= 0.2", "no number lies between"),
        ("(r[a] <= 0.2) <= 1", "write a value"),
        ("0.1 <= 0.2", "says nothing"),
        ("r[a] - r[a] <= 0.2", "says nothing"),
        ("1e999 * r[a] <= 0.2", "no finite number|no real"),
        ("r[a] <= 1e999", "no finite number"),
        ("r[a] <= 1j", "not allowed"),
        ("(" * 40 + "r[a]" + ")" * 40 + " <= 1", "levels of brackets"),
        ("-" * 500 + "r[a] <= 1", "nested too deeply"),
        ("r[a] + " * 500 + "0 <= 1", "2000 are allowed|characters"),
        ("r[a] \0<= 1", "cannot be read"),
        ("sum(r[x] for x in romanze) <= 1", "did you mean 'romance'"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_relation(text, GROUPS)


def test_the_position_is_that_of_the_users_text():
    with pytest.raises(InputError, match=r"position 20 \(at 'foo\(1\) <= 1'\)"):
        parse_relation("r[zh-Hant] + r[is]+foo(1) <= 1", {})
    with pytest.raises(InputError, match="Allowed: numbers, r\\[language\\]"):
        parse_relation("foo <= 1", {})


@given(st.text(alphabet="rzLD[]()+-*/<=>. 0123456789abesumforxin_'\"", max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        relation = parse_relation(text, GROUPS)
    except InputError:
        return
    assert isinstance(relation, Relation) and relation.lower <= relation.upper
    for symbol in relation.expression.free_symbols - {D}:
        assert entry(symbol)[0] in "rzL"


def test_sympy_relations():
    assert Relation.of_sympy(r["a"] >= 0.1) == Relation(r["a"], 0.1, INF)
    assert Relation.of_sympy(sp.Eq(r["a"] + 1, 2 * r["b"])).upper == -1
    for wrong in (r["a"] < 1, r["a"] + 1, sp.true, sp.Ne(r["a"], 1)):
        with pytest.raises(InputError, match="no relation with"):
            Relation.of_sympy(wrong)
    with pytest.raises(InputError, match="no quantity of a mixture"):
        entry(sp.Symbol("alpha"))
    with pytest.raises(InputError, match="no quantity of a mixture"):
        entry(sp.Symbol("r[a]", positive=True))


def test_expression_and_affine_part():
    expression = parse_expression("2 * L[de] - r[en]**2 + z[en] / 4 + 1", {})
    coefficients, rest = affine_part(expression)
    assert coefficients == {("L", "de"): 2.0, ("z", "en"): 0.25} and rest == 1 - r["en"] ** 2
    with pytest.raises(InputError, match="write a value"):
        parse_expression("r[a] <= 1", {})
