"""The check of a file that proves a lower bound; it trusts nothing of what the file states.

    {"format": ..., "problem": digest, "lower": claim, "tree": node}
    node:  {"steps": [step, ...], "cut": {"variable": name, "at": value, "below": node, "above": node} or null}
    step:  {"rows": [...], "nonlinear": [...], "sums": [[...]], "losses": [...],
            "edges": [[...], ...], "z0": [...], "theta": [...]}

A step evaluates the inequality of :mod:`climbopt.certification.proof.blocks` on the box so far, at its multipliers.
Its pieces lie between the edges of each block, which must cover the box; z0 and theta are one number for each target of
each piece. What is left is the box around the pieces that are not lifted to the claim. A node ends where the bound
reaches the claim or nothing is left; else it is cut in two. Boxes hold every feasible point whose objective is at most
a limit: linear rows, and nonlinear ones by enclosures of z and losses, cut the rest away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from climbopt.certification.proof.blocks import Cells, Choices, Dual, Prices, Value
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.enclosures import enclosing, rests
from climbopt.certification.proof.separable import NoBoundError
from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.program import StandardForm

FORMAT = "climbopt lower bound 3"
TIGHTENINGS = 3
"""Times that rows tighten a box."""

Tree = dict[str, Any]


class ProofError(InputError):
    """A proof that does not show what it claims."""


def check(form: StandardForm, proof: Tree) -> tuple[float, int]:
    """Return the lower bound that a proof shows and the number of its boxes.

    Raises
    ------
    InputError
        Where it is no such proof.
    ProofError
        Where it is of another problem, or does not show what it claims; says which box fails.
    """
    if not isinstance(proof, dict) or proof.get("format") != FORMAT:
        raise InputError(
            f"this is no proof of a lower bound in the format '{FORMAT}'; write it anew by climbopt certify PROBLEM "
            "--rigor ball --proof FILE"
        )
    from climbopt.certification.proof.balls import in_balls  # so that only proofs load python-flint

    try:
        problem = Decomposition.of(form)
        if proof["problem"] != problem.digest:
            raise ProofError("the proof is of another problem: its digest differs from that of this one")
        lower = float(proof["lower"])
        if not np.isfinite(lower):
            raise ProofError("the claimed bound is not a number")
        with in_balls():
            return lower, _checked(problem, root(problem, lower), proof["tree"], lower, "root")
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"the proof is damaged ({type(error).__name__}: {error}); write it anew") from None


def _checked(problem: Decomposition, box: Box, node: Tree, claim: float, name: str) -> int:
    """Check that no point of a box is below the claim; return the number of boxes."""
    # A box is None once nothing of it is left: neither the rows nor a step leave a point below the claim.
    left = tightened(problem, box)
    for k, step in enumerate(node["steps"]):
        if left is not None:
            left = _left(problem, left, step, claim, f"{name}, step {k + 1}")
        if left is not None:
            left = tightened(problem, left)
    if left is None:
        return 1
    cut, names = node["cut"], problem.form.variables
    if cut is None:
        raise ProofError(f"the bound {claim!r} is not reached on {name}")
    if cut["variable"] not in names or not np.isfinite(float(cut["at"])):
        raise ProofError(f"{name} is cut at {cut['at']!r} of '{cut['variable']}', which is no variable and number")
    j = names.index(cut["variable"])
    at = float(np.clip(float(cut["at"]), left.lower[j], left.upper[j]))
    below, above = left.halves(j, at)  # the two cover the box
    return (
        1
        + _checked(problem, below, cut["below"], claim, f"{name}, {cut['variable']} <= {at:.6g}")
        + _checked(problem, above, cut["above"], claim, f"{name}, {cut['variable']} >= {at:.6g}")
    )


def _left(problem: Decomposition, box: Box, step: Tree, claim: float, name: str) -> Box | None:
    """Return the box around what may be below the claim by a step's numbers; None where nothing is."""
    prices = Prices(
        _numbers(step, "rows", len(problem.polytope.rows)),
        _numbers(step, "nonlinear", problem.functions.n_rows),
        np.array(step["sums"], dtype=float).reshape(len(problem.separable.parts), len(problem.home)),
        np.zeros(0) if problem.mean is None else _numbers(step, "losses", problem.mean[0].weights.size),
    )
    pieces, dual = covering(problem, box, step["edges"], name), Dual(problem, prices, box)
    pairs = dual.targets(pieces)[0].size
    choices = Choices(_numbers(step, "z0", pairs), _numbers(step, "theta", pairs))
    value: Value = dual.value(pieces, dual.bounds(pieces, choices))
    return None if value.lower >= claim else value.left(claim)


