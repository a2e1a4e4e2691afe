"""Backends that break their contract in every way: a Solution that names it, never a traceback or a wrong 0."""

import faulthandler
import json
import os
import signal
import time

import numpy as np
import pytest

import climbopt
from climbopt import BACKENDS, BackendError, InputError, Options, Solution, Termination
from climbopt.backends import load
from climbopt.backends.apart import FailedError, apart, described
from climbopt.backends.backend import checked_native
from climbopt.backends.entry import Plugin
from climbopt.backends.guarded import Guarded, checked
from climbopt.foundations.solution import Multipliers
from climbopt.procedures import joint_form


def answer(x, multipliers=None, *, termination=Termination.SOLVED, words="done", **more):
    values = dict(backend="odd", backend_version="1", iterations=1, evaluations=None, seconds=0.0) | more
    return Solution(x, multipliers, termination, words, **values)


class Odd:
    """A backend that solves by a function of a form."""

    name, version = "odd", "odd 1"

    def __init__(self, solve=None):
        self._solve = solve

    def refusal(self, form):
        return None

    def solve(self, form, options):
        return self._solve(form)


class Unwritable(Exception):
    def __str__(self):
        raise ValueError("no message")


def raises(error):
    raise error


def leaves_a_child(form):
    if os.fork() == 0:
        time.sleep(60)  # it holds the pipe of the answer open
    os._exit(0)


def crashes(form):
    faulthandler.disable()  # pytest's, which would print where it happened
    os.kill(os.getpid(), signal.SIGSEGV)


def no_multipliers(form, **parts):
    values = dict(bounds=np.zeros(form.n), rows=np.zeros(form.polytope.A.shape[0]), nonlinear=np.zeros(0)) | parts
    return Multipliers(**values)


