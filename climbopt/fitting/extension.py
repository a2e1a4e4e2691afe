"""Extending a model by languages that no run has; whether features count is decided by languages left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from climbopt.files import DrawsLike, FilePath, ModelLike, as_draws, as_features, as_model
from climbopt.fitting.new_languages import FEWEST, BaseModel, Draw, KnownLanguages, with_new, with_runs
from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View
from climbopt.model.ensemble import Ensemble, Stacked, blocks_of, check_draws, without_draws
from climbopt.model.mixture import WARNINGS, MixtureModel
from climbopt.model.noise import LossNoise
from climbopt.runs.features import Features

EXTENDED = "extended"
"""Key of a model's provenance: its languages that no run has."""
FEWEST_DRAWS = 40
"""Those of a model with fewer are repeated, and a model without is: a band is as wide as the languages drawn for it."""
MIXTURES, SEED = 200, 0
"""Drawn uniformly from the simplex, at which models of languages left out are compared."""


@dataclass(frozen=True, eq=False, repr=False)
class Extension(Reported):
    """A model with languages that no run has.

    Parameters
    ----------
    model : MixtureModel or Ensemble
        With the predictions of their parameters; an ensemble's noise is that of its other targets.
    draws : tuple of MixtureModel or Ensemble
        The draws of the model, in each of them the new languages with the residuals of known ones.
    new : tuple of str
    known : tuple of str
        The languages that they are taken from.
    errors : mapping of str to float
        Without and with features, mean absolute error (nats) over known languages, each left out and predicted as new
        ones are, against the model that has it; empty where the languages are too few for that, None without features.
    features_stay : bool
        Whether languages left out are predicted better with features.
    """

    model: BaseModel
    draws: tuple[BaseModel, ...]
    new: tuple[str, ...]
    known: tuple[str, ...]
    errors: Mapping[str, float] | None
    features_stay: bool = False

    @property
    def words(self) -> str:
        """What features did, in one line; empty without features."""
        if self.errors is None:
            return ""
        if not self.errors:
            return "features are left out: the languages are too few to leave one out"
        verb = "stay" if self.features_stay else "are left out"
        return "features {}: error on languages left out {features:.4f} nats with them, {without:.4f} without".format(
            verb, **self.errors
        )

    def view(self) -> View:
        """Return the languages and what features did."""
        facts = [f"from {len(self.known)} known languages: {listed(self.known)}", f"{len(self.draws)} draws"]
        title = f"model with {listed(self.new)}, which no run has"
        return View(title, [*facts, *filter(None, [self.words])], self._columns)

    def _columns(self) -> Columns:
        """Return the languages by column."""
        languages = (*self.known, *self.new)
        return {"language": list(languages), "new": [name in self.new for name in languages]}


@check_arguments
def extend(
    model: ModelLike,
    new: Sequence[str],
    draws: DrawsLike = (),
    *,
    features: Features | FilePath | None = None,
    supply: Mapping[str, Amount] | None = None,
    seed: Seed = 0,
) -> Extension:
    """Return a model with further languages, as sources and as targets, of which there is no run.

    Parameters
    ----------
    model : MixtureModel, Ensemble or path
        Fitted to runs of at least three languages.
    new : sequence of str
        Their names. They are targets too, but where no source of the model is one.
    draws : sequence of models or path, optional
        Of the same fit, repeated where they are fewer than `FEWEST_DRAWS`; without them the draws are of the model.
    features : Features or path, optional
        Of all languages, or of all pairs; they count where known languages left out are then predicted better.
    supply : mapping of str to float or str, optional
        Different tokens of each new language, where the model counts repeated tokens.
    seed : int
        Of which known language each draw takes the residuals of.

    Raises
    ------
    InputError
        For a name that the model has, too few known languages, a missing supply, or a language without features.

    Examples
    --------
    >>> import climbopt
    >>> fitted = climbopt.fit("problems/libreoffice6/pilots.csv", "power", n_starts=1)
    >>> more = climbopt.extend(fitted.model, ["fr"])
    >>> more.model.targets[-1], len(more.draws)
    ('fr', 40)
    """
    base = without_draws(as_model(model))
    assert not isinstance(base, Stacked)  # which as_model refuses
    names, tokens = _checked(base, new), TOKENS.by_name(supply or {}, "supply")
    _check_supply(base, names, tokens)
    members = [member for member in as_draws(draws) if not isinstance(member, Stacked)]
    if members:
        check_draws(base, members)
    told = None if features is None else as_features(features)
    group, errors = KnownLanguages.of(base, names, told), None if told is None else _held_out_errors(base, told)
    stay = errors is not None and bool(errors) and errors["features"] < errors["without"]
    if not stay:
        group = KnownLanguages.of(base, names)
    members = members or [base]
    repeated = members * math.ceil(FEWEST_DRAWS / len(members))
    again = [_with(member, group, (seed, k)).with_supply(tokens) for k, member in enumerate(repeated)]
    extended = _doubted(_with(base, group).with_supply(tokens), group)
    return Extension(extended, tuple(again), names, group.sources.known, errors, stay)


