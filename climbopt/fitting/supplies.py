"""Supplies of a fit: what is known of how many different tokens each source has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from climbopt.fitting.estimate import Fixed
from climbopt.foundations.errors import InputError, listed, unknown_name
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.model.mixture import LEAST_SUPPLY
from climbopt.model.templates import Form
from climbopt.model.uses import SUPPLY
from climbopt.runs.pilots import PilotRuns


def with_supplies(pilots: PilotRuns, forms: Sequence[Form], fixed: Fixed, supply: Mapping[str, Amount] | None) -> Fixed:
    """Return the known parameters with the supplies of the sources, where one of the forms has them.

    Without stated supplies those are the largest that any run had.

    Raises
    ------
    InputError
        Where supplies are stated as a fixed parameter, of an unknown language, or, for a use, not of every source.
    """
    if SUPPLY in fixed:
        raise InputError(
            f"'{SUPPLY}' is the supply of a source; give supplies by --supply FILE (in Python supply=), a CSV of "
            "language, tokens"
        )
    tokens: Mapping[str, float] | None = None if supply is None else TOKENS.by_name(supply, "supply")
    if tokens is not None:
        for language in tokens:
            if language not in (*pilots.sources, *pilots.targets):
                raise unknown_name("language with a supply", language, pilots.sources)
        missing = [name for name in pilots.sources if name not in tokens]
        if missing and any(p.name == SUPPLY for form in forms for p in form.use.parameters):
            raise InputError(
                f"the supply of {listed(missing, most=4)} is not stated; give the tokens of every source in the runs"
            )
    elif pilots.supply is not None:
        # Runs may be drawn from supplies cut down; the whole one is the largest.
        tokens = dict(zip(pilots.sources, pilots.supply.max(axis=0).tolist(), strict=True))
    if tokens is None or not any(p.name == SUPPLY for form in forms for p in form.parameters):
        return fixed
    # A target that is no source is drawn in no run, so that its supply does not matter.
    return {**fixed, SUPPLY: {name: max(tokens[name], LEAST_SUPPLY) for name in pilots.sources if name in tokens}}