def _numbers(step: Tree, key: str, size: int) -> Array:
    """Return the numbers of a step under a key."""
    numbers = np.array(step[key], dtype=float)
    if numbers.shape != (size,):
        raise ProofError(f"a step has {numbers.size} numbers under '{key}', of which the problem has {size}")
    return numbers


def covering(problem: Decomposition, box: Box, edges: Sequence[Sequence[float]], name: str) -> Cells:
    """Return the pieces between edges of each block, without what lies outside of a box, all of which they cover."""
    if len(edges) != problem.n_blocks:
        raise ProofError(f"{name} states edges of {len(edges)} blocks; the problem has {problem.n_blocks}")
    low, high = problem.by_block(box.lower), problem.by_block(box.upper)
    ends = [np.array(of_block, dtype=float) for of_block in edges]
    for j, of_block in enumerate(ends):
        rises = of_block.ndim == 1 and of_block.size > 1 and (np.diff(of_block) >= 0).all()
        if not (rises and of_block[0] <= low[j] and of_block[-1] >= high[j]):
            raise ProofError(f"the pieces that {name} states do not cover its box in block {j + 1}")
    # Pieces beyond the box say nothing of it: cut to it, they still cover it, since edges do not fall.
    ends = [np.clip(of_block, low[j], high[j]) for j, of_block in enumerate(ends)]
    block = np.repeat(np.arange(len(ends)), [of_block.size - 1 for of_block in ends])
    lower, upper = (np.concatenate([of_block[part] for of_block in ends]) for part in (np.s_[:-1], np.s_[1:]))
    return Cells(block.astype(np.intp), lower, upper)


def root(problem: Decomposition, upper: float) -> Box:
    """Return a box of all points that are feasible and have an objective of at most `upper`.

    Raises
    ------
    NoBoundError
        Where an auxiliary has no bounds.
    """
    bounds, n, (in_total, total) = problem.polytope.bounds, problem.form.n_ratios, problem.total
    low, high = bounds.lower.copy(), bounds.upper.copy()
    high[:n] = np.where(in_total[:n] > 0, np.minimum(high[:n], total), high[:n])  # as all of them are >= 0
    box = tightened(problem, Box(low, high))
    box = None if box is None else cut(box, *of_auxiliaries(problem, box, upper))
    if box is None:
        return Box(low, low)
    free = np.flatnonzero(~np.isfinite(box.width))
    if free.size:
        name = problem.form.variables[int(free[0])]
        raise NoBoundError(f"nothing bounds the auxiliary '{name}': no mixture is known that meets the constraints")
    return box


def tightened(problem: Decomposition, box: Box) -> Box | None:
    """Return a box cut by the linear rows; None where nothing is left."""
    rows, dense = problem.polytope.rows, problem.polytope.dense
    return cut(box, np.vstack([dense, -dense]), np.append(rows.upper, -rows.lower))


def cut(box: Box, a: Array, b: Array) -> Box | None:
    """Return a box cut by rows a x <= b; None where nothing is left."""
    low, high = box.lower, box.upper
    for _ in range(TIGHTENINGS):
        # a_j x_j <= b - the least that the other terms can be; divided by a_j, whose sign tells which end moves.
        terms = (enclosing(a) * Interval(low, high)).lower
        others = enclosing(np.where(np.eye(low.size) > 0, 0.0, terms[:, None])).sum(2)
        end = (enclosing(b[:, None]) - enclosing(others.lower)) / enclosing(a)
        high = np.minimum(high, np.where(a > 0, end.upper, np.inf).min(axis=0, initial=np.inf))
        low = np.maximum(low, np.where(a < 0, end.lower, -np.inf).max(axis=0, initial=-np.inf))
    return Box(low, high) if (low <= high).all() else None


def of_auxiliaries(problem: Decomposition, box: Box, upper: float) -> tuple[Array, Array]:
    """Return rows a x <= b that the objective and nonlinear rows imply for auxiliaries, z and losses enclosed."""
    table, limits = problem.functions.table, problem.form.nonlinear
    reads = (table.parts.x[:, problem.n_sources :] != 0).any(axis=1)
    reads[list(table.curved)] = False
    rest, on_x = rests(problem, box), table.parts.x[reads]
    # on_x x + rest <= upper limit, and >= lower limit, with rest anywhere in its enclosure.
    most = (enclosing(np.append(upper, limits.upper)) - rest).upper
    least = (rest - enclosing(np.append(-np.inf, limits.lower))).upper
    return np.vstack([on_x, -on_x]), np.append(most[reads], least[reads])
