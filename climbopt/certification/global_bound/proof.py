"""Proofs of a lower bound: a tree of boxes with multipliers, and the check that repeats every bound from them.

    {"format": ..., "problem": digest, "lower": claim, "tolerance": ..., "tree": node}
    node:  {"steps": [{"rows": [...], "nonlinear": [...], "sums": [[...]], "box": [[lower, upper], ...] or null}],
            "cut": {"variable": name, "at": value, "below": node, "above": node} or null}

A step takes the box so far, evaluates the dual function at its multipliers and keeps what may be below the claim: the
box that it states, which must be what the check computes; null where nothing is left. A node without a cut must end so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from climbopt.certification.global_bound.boxes import BoundedProblem, Step, bounded, examined
from climbopt.certification.global_bound.dual import Box, Prices
from climbopt.foundations.errors import InputError
from climbopt.program import StandardForm

FORMAT = "climbopt lower bound 1"
SAME = 1e-9
"""How much the ends of a stated box may differ from the computed ones."""

Tree = dict[str, Any]


class ProofError(InputError):
    """A proof that does not show what it claims."""


@dataclass(frozen=True, eq=False)
class Branch:
    """Prices for a box, one after the other, and the two branches that it is cut into after them."""

    multipliers: tuple[Prices, ...]
    cut: tuple[int, float, Branch, Branch] | None = None


def digest(form: StandardForm) -> str:
    """Return the SHA-256 of a standard form: templates, parameters, bounds, rows and objective."""
    functions, made = form.functions, hashlib.sha256()
    table = functions.table  # type: ignore[attr-defined]
    texts = [*form.variables, functions.scale]  # type: ignore[attr-defined]
    bounds, rows, nonlinear = form.polytope.bounds, form.polytope.rows, form.nonlinear
    arrays = [bounds.lower, bounds.upper, form.polytope.dense, rows.lower, rows.upper, nonlinear.lower, nonlinear.upper]
    arrays += [table.dense, table.constant, functions.offset]  # type: ignore[attr-defined]
    for response in functions.responses.parts:  # type: ignore[attr-defined]
        model = response.model
        texts += [model.sources, model.targets, response.D, response.N, model.law.expression, model.use.expression]
        texts += [model.interaction.own, model.interaction.pair]
        arrays += [model.parameters[p.name] for p in model.templates.parameters] + [model.own_source]
    made.update(repr([str(text) for text in texts]).encode())
    for array in arrays:
        made.update(repr(np.shape(array)).encode() + np.ascontiguousarray(array, dtype=float).tobytes())
    return made.hexdigest()


def written(form: StandardForm, branch: Branch, lower: float, tolerance: float) -> Tree | None:
    """Return the proof of a lower bound, with the boxes that its multipliers leave; None where they do not reach it."""
    problem = bounded(form)
    with _precise():
        tree = _node(problem, problem.root(lower), branch, lower, tolerance)
    if tree is None:
        return None
    return {"format": FORMAT, "problem": digest(form), "lower": lower, "tolerance": tolerance, "tree": tree}


def _node(problem: BoundedProblem, box: Box, branch: Branch, lower: float, tolerance: float) -> Tree | None:
    steps: list[Tree] = []
    for multipliers in branch.multipliers:
        step = examined(problem, box, multipliers, lower, tolerance)
        ended = step.lower >= lower
        ends = (
            None
            if ended
            else [list(pair) for pair in zip(step.box.lower.tolist(), step.box.upper.tolist(), strict=True)]
        )
        used = step.multipliers
        steps.append(
            {"rows": used.rows.tolist(), "nonlinear": used.nonlinear.tolist(), "sums": used.sums.tolist(), "box": ends}
        )
        if ended:
            return {"steps": steps, "cut": None}
        box = step.box
    if branch.cut is None:
        return None
    j, at, *halves = branch.cut
    if not box.lower[j] < at < box.upper[j]:
        at = 0.5 * float(box.lower[j] + box.upper[j])
    below, above = (
        _node(problem, half, one, lower, tolerance) for half, one in zip(box.halves(j, at), halves, strict=True)
    )
    if below is None or above is None:
        return None
    cut = {"variable": problem.form.variables[j], "at": at, "below": below, "above": above}
    return {"steps": steps, "cut": cut}


def check(form: StandardForm, proof: Tree) -> tuple[float, int]:
    """Return the lower bound that a proof shows and the number of its boxes; every bound is computed anew.

    Raises
    ------
    InputError
        Where it is no such proof.
    ProofError
        Where it is of another problem, or does not show what it claims; says which box fails.
    """
    if not isinstance(proof, dict) or proof.get("format") != FORMAT:
        raise InputError(f"this is no proof of a lower bound; its format must be '{FORMAT}'")
    try:
        return _checked(form, proof)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the proof is damaged ({type(error).__name__}: {error}); write it anew") from None


def _checked(form: StandardForm, proof: Tree) -> tuple[float, int]:
    """Return the lower bound and the number of boxes of a proof in the format."""
    if proof["problem"] != digest(form):
        raise ProofError("the proof is of another problem: its digest differs from that of this one")
    lower, tolerance = float(proof["lower"]), float(proof["tolerance"])
    if not np.isfinite(lower):
        raise ProofError("the claimed bound is not a number")
    problem = bounded(form)
    with _precise():
        return lower, _check_node(problem, problem.root(lower), proof["tree"], lower, tolerance, "root")


def _check_node(problem: BoundedProblem, box: Box, node: Tree, lower: float, tolerance: float, name: str) -> int:
    """Check that no point of a box is below the claim; return the number of boxes."""
    for k, stated in enumerate(node["steps"]):
        step = examined(problem, box, _multipliers(problem, stated), lower, tolerance)
        if step.lower >= lower:
            return 1
        _compare(step, stated["box"], f"{name}, step {k + 1}")
        box = step.box
    if node["cut"] is None:
        raise ProofError(f"the bound {lower!r} is not reached on {name}")
    cut, names = node["cut"], problem.form.variables
    if cut["variable"] not in names:
        raise ProofError(f"{name} is cut at '{cut['variable']}', which is no variable")
    j, at = names.index(cut["variable"]), float(cut["at"])
    if not box.lower[j] <= at <= box.upper[j]:
        raise ProofError(f"{name} is cut outside of itself, at {at!r}")
    below, above = box.halves(j, at)  # the two cover the box
    return (
        1
        + _check_node(problem, below, cut["below"], lower, tolerance, f"{name}, {cut['variable']} <= {at:.6g}")
        + _check_node(problem, above, cut["above"], lower, tolerance, f"{name}, {cut['variable']} >= {at:.6g}")
    )


def _multipliers(problem: BoundedProblem, stated: Tree) -> Prices:
    """Return the multipliers of a step; any numbers do, those of a wrong side count as 0."""
    shape = (len(problem.separable.parts), len(problem.home))
    found = Prices(*(np.array(stated[key], dtype=float) for key in ("rows", "nonlinear", "sums")))
    sizes = (found.rows.shape, found.nonlinear.shape, found.sums.reshape(shape).shape)
    if sizes != ((len(problem.polytope.rows),), (problem.functions.n_rows,), shape):
        raise ProofError("a step has multipliers of another problem's size")
    return Prices(found.rows, found.nonlinear, found.sums.reshape(shape))


def _compare(step: Step, stated: Any, name: str) -> None:
    """Raise InputError where a stated box is not the computed one."""
    if stated is None:
        raise ProofError(f"the bound is not reached on {name}, where the proof says that it is")
    ends = np.array(stated, dtype=float)
    computed = np.stack([step.box.lower, step.box.upper], axis=1)
    if ends.shape != computed.shape or not (np.abs(ends - computed) <= SAME * (1 + np.abs(computed))).all():
        raise ProofError(f"the box that {name} states is not what its multipliers leave")


@contextmanager
def _precise() -> Iterator[None]:
    """Evaluate exp, log and powers in balls."""
    from climbopt.certification.global_bound.balls import in_balls  # so that only proofs load python-flint

    with in_balls():
        yield
