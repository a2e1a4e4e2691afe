"""What a person sees in a terminal: lines within its width, whole numbers and words, no column lost."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from conftest import PROBLEMS

from climbopt.reports.typesetting import Grid, TextTable, wrapped

PILOTS = str(PROBLEMS / "libreoffice6" / "pilots.csv")
MODEL = str(PROBLEMS / "libreoffice6" / "model.toml")

COMMANDS = [
    ["-h"],
    ["--version"],
    *(
        [command, "-h"]
        for command in ("fit", "predict", "solve", "certify", "compare", "derive", "sweep", "plan", "plot")
    ),
    ["fit", PILOTS, "--law", "power", "--bootstrap", "5", "-o", "model.toml"],
    ["predict", "model.toml", PILOTS],
    ["solve", "libreoffice6", "--ranges", "0.1%"],
    ["solve", "synthetic16", "--procedure", "two_step"],
    ["solve", "libreoffice6", "--robust", "mean", "--draws", "model.draws.jsonl"],
    ["solve", "conflict.toml"],
    ["certify", "known_floor", "--ratios", "ratios.json"],
    ["export", "ratios.json", "--to", "megatron", "--problem", "known_floor", "-o", "blend.json"],
    ["compare", "known_floor", "--backends", "newton,slsqp"],
    ["derive", "libreoffice6"],
    ["derive", "known_floor"],
    ["sweep", "libreoffice6", "--budgets", "1M:16M:9", "--stages", "3"],
    ["sweep", "libreoffice6", "--over", "floor.pt=0%:20%:2", "--draws", "model.draws.jsonl"],
    ["plan", "--languages", "en,de,nl,es,pt,ru,sw,ar,zh,ja,ko,hi", "--budgets", "0.5B,1B", "--runs", "20"],
    ["plot", "libreoffice6", "--kind", "nothing", "-o", "x.png"],
    ["backends"],
    ["solve", "libreofice6"],
    ["solve", MODEL],
]
CHILD = """
import json, sys
from climbopt import cli
for command in json.load(open("commands.json")):
    print("$ " + json.dumps(command), flush=True)
    sys.argv = ["climbopt", *command]
    try:
        cli.main()
    except SystemExit:
        pass
    sys.stdout.flush()
"""


def seen(folder, width):
    """Return what a terminal of some width is sent by each command, by its words; all run in one process."""
    read, write = pty.openpty()
    fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=folder, stdin=write, stdout=write, stderr=write, env=environment
    )
    os.close(write)
    content = b""
    while True:
        try:
            part = os.read(read, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        content += part
    os.close(read)
    assert child.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", content.decode())
    parts = re.split(r"(?m)^\$ (\[.*\])\r?\n", text)
    return {tuple(json.loads(name)): shown for name, shown in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture(scope="module", params=[80, 160])
def terminal(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "commands.json").write_text(json.dumps(COMMANDS))
    (folder / "ratios.json").write_text('{"a": 0.4, "b": 0.3, "c": 0.3}')
    kept = "\n".join(
        f'[[constraints]]\nkind = "floor"\nratios = {{ {name} = 0.3 }}\n' for name in ("en", "de", "nl", "es")
    )
    (folder / "conflict.toml").write_text(f"model = {json.dumps(MODEL)}\nbudget = '8M'\n{kept}")
    return request.param, seen(folder, request.param)


def lines_of(shown):
    """Return lines as they stay on the screen: progress that is drawn over is gone."""
    return [line.split("\r")[-1].rstrip() for line in shown.replace("\r\n", "\n").split("\n")]


def test_every_line_fits(terminal):
    width, shown = terminal
    assert set(shown) == {tuple(command) for command in COMMANDS}
    for command, text in shown.items():
        for line in lines_of(text):
            assert len(line) <= width, f"{command} at {width}: {line!r}"
        assert "Traceback" not in text and "…" not in text, command


def test_no_number_and_no_column_is_lost(terminal):
    _, shown = terminal
    solved = shown["solve", "libreoffice6", "--ranges", "0.1%"]
    for head in ("language", "ratio %", "range %", "tokens", "D_e %", "loss", "held by"):
        assert head in solved, head
    for number in ("20.337", "1.63 M", "18.196", "1.24429", "0.10144", "1.26230631", "(+0.008"):
        assert number in solved, number
    compared = shown["compare", "known_floor", "--backends", "newton,slsqp"]
    heads = " ".join(("objective", "off by", "stationarity", "multipliers", "seconds", "evaluations", "verdict"))
    for word in heads.split():  # a head of two words may take two lines
        assert word in compared, word
    planned = shown[
        "plan", "--languages", "en,de,nl,es,pt,ru,sw,ar,zh,ja,ko,hi", "--budgets", "0.5B,1B", "--runs", "20"
    ]
    assert all(f"plan-{k:03d}" in planned for k in range(1, 21)) and "hi %" in planned


def test_words_wrap_whole(terminal):
    width, shown = terminal
    words = " ".join(
        " ".join(lines_of(shown["fit", PILOTS, "--law", "power", "--bootstrap", "5", "-o", "model.toml"])).split()
    )
    assert "not identified by the runs: slope_smallest[en, pt], slope_smallest[en, ru]," in words
    refusal = lines_of(shown["solve", MODEL])
    assert " ".join(refusal).split()[0] == "climbopt:" and any("budget = " in line for line in refusal)


def test_languages_go_down(terminal):
    width, shown = terminal
    swept = shown["sweep", "libreoffice6", "--budgets", "1M:16M:9", "--stages", "3"]
    assert (swept.count("\nen % ") >= 2) == (width == 80)


def test_tables_at_any_width():
    """Every cell of a table is found whole in its lines, whatever the width."""
    heads = ("language", "a long head of numbers", "loss", "objective", "words")
    rows = [("en", "1.25", "2.123456", "1e-12", "held by a floor"), ("日本語", "100.00", "3.0", "–", "")]
    table = TextTable("title of the table", heads, rows, right=1)
    for width in range(20, 120):
        lines = [line for line, _ in table.lines(width)]
        assert max(map(len, lines)) <= width
        words = " ".join(lines).split()
        for cell in (word for row in rows for text in row for word in text.split()):
            assert cell in words, (width, cell)


def test_wrapped_keeps_indents_and_brackets():
    assert wrapped("short", 10) == ["short"]
    assert wrapped("  at a bound: b[en, de], b[de, en]", 20, hanging=2) == [
        "  at a bound:",
        "    b[en, de],",
        "    b[de, en]",
    ]
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert all(len(line) <= 7 for line in wrapped("    " + "word " * 9, 7, hanging=2))


def test_grid_turns_round():
    grid = Grid("t", ["budget"], [["1 M"], ["2 M"]], ["en", "de"], [["1", "2"], ["3", "4"]], ["good", "bad"])
    wide, narrow = grid.table(80), grid.table(20)
    assert isinstance(wide, TextTable) and wide.heads == ("budget", "en %", "de %", "verdict")
    assert narrow.heads == ("budget", "1 M", "2 M") and list(map(list, narrow.rows)) == [
        ["en %", "1", "3"],
        ["de %", "2", "4"],
    ]
