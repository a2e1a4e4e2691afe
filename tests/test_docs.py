"""Every command and code block of the documentation runs, and console blocks print what they show, seconds aside."""

import re
import shlex
import sys

import pandas as pd
import pytest
import typer
from conftest import PROBLEMS

from climbopt import CONSTRAINTS, INTERACTIONS, LAWS, cli

ROOT = PROBLEMS.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|console|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?(?: [kMBT]\b)?")
SCARCE = "climbopt fit problems/scarce6/pilots.csv --supply problems/scarce6/supply.csv -o model.toml"
DECIDE = "climbopt decide scarce6 --supply scarce6 --budget 4M -o decision"
LOOP = "climbopt decide loop4 --supply loop4 --budget 2M -o decision"
LONG = {
    "climbopt fit libreoffice6 --law auto --interaction auto": "90 s; tests/test_fitting.py chooses among fewer forms",
    LOOP: "40 s; tests/test_decide.py decides on fewer runs",
    "climbopt export decision --to datasets --paths problems/loop4/paths.csv -o d.json": "of that decision",
    SCARCE: "80 s; tests/test_ensemble.py fits ensembles to fewer runs",
    DECIDE: "80 s; test_long_blocks runs it by hand, and tests/test_decide.py decides on fewer runs",
}
"""Commands that are not run here, with the reason."""


def blocks(page):
    """Return the page's blocks in order: (kind, text)."""
    return BLOCK.findall(page.read_text())


def shape(text):
    """Return lines with numbers and widths taken out; empty ones dropped."""
    # Which row is the worst, and so where the sentence wraps, is for rounding to say.
    residuals = re.compile(r"^ +stationarity .*?tolerance", re.MULTILINE | re.DOTALL)
    text = residuals.sub(lambda line: re.sub(r" \([^)]*\)", "", line[0].replace("\n", " ")), text)
    lines = (" ".join(NUMBER.sub("#", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the checkout's problems/ and wide tables of RegMix's form; the registries are restored."""
    (tmp_path / "problems").symlink_to(PROBLEMS)
    runs = pd.read_csv(PROBLEMS / "libreoffice6" / "pilots.csv").pivot(index="run", columns="language")
    for column, pattern, name in (
        ("ratio", "train_the_pile_{}", "train_mixture_1m.csv"),
        ("loss", "metric/the_pile_{}_val_loss", "train_pile_loss_1m.csv"),
    ):
        runs[column].rename(columns=pattern.format).rename_axis("index").to_csv(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = [(registry, dict(registry)) for registry in (LAWS, INTERACTIONS, CONSTRAINTS)]
    yield tmp_path
    for registry, members in before:
        registry._members.clear()
        registry._members.update(members)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page, workplace, monkeypatch, capsys):
    """A page's blocks run in order in a folder, then its other commands; TOML under a file's name is that file."""
    module = type(sys)(page.stem)
    monkeypatch.setitem(sys.modules, page.stem, module)  # dataclasses look their module up
    for kind, block in blocks(page):
        if kind == "python":
            exec(compile(block, str(page), "exec"), module.__dict__)
        elif kind == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                if command not in LONG:
                    check_command(command, shown, monkeypatch, capsys)
        elif named := re.match(r"# ([\w.]+\.toml)\n", block):
            (workplace / named[1]).write_text(block)
    for words in commands_in(BLOCK.sub("", page.read_text())):
        if len(words) > 1 and " ".join(["climbopt", *words]) not in LONG:  # a subcommand alone is a name
            check_command(shlex.join(["climbopt", *words]), "", monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_long_blocks(page, workplace, monkeypatch, capsys):
    """Console blocks of the commands that take long print what they show."""
    for kind, block in blocks(page):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE) * (kind == "console"):
            if command in LONG:
                check_command(command, shown, monkeypatch, capsys)


def check_command(command, shown, monkeypatch, capsys):
    """A command prints the lines that are shown."""
    if command == "climbopt backends":
        pytest.importorskip("cyipopt", reason="the page shows ipopt as available")
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main()
        sys.exit(0)
    out, err = capsys.readouterr()
    assert (stop.value.code or 0) in (0, 1), f"{command}: {err}"
    printed = shape(out)
    missing = [line for line in shape(shown) if line not in printed]
    assert not missing, f"{command} no longer prints {missing[0]!r}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]*)", page.read_text()):
            assert not target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_no_machine_of_ours_is_named():
    """Nothing that is committed holds a path or a host of the place where it was written."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "Makefile"]:
        assert not re.search(r"/(root|home|work)/", page.read_text()), page.name


def commands_in(text):
    """Return the commands of a page that stand in its lines or between backticks, each as its words."""
    text = text.replace("\\\n", " ")
    text = re.sub(r"`climbopt [a-z]+ \d+`", "", text)  # names of formats
    commands = re.findall(r"(?m)`climbopt ([a-z][^`]*)`|^(?:\$ | {4})?climbopt ([a-z]+ [\w.-].*)$", text)
    return [shlex.split(inline or line, comments=True) for inline, line in commands]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_what_exists(page):
    """Every subcommand and every option that a page names is there."""
    subcommands = typer.main.get_command(cli.app).commands
    for name, *words in commands_in(page.read_text()):
        assert name in subcommands, f"{page.name} names {name}"
        known = {flag for parameter in subcommands[name].params for flag in parameter.opts} | {"-h", "--help"}
        for word in words:
            flag = re.match(r"\[?(--?[a-z][a-z-]*)", word)
            assert flag is None or flag[1] in known, f"{page.name}: climbopt {name} has no {flag[1]}"
