"""What a search did, as a file that proves its lower bound."""

from __future__ import annotations

import numpy as np

from climbopt.certification.global_bound.boxes import Step
from climbopt.certification.global_bound.search import Enclosure, Node
from climbopt.certification.proof.check import FORMAT, ProofError, Tree, check
from climbopt.certification.proof.decomposition import Decomposition
from climbopt.program import StandardForm

BALLS = "float64 arithmetic, rounded outwards; exp, log and powers in ball arithmetic; {}"
LOWERED = (1e-12, 1e-9, 1e-7, 1e-5, 1e-3)
"""By what shares a bound in floating point is lowered until its proof holds."""


def proved(form: StandardForm, enclosure: Enclosure) -> tuple[float, Tree] | None:
    """Return the lower bound of an enclosure as its proof shows it in ball arithmetic, and the proof; None where none.

    The bound of step 2 is proved for the minimax that it was found for.
    """
    if not enclosure.proof or not np.isfinite(enclosure.lower):
        return None
    of = enclosure.form
    lower = enclosure.lower if of is form else -1.0 / enclosure.lower
    tree = recorded(of, enclosure.proof)
    for share in LOWERED:
        # Balls are a little wider than floats rounded outwards: the claim is lowered until it is shown.
        claim = lower - share * abs(lower)
        proof = {"format": FORMAT, "problem": Decomposition.of(of).digest, "lower": claim, "tree": tree}
        try:
            check(of, proof)
        except ProofError:
            continue
        return (claim if of is form else float(np.nextafter(-1.0 / claim, -np.inf))), proof
    return None


def recorded(form: StandardForm, leaves: tuple[Node, ...]) -> Tree:
    """Return the tree of steps and cuts that a search's boxes came from."""
    # Leaves know their parents; the file states each node with its two halves.
    halves: dict[int, dict[int, Node]] = {}
    for root in leaves:
        while root.parent is not None:
            parent, k = root.parent
            halves.setdefault(id(parent), {})[k] = root
            root = parent

    def tree(node: Node) -> Tree:
        steps, below = [_step(step) for step in node.path if step.evaluated is not None], halves.get(id(node), {})
        if len(below) < 2 or node.split is None:
            return {"steps": steps, "cut": None}
        j, at = node.split
        cut = {"variable": form.variables[j], "at": at, "below": tree(below[0]), "above": tree(below[1])}
        return {"steps": steps, "cut": cut}

    return tree(root)


def _step(step: Step) -> Tree:
    """Return a step as a proof states it."""
    assert step.evaluated is not None
    pieces, choices = step.evaluated.pieces, step.evaluated.choices
    by_block = [pieces[pieces.block == j] for j in np.unique(pieces.block)]
    return {
        "rows": step.prices.rows.tolist(),
        "nonlinear": step.prices.nonlinear.tolist(),
        "sums": step.prices.sums.tolist(),
        "losses": step.prices.losses.tolist(),
        "edges": [np.append(of_block.lower, of_block.upper[-1]).tolist() for of_block in by_block],
        "z0": choices.z0.tolist(),
        "theta": choices.theta.tolist(),
    }