def _checked(model: BaseModel, new: Sequence[str]) -> tuple[str, ...]:
    """Return the names of new languages; raises InputError where the model cannot have them."""
    names = (new,) if isinstance(new, str) else tuple(new)
    if not names:
        raise InputError("no language is named; name those that the model is to have")
    for name in names:
        check_name(name, "new language")
        if name in (*model.sources, *model.targets):
            raise InputError(f"'{name}' is a language of the model already; name those that it does not have")
    if len(set(names)) < len(names):
        raise InputError(f"a new language is named twice: {', '.join(names)}")
    if model.pilots is None:
        raise InputError("the model does not state the budgets of its runs; extend one that climbopt fit wrote")
    return names


def _check_supply(model: BaseModel, names: Sequence[str], tokens: Mapping[str, float]) -> None:
    """Refuse supplies of unknown languages, and new languages without one where the model counts repeated tokens."""
    refuse_unknown("language with a supply", tokens, (*model.sources, *names))
    without = [name for name in names if name not in tokens]
    if without and any(block.takes_supply for block in blocks_of(model)[0]):
        raise InputError(
            f"no supply of {listed(without)}, and the model counts repeated tokens; state how many different tokens "
            "there are (--supply FILE, in Python supply=)"
        )


def _with(model: BaseModel, group: KnownLanguages, draw: Draw | None = None) -> BaseModel:
    """Return a model, or a draw by seed and number, with the new languages of a group."""
    if isinstance(model, MixtureModel):
        return with_new(model, group, draw)
    blocks = [with_new(block, group, draw) for block in model.blocks]
    return Ensemble(blocks, model.weights, model.provenance, _noise_with(model.noise, group))


def _noise_with(noise: LossNoise | None, group: KnownLanguages) -> LossNoise | None:
    """Return the noise of an ensemble with new languages, whose deviation is the root mean square of the others'."""
    if noise is None:
        return None
    deviation = np.sqrt((noise.deviations**2).mean(axis=0))
    deviations = np.vstack([noise.deviations, *[deviation] * len(group.targets.new)])
    # Folds of the runs know nothing of the spread between languages, whose band is the normal distribution's.
    return LossNoise(noise.level, deviations, np.maximum(noise.widths, ndtri(0.5 + noise.level / 2)))


def _doubted(model: BaseModel, group: KnownLanguages) -> BaseModel:
    """Return an extended model that says so, and warns in every answer."""
    lines = [
        *model.provenance.get(WARNINGS, "").splitlines(),
        f"no run has {listed(list(group.sources.new))}: extrapolated from {len(group.sources.known)} other languages, "
        "of which it may be like none",
    ]
    without = [*filter(None, [model.provenance.get(EXTENDED)]), *group.sources.new]
    provenance = {**model.provenance, EXTENDED: ", ".join(without), WARNINGS: "\n".join(lines)}
    return replace(model, provenance=provenance)


def _held_out_errors(model: BaseModel, features: Features) -> dict[str, float]:
    """Return mean absolute errors (nats) over known languages, each left out and predicted without and with features.

    Against the losses of the model that has it, of all targets at mixtures of all sources; empty where the others are
    too few. Only sources that are targets, and that runs have, are left out.
    """
    left_out = [name for name in with_runs(model) if name in model.targets]
    if len(left_out) <= FEWEST:
        return {}
    blocks, weights = blocks_of(model)
    ways: dict[str, Features | None] = {"without": None, "features": features}
    errors = {way: [[_error(block, name, of) for name in left_out] for block in blocks] for way, of in ways.items()}
    return {way: float(np.average(np.mean(of, axis=1), weights=weights)) for way, of in errors.items()}


def _error(model: MixtureModel, name: str, features: Features | None) -> float:
    """Return how far losses of a model lie from those where a language is predicted from the others."""
    rest = _without(model, name)
    predicted = with_new(rest, KnownLanguages.of(rest, (name,), features))
    ratios = np.random.default_rng(SEED).dirichlet(np.ones(len(model.sources)), MIXTURES)
    # Columns by name, so that the order of languages does not matter.
    ratios = ratios[:, np.argsort(np.argsort(model.sources))]
    columns = [model.sources.index(source) for source in predicted.sources]
    rows = [model.targets.index(target) for target in predicted.targets]
    assert model.pilots is not None
    budget, params = model.pilots.tokens[1], None if model.pilots.params is None else model.pilots.params[1]
    losses = model.at(budget, params).predicted(ratios)[:, rows]
    return float(np.abs(predicted.at(budget, params).predicted(ratios[:, columns]) - losses).mean())


def _without(model: MixtureModel, name: str) -> MixtureModel:
    """Return a model without a language, as source and as target."""
    rest, j = model.select([other for other in model.targets if other != name]), model.sources.index(name)
    values = {
        p.name: rest.parameters[p.name] if p.per == "target" else np.delete(rest.parameters[p.name], j, axis=-1)
        for p in model.form.parameters
    }
    sources = tuple(other for other in model.sources if other != name)
    return replace(rest, sources=sources, parameters=values)
