"""What several test files share."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from climbopt import cli
from climbopt.files import load_pilots
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import agreeing_pairs
from climbopt.model.uses import USES

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

collect_ignore = ["plugin"]  # a package of its own: test_plugins.py installs it and runs its tests
PROBLEMS = Path(__file__).parents[1] / "problems"

_SIZES = {
    "R": 2.0,
    "H": 1.5,
    "rho": 0.5,
    "nu": 0.3,
    "p": 0.6,
    "s": 0.5,
    "E": 1.0,
    "A": 0.5,
    "a": 0.3,
    "B": 2.0,
    "beta": 0.3,
    "eta": 5.0,
    "b": 0.2,
    "k": 0.1,
    "h": 0.01,
    "l": 0.02,
    "gamma": 0.2,
    "c": 1.0,
    "kappa": 1.0,
    "t": 1.0,
    "c_own": 2.0,
    "g_own": 0.5,
    "g": 0.5,
    "U": 0.3,
    "tau": 0.2,
    "q": 0.5,
    "K": 0.01,
    "alpha": 3.0,
}


def law_for(interaction):
    """Return the name of the first law that takes an interaction's z."""
    return agreeing_pairs(interactions=[INTERACTIONS[interaction]])[0][0].name


def random_model(interaction="gated", *, law=None, sources=4, targets=None, signed=False, seed=0, use="once"):
    """Return a model with random parameters; languages are s0, s1, ...; targets default to the sources."""
    rng = np.random.default_rng(seed)
    law = law or law_for(interaction)
    names = tuple(f"s{j}" for j in range(sources))
    targets = names if targets is None else tuple(targets)
    shapes = {"target": (len(targets),), "source": (sources,), "pair": (len(targets), sources)}
    chosen = LAWS[law].parameters + INTERACTIONS[interaction].parameters + USES[use].parameters
    values = {p.name: _SIZES[p.name] * rng.uniform(0.5, 1.5, shapes[p.per]) for p in chosen}
    if signed and "b" in values:
        values["b"] = np.where(rng.random(values["b"].shape) < 0.4, -0.4 * values["b"], values["b"])
    return MixtureModel(LAWS[law], INTERACTIONS[interaction], names, targets, values, token_unit=1e9, use=USES[use])


def random_ratios(n, seed=0):
    """Return a mixture inside the simplex."""
    return np.random.default_rng(seed).dirichlet(np.full(n, 2.0))


@pytest.fixture(scope="session")
def pilots():
    return load_pilots(PROBLEMS / "libreoffice6" / "pilots.csv")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; returns exit code, standard output, standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["climbopt", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out = capsys.readouterr()
        return code, out.out, out.err

    return call
