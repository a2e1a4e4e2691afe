"""The one walk into another system: the same values as SymPy's own, each node once, and what has no form is named."""

import math

import numpy as np
import pytest
import sympy as sp

from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.translation import UntranslatableError, translate

FUNCTIONS = {name: getattr(math, name) for name in ("exp", "log", "tanh", "sqrt")}
TEMPLATES = {f"law {name}": law.expression for name, law in LAWS.items()} | {
    f"{part} of {name}": getattr(interaction, part)
    for name, interaction in INTERACTIONS.items()
    for part in ("own", "pair")
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_the_value_that_sympy_gives_it(name):
    expression = sp.sympify(TEMPLATES[name])
    if expression.atoms(sp.Min, sp.Max, sp.Piecewise, sp.Abs):
        with pytest.raises(UntranslatableError):
            translate(expression, {s: 1.0 + 0.1 * k for k, s in enumerate(expression.free_symbols)}, FUNCTIONS)
        return
    symbols = sorted(expression.free_symbols, key=str)
    for seed in range(3):
        values = dict(zip(symbols, np.random.default_rng(seed).uniform(0.1, 0.9, len(symbols)).tolist(), strict=True))
        expected = float(expression.evalf(30, subs=values))
        assert translate(expression, values, FUNCTIONS) == pytest.approx(expected, rel=1e-12)


def test_each_different_node_is_translated_once():
    x = sp.Symbol("x")
    calls = []
    shared = sp.exp(x)
    translate(shared + sp.log(1 + shared) * shared**2, {x: 0.5}, {**FUNCTIONS, "exp": lambda v: calls.append(v) or v})
    assert calls == [0.5, 1.0] or calls == [1.0, 0.5]  # exp(x), and exp(2 x), which SymPy writes for exp(x)**2


def test_what_has_no_form_is_named():
    x = sp.Symbol("x")
    with pytest.raises(UntranslatableError, match=r"there is no sin among its functions \(exp, log, tanh, sqrt\)"):
        translate(1 + sp.sin(x), {x: 1.0}, FUNCTIONS)
