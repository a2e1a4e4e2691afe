"""The equations of a model, for reading: with indices for any number of languages, and written out for a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from climbopt.files import ModelLike, as_model_and_rows
from climbopt.foundations.frozen import check_arguments
from climbopt.model.ensemble import blocks_of
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import r_i, r_j
from climbopt.model.templates import derive as derive_form, indexed
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import DistanceRow, LinearRow, Row
from climbopt.reports.typesetting import wrapped

MOST_EXPANDED = 5
"""Languages up to which the equations are also written out."""

MOST_NARROW = 30
"""Columns that the right side of an equation has at least."""

Printer = Callable[[sp.Expr], str]
Line = tuple[str, str, str]
"""Left side, relation, right side."""
_INDEX = {"target": "i", "source": "j", "pair": "ij"}

_ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "_&%$#{}"},
    }
)
"""What LaTeX text takes for the signs that it reads as commands."""


@check_arguments
def derive(of: ModelLike | AllocationProblem, *, latex: bool = False, columns: int = 0) -> str:
    """Return the equations that a model or a problem rests on, as text or LaTeX.

    They are the law, the effective ratio, the marginal benefit, dz/dr and the stationarity conditions. Of an ensemble
    each form is derived; its losses are their weighted means.

    Parameters
    ----------
    of : MixtureModel, Ensemble, AllocationProblem, path or name
        A problem's constraints are derived too.
    latex : bool
        LaTeX instead of plain text; one align* environment per section.
    columns : int
        Width at which lines of plain text wrap; 0 leaves them whole.

    Examples
    --------
    >>> import climbopt
    >>> print(climbopt.derive("one_source").splitlines()[1].strip())
    L_i         = B_i/(D*z_i)**beta_i + E_i
    """
    model, rows = as_model_and_rows(of)
    sections = []
    # Once per form: the blocks of an ensemble's draws repeat its forms.
    for form in {block.label: block for block in blocks_of(model)[0]}.values():
        sections.append((f"{form.label}, with indices", _general(form, latex)))
        if max(len(form.sources), len(form.targets)) <= MOST_EXPANDED:
            sections.append((f"{form.label}, written out", _expanded(form, latex)))
    if rows:
        sections.append((f"{model.label}, constraints", _constraints(rows, latex)))
    if not latex:
        return "\n\n".join(_as_text(title, lines, columns) for title, lines in sections)
    return "\n\n".join(
        f"% {title.split(', ')[-1] if isinstance(model, MixtureModel) else title}\n\\begin{{align*}}\n"
        + " \\\\\n".join(f"  {left} &{relation} {right}" for left, relation, right in lines)
        + "\n\\end{align*}"
        for title, lines in sections
    )


def _as_text(title: str, lines: Sequence[Line], columns: int) -> str:
    """Return a section as plain text; its relations stand below one another."""
    width = max(len(left) for left, _, _ in lines)
    texts = [title]
    for left, relation, right in lines:
        begin = f"  {left:<{width}} {relation} "
        parts = wrapped(right, max(columns - len(begin), MOST_NARROW)) if columns else [right]
        texts += [begin + parts[0], *(" " * len(begin) + part for part in parts[1:])]
    return "\n".join(texts)


def _general(model: MixtureModel, latex: bool) -> list[Line]:
    """Return the equations with indices i (target) and j (another source)."""
    templates = model.templates
    show = _printer(model, latex)
    own, own_t = templates.own.expression, templates.own.first[0]
    pair, (pair_t, pair_s) = templates.pair.expression, templates.pair.first
    slope, curvature = templates.loss.first[0], templates.loss.second[0]
    # Where no data repeat, u is r, and the equations are written in r.
    x = "r" if templates.used is None else "u"
    total = "\\sum_{j \\ne i} " if latex else "sum over j != i of "

    def with_pairs(alone: sp.Expr, pairs: sp.Expr) -> str:
        if pairs == 0:
            return show(alone)
        inner = f"\\left({show(pairs)}\\right)" if latex else f"[{show(pairs)}]"
        return f"{show(alone)} + {total}{inner}" if alone != 0 else f"{total}{inner}"

    # Left sides as text and as LaTeX, beside the right side.
    equations = [
        ("L_i", "L_{i}", show(templates.loss.expression)),
        ("z_i", "z_{i}", with_pairs(own, pair)),
        ("-dL_i/dz_i", "-\\partial L_i / \\partial z_i", show(sp.simplify(-slope))),
        ("d2L_i/dz_i2", "\\partial^2 L_i / \\partial z_i^2", show(sp.simplify(curvature))),
        (f"dz_i/d{x}_i", f"\\partial z_i / \\partial {x}_i", with_pairs(own_t, pair_t)),
        (f"dz_i/d{x}_j", f"\\partial z_i / \\partial {x}_j", show(pair_s)),
        (
            "0",
            "0",
            "\\sum_i w_i \\, (\\partial L_i / \\partial z_i)(\\partial z_i / \\partial r_j) "
            "+ \\lambda + \\zeta_j \\quad \\text{for every source } j \\text{ (joint)}"
            if latex
            else "sum_i w_i (dL_i/dz_i)(dz_i/dr_j) + lambda + zeta_j   for every source j (joint)",
        ),
    ]
    # two_step is for forms whose own data count.
    if model.interaction.own.has(r_i):
        equations += [
            (
                "lambda",
                "\\lambda",
                "-w_i \\, \\partial L_i(\\mathrm{own}_i(p_i)) / \\partial p_i \\quad \\text{for every target (step 1)}"
                if latex
                else "-w_i dL_i(own_i(p_i))/dp_i   for every target i (two_step, direction)",
            ),
            (
                "t*",
                "t^*",
                "\\max t : z_i(r) \\ge \\mathrm{own}_i(t p_i) \\quad \\text{(step 2)}"
                if latex
                else "max t with z_i(r) >= own_i(t p_i)   (two_step, magnitude)",
            ),
        ]
    lines: list[Line] = [(tex if latex else text, "=", right) for text, tex, right in equations]
    # The interaction is written in u; what is beyond it is the chain rule.
    return [*lines[:1], *_of_use(model, latex), *lines[1:]]


def _of_use(model: MixtureModel, latex: bool) -> list[Line]:
    """Return u and its slope; nothing where data are used once."""
    used, show = model.templates.used, _printer(model, latex, used=False)
    value, slope = ("u_{j}", "d u_{j} / d r_{j}") if latex else ("u_j", "du_j/dr_j")
    return [] if used is None else [(value, "=", show(used.expression)), (slope, "=", show(used.first[0]))]


def _expanded(model: MixtureModel, latex: bool) -> list[Line]:
    """Return z, loss and stationarity of each language, with its name in place of an index."""
    show: Printer = _latex if latex else sp.sstr
    # Without the use: z is written over u, and u on lines of its own.
    templates, used = derive_form(model.law, model.interaction), model.templates.used
    # Where tokens are repeated, the same functions are written over u.
    variables = {name: indexed(r_j, name, stem="r") for name in model.sources}
    of_u = {r: indexed(r_j, name, stem="u") for name, r in variables.items()} if used else {}
    z = {t: templates.expand_z(model.sources, t).subs(of_u) for t in model.targets}
    losses = {t: loss.subs(of_u) for t, loss in templates.expand(model.sources, model.targets).items()}
    lines: list[Line] = []
    if used is not None:
        worth = {name: model.templates.expand_use(name) for name in model.sources}
        lines += [(show(of_u[r]), "=", show(worth[name])) for name, r in variables.items()]
    lines += [(show(sp.Symbol(f"z[{t}]")), "=", show(z[t])) for t in model.targets]
    lines += [(show(sp.Symbol(f"L[{t}]")), "=", show(losses[t])) for t in model.targets]
    prime = "Lprime[{0}]" if latex else "dL[{0}]/dz[{0}]"
    for source in model.sources:
        # Chain rule: du_j/dr_j.
        chain = sp.diff(worth[source], variables[source]) if used is not None else 1
        u = of_u.get(variables[source], variables[source])
        slopes = [
            sp.Symbol(f"w[{target}]") * sp.Symbol(prime.format(target)) * sp.diff(z[target], u) * chain
            for target in model.targets
        ]
        lines.append(("0", "=", show(sp.Symbol("lambda") + sp.Symbol(f"zeta[{source}]") + sum(slopes))))
    return lines


def _constraints(rows: Sequence[Row], latex: bool) -> list[Line]:
    """Return the rows of the constraints, each with its name."""
    relation = "\\le" if latex else "<="
    show: Printer = _latex if latex else sp.sstr
    lines: list[Line] = []
    for row in rows:
        if isinstance(row, DistanceRow):
            middle = "\\sum_j |r_j - c_j|" if latex else "sum over j of |r_j - center_j|"
        elif isinstance(row, LinearRow):
            middle = show(
                sp.Add(
                    *(
                        sp.Symbol(f"r[{name}]") * (1 if value == 1 else value)
                        for name, value in row.coefficients.items()
                    )
                )
            )
        else:
            middle = show(row.expression)
        lower = -float("inf") if isinstance(row, DistanceRow) else row.lower
        low = f"{lower:.6g} {relation} " if lower > -float("inf") else ""
        high = f" {relation} {row.upper:.6g}" if row.upper < float("inf") else ""
        lines.append((_text(row.name) if latex else row.name, ":", f"{low}{middle}{high}"))
    return lines


def _printer(model: MixtureModel, latex: bool, *, used: bool = True) -> Printer:
    """Return a printer that puts an index on every parameter, and on z; `used` writes u for r where they differ."""
    renamed = {model.law.z: sp.Symbol("z_i", positive=True), r_i: sp.Symbol("r_i", nonnegative=True)}
    if used and model.templates.used is not None:
        renamed |= {r_i: sp.Symbol("u_i", nonnegative=True), r_j: sp.Symbol("u_j", nonnegative=True)}

    renamed |= {
        p.symbol: sp.Symbol(f"{p.name}_{_INDEX[p.per]}", **p.symbol.assumptions0) for p in model.templates.parameters
    }
    return lambda expression: (sp.latex if latex else sp.sstr)(expression.subs(renamed, simultaneous=True))


def _latex(expression: sp.Expr) -> str:
    """Return LaTeX in which the languages of a symbol such as b[en, de] are a subscript of text."""
    # SymPy would read "en, de" as mathematics: names are set as text, escaped.
    names = {
        symbol: f"{sp.latex(sp.Symbol(stem))}_{{{_text(languages[:-1])}}}"
        for symbol in expression.free_symbols
        for stem, bracket, languages in [symbol.name.partition("[")]
        if bracket
    }
    latex: str = sp.latex(expression, symbol_names=names)
    return latex


def _text(name: str) -> str:
    """Return a name as text within LaTeX mathematics."""
    return f"\\text{{{name.translate(_ESCAPED)}}}"
