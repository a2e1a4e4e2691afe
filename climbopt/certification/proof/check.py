"""The check of a file that proves a lower bound; it trusts nothing of what the file states.

    {"format": ..., "problem": digest, "lower": claim, "tree": node}
    node:  {"steps": [step, ...], "cut": {"variable": name, "at": value, "below": node, "above": node} or null}
    step:  {"rows": [...], "nonlinear": [...], "sums": [[...]], "losses": [...],
            "edges": [[...], ...], "z0": [...], "theta": [...]}

A step evaluates the inequality of :mod:`climbopt.certification.proof.blocks` on the box so far, at its multipliers.
Its pieces lie between the edges of each block, which must cover the box; z0 and theta are one number for each target of
each piece. What is left is the box around the pieces that are not lifted to the claim. A node ends where the bound
reaches the claim or nothing is left; else it is cut in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from climbopt.certification.proof.blocks import Cells, Choices, Dual, Prices, Value
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.enclosures import root, tightened
from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array
from climbopt.program import StandardForm

FORMAT = "climbopt lower bound 3"

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
    shape, rows = (len(problem.separable.parts), len(problem.home)), len(problem.polytope.rows)
    sums = np.array(step["sums"], dtype=float).reshape(shape)
    losses = np.zeros(0) if problem.mean is None else _numbers(step, "losses", problem.mean[0].weights.size)
    prices = Prices(_numbers(step, "rows", rows), _numbers(step, "nonlinear", problem.functions.n_rows), sums, losses)
    pieces = covering(problem, box, step["edges"], name)
    dual = Dual(problem, prices, box)
    pairs = dual.targets(pieces)[0].size
    bound = dual.bounds(pieces, Choices(_numbers(step, "z0", pairs), _numbers(step, "theta", pairs)))
    value: Value = dual.value(pieces, bound)
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