ODD = {
    "raises": (lambda form: raises(ValueError("no\n good \x1b[31m")), r"ValueError: no good \x1b[31m"),
    "raises without words": (lambda form: raises(Unwritable()), "Unwritable"),
    "runs out of memory": (lambda form: raises(MemoryError("10 TB")), "MemoryError: 10 TB"),
    "interrupts": (lambda form: raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    "exits": (lambda form: raises(SystemExit(0)), "SystemExit: 0"),
    "leaves": (lambda form: os._exit(0), "ended with exit code 0"),
    "leaves with a code": (lambda form: os._exit(7), "ended with exit code 7"),
    "leaves a child": (leaves_a_child, "ended with exit code 0"),
    "is killed": (lambda form: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    "crashes": (crashes, "SIGSEGV"),
    "returns None": (lambda form: None, "solve returned None"),
    "returns an array": (lambda form: form.start, "solve returned a ndarray"),
    "returns no point": (lambda form: answer(None), "SOLVED, and there is no point"),
    "one number": (lambda form: answer(0.5), "x has the shape ()"),
    "too short": (lambda form: answer(form.start[:-1]), "x has the shape"),
    "a column": (lambda form: answer(form.start[:, None]), "x has the shape"),
    "nan": (lambda form: answer(form.start * np.nan), "x[0] is nan"),
    "inf": (lambda form: answer(form.start * np.inf), "x[0] is inf"),
    "huge": (lambda form: answer(np.where(np.arange(form.n) == 0, 1e308, -1e308)), "x[0] is 1e+308"),
    "objects": (lambda form: answer(form.start.astype(object)), "type object"),
    "complex": (lambda form: answer(form.start + 0j), "type complex128"),
    "text": (lambda form: answer(["0.5", "0.5"]), "it must hold real numbers"),
    "ragged": (lambda form: answer([[0.5], 0.5]), "x is no array"),
    "bounds": (
        lambda form: answer(form.start, no_multipliers(form, bounds=np.zeros(99))),
        "multipliers.bounds has the",
    ),
    "rows": (lambda form: answer(form.start, no_multipliers(form, rows=np.zeros(0))), "multipliers.rows has the"),
    "nan rows": (lambda form: answer(form.start, no_multipliers(form, rows=np.full(1, np.nan))), "multipliers.rows[0]"),
    "multipliers as a tuple": (lambda form: answer(form.start, (1.0,)), "the multipliers are a tuple"),
    "termination as text": (lambda form: answer(form.start, termination="solved"), "the termination is a str"),
    "another's name": (lambda form: answer(form.start, backend="newton"), "backend 'newton', not of 'odd'"),
    "no words": (lambda form: answer(form.start, words=None), "raw_status is None"),
    "no seconds": (lambda form: answer(form.start, seconds=None), "seconds is None"),
    "iterations": (lambda form: answer(form.start, iterations=-1.5), "iterations is -1.5"),
    "bound": (lambda form: answer(form.start, bound=np.inf), "bound is inf"),
}
# Odd, and yet an answer: the optimum is found, whatever else is done.
PROBLEM = "equal_beta"


def solved(form):
    return load("newton").solve(form, Options()).x


def tightens(form):
    x = solved(form)
    for array in (form.polytope.bounds.lower, form.polytope.bounds.upper, form.polytope.rows.lower):
        array.flags.writeable = True  # whatever protection there is, taken off
        array[:] = 0.25
    return answer(x)


def prints(form):
    print("noise")
    os.write(1, b"more noise\n")
    return answer(solved(form))


@pytest.fixture(params=ODD)
def odd(request):
    """A backend, and what has to be said of it."""
    return Odd(ODD[request.param][0]), ODD[request.param][1]


@pytest.fixture
def members():
    """The registry's members, as they are afterwards too."""
    before, further = dict(BACKENDS._members), BACKENDS._more
    yield BACKENDS._members
    BACKENDS._members.clear()
    BACKENDS._members.update(before)
    BACKENDS._more = further


def test_a_registered_backend_fails_by_name(odd, members):
    backend, words = odd
    BACKENDS.register(backend)
    result = climbopt.solve(climbopt.load_problem(PROBLEM), backend="odd")
    solution = result.solution
    expected = Termination.MEMORY_LIMIT if "Memory" in words else Termination.FAILED
    assert solution.x is None and solution.termination is expected and solution.backend == "odd"
    assert words in solution.raw_status and solution.raw_status.isprintable()
    assert result.allocation is None and not result.passed


def test_an_own_backend_fails_by_name(odd):
    backend, words = odd
    if words in ("KeyboardInterrupt", "SystemExit: 0") or "ended" in words or "SIG" in words:
        pytest.skip("the package's own backends run in this process, and do none of that")
    form = joint_form(climbopt.load_problem(PROBLEM))
    solution = Guarded(backend, "odd").solve(form, Options())
    assert solution.x is None and not solution.termination.settled and words in solution.raw_status


MODULE = """
import os
import test_odd_backends
class Odd(test_odd_backends.Odd):
    def solve(self, form, options):
        with open(os.environ["ODD_BACKEND"]) as stream:
            kind = stream.read()
        return {**test_odd_backends.ODD, **test_odd_backends.SOUND}[kind][0](form)
"""
SOUND = {"tightens": (tightens, ""), "prints": (prints, "")}


@pytest.fixture
def plugin(tmp_path, monkeypatch, members):
    """A function that makes the installed backend `odd` behave in one way."""
    (tmp_path / "odd_backend.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ODD_BACKEND", str(tmp_path / "kind"))
    BACKENDS._members["odd"] = Plugin("odd", "odd_backend:Odd", package="odd")
    return lambda kind: (tmp_path / "kind").write_text(kind)


@pytest.mark.parametrize("kind", ODD)
def test_the_command_line_says_so(kind, plugin, run):
    plugin(kind)
    code, out, err = run("solve", PROBLEM, "--backend", "odd", "--json", "-")
    assert code == 1 and "Traceback" not in out + err
    said = json.loads(out)
    assert said["ratios"] is None and said["certificate"] is None
    assert said["termination"] == ("memory_limit" if "memory" in kind else "failed")
    assert ODD[kind][1] in said["raw_status"]


def test_the_command_line_says_so_in_words(plugin, run):
    plugin("leaves")
    code, out, err = run("solve", PROBLEM, "--backend", "odd")
    assert (
        code == 1
        and "the process ended with exit code 0" in " ".join((out + err).split())
        and "Traceback" not in out + err
    )


@pytest.mark.parametrize("kind", SOUND)
def test_what_a_backend_does_beside_its_answer_changes_nothing(kind, plugin, run):
    plugin(kind)
    code, out, _ = run("solve", PROBLEM, "--backend", "odd", "--json", "-")
    assert code == 0
    said, expected = json.loads(out), climbopt.solve(climbopt.load_problem(PROBLEM))
    assert said["certificate"]["passed"] and said["certificate"]["verdict"] == expected.certificate.verdict.value
    assert said["ratios"] == pytest.approx(dict(expected.ratios), abs=1e-9)


def test_a_wrong_point_is_not_certified(members):
    BACKENDS.register(Odd(lambda form: answer(form.start)))  # the start is not the optimum of this problem
    result = climbopt.solve(climbopt.load_problem("libreoffice6"), backend="odd")
    assert result.allocation is not None and not result.passed


def test_a_backend_that_does_not_stop_is_killed(members, monkeypatch):
    monkeypatch.setattr("climbopt.backends.guarded.GRACE", 0.2)
    BACKENDS.register(Odd(lambda form: time.sleep(600)))
    result = climbopt.solve(climbopt.load_problem(PROBLEM), backend="odd", options=Options(time_limit=0.2))
    assert result.solution.termination is Termination.TIME_LIMIT and "killed" in result.solution.raw_status


def test_refused_options_are_refused(members):
    BACKENDS.register(Odd(lambda form: checked_native(Options(native={"stepp": 1}), {"step": float}, "odd")))
    with pytest.raises(InputError, match="did you mean 'step'"):
        climbopt.solve(climbopt.load_problem(PROBLEM), backend="odd")


@pytest.mark.parametrize(
    "refusal, words",
    [
        (lambda form: raises(RuntimeError("a bug")), "RuntimeError: a bug"),
        (lambda form: 3, "its refusal is 3"),
        (lambda form: os._exit(0), "exit code 0"),
        (lambda form: "odd takes nothing", "odd takes nothing"),
    ],
)
def test_an_odd_refusal_is_an_error(refusal, words, members):
    backend = Odd()
    backend.refusal = refusal
    BACKENDS.register(backend)
    with pytest.raises(BackendError, match=words):
        climbopt.solve(climbopt.load_problem(PROBLEM), backend="odd")


@pytest.mark.parametrize(
    "backend, name, near",
    [
        ("ipopt", "max_itr", "max_iter"),
        ("pounce", "max_itr", "max_iter"),
        ("uno", "max_iteration", "max_iterations"),
        ("slsqp", "ftl", "ftol"),
        ("trust_constr", "xtl", "xtol"),
        ("cvxpy", "max_itr", "max_iter"),
        ("cvxpy_dnlp", "mu_strategi", "mu_strategy"),
        ("pyomo", "max_itr", "max_iter"),
        ("scip", "limits/gp", "limits/gap"),
    ],
)
def test_the_nearest_option_is_named(backend, name, near):
    if BACKENDS[backend].missing:
        pytest.skip(BACKENDS[backend].missing)
    form = joint_form(climbopt.load_problem(PROBLEM))
    with pytest.raises(InputError, match=f"{name}.*did you mean '{near}'"):
        load(backend).solve(form, Options(native={name: 1}))
    if backend != "pyomo":  # whose solvers name an option that they know in other words
        with pytest.raises(InputError, match=f"option {near}.*(refused|must be|cannot be)"):
            load(backend).solve(form, Options(native={near: "abc" if near != "mu_strategy" else 1.5}))


def test_integers_are_numbers():
    form = joint_form(climbopt.load_problem("one_source"))
    solution = checked(answer(np.ones(1, dtype=int), iterations=np.int64(3)), form, "odd")
    assert solution.x.dtype == float and type(solution.iterations) is int


class NoSolve:
    name, version = "odd", "1"

    def refusal(self, form):
        return None


class TakesNothing(Odd):
    def solve(self):
        return None


class Exploding(Odd):
    @property
    def version(self):
        raise RuntimeError("no version")


class Leaving(Odd):
    @property
    def version(self):
        os._exit(3)


@pytest.mark.parametrize(
    "member, words",
    [
        (Odd, "write Odd()"),
        (NoSolve(), "it has no solve"),
        (3, "it has no name, version, refusal, solve"),
        (TakesNothing(), "its solve does not take"),
        (Exploding(), "RuntimeError: no version"),
        (Leaving(), "exit code 3"),
        (type("Named", (Odd,), {"name": "a\x1b[31m b"})(), r"its name is 'a\x1b[31m b'"),
        (type("Numbered", (Odd,), {"name": 3})(), "its name is 3"),
        (type("Newton", (Odd,), {"name": "newton"})(), "'newton' exists already"),
    ],
)
def test_what_is_no_backend_is_refused_at_once(member, words, members):
    before = dict(members)
    with pytest.raises(InputError) as refused:
        BACKENDS.register(member)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert members == before


def test_a_registered_backend_is_taken_by_name(members, run):
    BACKENDS.register(Odd(lambda form: answer(solved(form))))
    assert climbopt.solve(climbopt.load_problem(PROBLEM), backend="odd").passed
    code, out, _ = run("backends")
    assert code == 0 and "odd 1" in out
    assert climbopt.solve(climbopt.load_problem(PROBLEM)).solution.backend != "odd"  # never chosen unnamed


def test_apart_returns_what_it_may_and_changes_nothing(capsys, monkeypatch):
    numbers, started, fork = [1], [], os.fork
    monkeypatch.setattr(os, "fork", lambda: started.append(fork()) or started[-1])
    assert apart(lambda: numbers.append(2) or len(numbers)) == 2 and numbers == [1]
    assert len(apart(lambda: b"x" * 10**6)) == 10**6
    with pytest.raises(FailedError, match="pickle"):
        apart(lambda: lambda: None)
    apart(lambda: print("noise"))
    assert capsys.readouterr().out == ""
    assert started
    for process in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, os.WNOHANG)  # none is left behind


def test_descriptions_are_one_printable_line():
    assert described(ValueError("a\n\x07b\udc80")) == r"ValueError: a \x07b\udc80"
    assert len(described(ValueError("x" * 10**6))) <= 500
