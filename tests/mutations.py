"""Random changes of proofs: of numbers, of the lengths of lists and of the tree."""

import copy

import numpy as np

FACTORS = (-1.0, 0.0, 0.5, 0.9, 0.999, 1.001, 1.1, 2.0, 1e3, 1e300, np.nan, np.inf)


def mutated(proof, claim, rng):
    """Return a proof of another claim with one to four random changes of its numbers, its steps and its cuts."""
    made = copy.deepcopy(proof)
    made["lower"] = claim
    for _ in range(rng.integers(1, 5)):
        node = _node(made["tree"], rng)
        if node["cut"] is not None and rng.random() < 0.3:
            _cut(node, rng)
        elif node["steps"]:
            _step(node["steps"], rng)
    return made


def _node(tree, rng):
    """Return a random node of a tree."""
    while tree["cut"] is not None and rng.random() < 0.7:
        tree = tree["cut"][("below", "above")[rng.integers(2)]]
    return tree


def _cut(node, rng):
    """Move a cut, swap its halves, or put one half in the place of both or of the node."""
    cut, kind = node["cut"], rng.integers(4)
    if kind == 0:
        cut["at"] += rng.normal() * 10.0 ** rng.integers(-4, 1)
    elif kind == 1:
        cut["below"], cut["above"] = cut["above"], cut["below"]
    elif kind == 2:
        cut["below"] = copy.deepcopy(cut["above"])
    else:
        node["cut"] = cut["below"]["cut"]


def _step(steps, rng):
    """Leave a step out, or change numbers of it."""
    if rng.random() < 0.1:
        del steps[rng.integers(len(steps))]
        return
    step = steps[rng.integers(len(steps))]
    key = rng.choice([key for key in step if step[key] not in ([], [[]])])
    numbers = step[key]
    while numbers and isinstance(numbers[0], list):
        numbers = numbers[rng.integers(len(numbers))]
    if rng.random() < 0.1 or not numbers:
        del numbers[:1]
        return
    factor, offset = rng.choice(FACTORS), rng.normal() * 10.0 ** rng.integers(-6, 2)
    for k in range(len(numbers)) if rng.random() < 0.3 else [rng.integers(len(numbers))]:
        with np.errstate(all="ignore"):
            numbers[k] = float(numbers[k] * factor if rng.random() < 0.7 else numbers[k] + offset)
