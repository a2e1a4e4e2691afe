"""How the process of the command line ends: interrupted, without a reader, with a full disk, with closed streams."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import random_model
from test_cli import PILOTS

import climbopt
from climbopt import AllocationProblem, InputError, bootstrap, cli, fit
from climbopt.certification.global_bound import search
from climbopt.foundations.processes import MOST_JOBS, checked_jobs
from climbopt.procedures import optimum
from climbopt.procedures.optimum import Effort, certify_globally

PROBLEM = AllocationProblem(random_model("gated", sources=3), 2e9)


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (optimum, "joint_form"),
        (optimum, "_enclosed"),
        (search.Decomposition, "of"),
        (search, "multistart"),
        (search, "optimal"),
        (search, "_examined"),
        (optimum, "_bounded"),
    ],
)
@pytest.mark.parametrize("procedure", ["joint", "two_step", "uniform"])
def test_an_interrupted_bound_keeps_the_answer(monkeypatch, module, name, procedure):
    """Whatever step of the bound it comes in: the answer stands, and is certified only where its gap is closed.

    What is interrupted before the first box still gets the bound of the whole.
    """
    result = climbopt.solve(PROBLEM, procedure)
    monkeypatch.setattr(module, name, interrupted)
    bounded = certify_globally(result, Effort(gap=1e-12))
    assert bounded.ratios == result.ratios and bounded.certificate is not None
    if procedure == "joint":
        if name == "multistart":
            gap = bounded.certificate.relative_gap
            assert gap is not None and bounded.passed == (gap <= 1e-12)
            return
        assert not bounded.passed and bounded.certificate.verdict is result.certificate.verdict
        if name != "_examined":
            assert bounded.certificate.no_bound == optimum.INTERRUPTED


def test_the_command_line_prints_the_answer_of_an_interrupted_bound(run, monkeypatch):
    monkeypatch.setattr(optimum, "_enclosed", interrupted)
    code, out, err = run("certify", "libreoffice6")
    assert code == 1 and f"no global bound: {optimum.INTERRUPTED}" in " ".join(out.split()) and err == ""


def test_interrupted_before_any_answer_is_one_line(run, monkeypatch):
    monkeypatch.setattr("climbopt.procedures.result.solve", interrupted)
    assert run("solve", "equal_beta") == (130, "", "climbopt: interrupted\n")


def test_what_an_interrupted_import_raises_is_one_line_too(run, monkeypatch):
    """Code that is interrupted while it is loaded may raise anything."""
    import signal

    def broken(*arguments, **options):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemError("half loaded") from None

    monkeypatch.setattr("climbopt.procedures.result.solve", broken)
    assert run("solve", "equal_beta") == (130, "", "climbopt: interrupted\n")


def test_the_end_of_the_process_puts_the_signal_handler_back(run):
    import signal

    before = signal.getsignal(signal.SIGINT)
    run("backends")
    assert signal.getsignal(signal.SIGINT) is before


def ended(command, **streams):
    """Return exit code and standard error of a command in a shell; {} stands for climbopt."""
    line = command.format(f"{sys.executable} -m climbopt")
    done = subprocess.run(["bash", "-c", line], stderr=subprocess.PIPE, text=True, check=False, **streams)
    return done.returncode, done.stderr


def test_a_reader_that_has_gone_ends_it_without_a_word():
    assert ended("set -o pipefail; {} derive libreoffice6 | true")[0] in (0, 141)
    read, write = os.pipe()
    os.close(read)
    try:
        assert ended("{} backends", stdout=write) == (141, "")
    finally:
        os.close(write)


def test_closed_streams_are_no_failure():
    assert ended("{} backends >&- 2>&- <&-")[0] == 0


def test_a_full_disk_is_blamed_on_standard_output_alone_where_it_is_full():
    assert ended("{} backends > /dev/full") == (
        2,
        "climbopt: cannot write to standard output: No space left on device\n",
    )
    assert ended("{} solve equal_beta --json /dev/full") == (
        2,
        "climbopt: cannot write /dev/full: No space left on device; choose another place\n",
    )


def test_characters_that_a_terminal_cannot_show_become_escapes():
    done = subprocess.run(
        [sys.executable, "-m", "climbopt", "fit", PILOTS, "--interaction", "none"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.isascii() and b"\\u2013" in done.stdout


@pytest.mark.parametrize("jobs", [0, -1, 10**20, MOST_JOBS + 1, 2.0, True, "2"])
def test_a_number_of_processes_is_checked_everywhere(jobs):
    with pytest.raises(InputError, match="a number of processes, 1 to 1024"):
        checked_jobs(jobs)
    with pytest.raises(InputError, match="a number of processes|^jobs of .* is .*; give a whole number"):
        Effort(jobs=jobs)
    with pytest.raises(InputError, match="a number of processes|^jobs of .* is .*; give a whole number"):
        bootstrap(fit(PILOTS, interaction="none"), 2, jobs=jobs)


@pytest.mark.parametrize("jobs", ["1e20", "100000000000000000000", "0", "-1", "abc", "nan"])
def test_jobs_of_the_command_line(run, jobs):
    code, out, err = run("solve", "equal_beta", "--certify", "global", "--jobs", jobs)
    assert code == 2 and out == "" and "--jobs" in err


@pytest.mark.parametrize("limit", ["inf", "nan", "-1", "0"])
def test_a_memory_limit_is_a_positive_number(run, limit):
    code, out, err = run("compare", "equal_beta", "--backends", "newton", "--memory-limit", limit)
    assert (
        code == 2
        and out == ""
        and re.match("climbopt: (--memory-limit|memory_limit) is ", err)
        and err.count("\n") == 1
    )


def test_a_memory_limit_beyond_all_memory_is_none():
    assert climbopt.compare("equal_beta", backends="newton", memory_limit=1e30).certified


def test_numpy_counts_are_numbers_of_processes():
    assert checked_jobs(np.int64(3)) == 3 and cli.main is not None


def test_an_interrupt_of_the_group_waits_in_the_processes_that_work_for_this_one():
    """They would each print a traceback of their own; this process gets it, and ends them."""
    import signal

    from joblib import delayed

    from climbopt.foundations.processes import parallel

    masks = parallel(2)(delayed(signal.pthread_sigmask)(signal.SIG_BLOCK, ()) for _ in range(4))
    assert all(signal.SIGINT in mask for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
