"""Turn folders of text or HTML, one per language, into packed sequences of bytes that train.py reads.

python benchmarks/loop/corpus.py CORPUS en=FOLDER de=FOLDER ... [--supply supply.csv]

Writes CORPUS/en.parquet and CORPUS/en.val.parquet: columns language and input_ids, sequences of 129 bytes that overlap
by one, so that each trains 128 tokens. Lines are kept once, those under 25 characters are left out, every tenth one
is held out, and the training data of a language end at its supply (CSV of language, tokens). Needs pyarrow and NumPy.
"""

from __future__ import annotations

import argparse
import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CONTEXT = 128
SHORTEST_LINE = 25
BLOCKS = ("p", "div", "h1", "h2", "h3", "li", "tr", "br")


class Text(HTMLParser):
    """Collects the visible text of a page, with a line for each block."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style", "head")
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "head") and self.hidden > 0

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def documents(folder: Path) -> list[bytes]:
    """Return the documents of a folder, without lines that an earlier one has."""
    seen, found = set(), []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".html", ".txt")):
        text = path.read_text("utf-8", "ignore")
        if path.suffix == ".html":
            page = Text()
            page.feed(text)
            text = "".join(page.parts)
        lines = [line for line in (re.sub(r"\s+", " ", line).strip() for line in text.split("\n"))]
        lines = list(dict.fromkeys(line for line in lines if len(line) >= SHORTEST_LINE and line not in seen))
        seen.update(lines)
        if lines:
            found.append(("\n".join(lines) + "\n").encode())
    return found


def write(path: Path, language: str, text: bytes, rng: np.random.Generator) -> None:
    """Write the sequences of a text in random order."""
    data = np.frombuffer(text, dtype=np.uint8)
    starts = rng.permutation((len(data) - 1) // CONTEXT) * CONTEXT
    rows = [data[start : start + CONTEXT + 1] for start in starts]
    pq.write_table(pa.table({"language": [language] * len(rows), "input_ids": rows}), path)


def main() -> None:
    """Read the command line and write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("languages", nargs="+", metavar="LANGUAGE=FOLDER")
    parser.add_argument("--supply", type=Path)
    options = parser.parse_args()
    options.corpus.mkdir(parents=True, exist_ok=True)
    with options.supply.open() if options.supply else open("/dev/null") as stream:
        supply = {row["language"]: int(float(row["tokens"])) for row in csv.DictReader(stream)}
    for language, folder in (pair.split("=", 1) for pair in options.languages):
        texts = documents(Path(folder))
        np.random.default_rng(0).shuffle(texts)  # or a short supply would hold the first folders alone
        train = b"".join(text for i, text in enumerate(texts) if i % 10 != 7)[: supply.get(language)]
        rng = np.random.default_rng(0)
        write(options.corpus / f"{language}.parquet", language, train, rng)
        write(options.corpus / f"{language}.val.parquet", language, b"".join(texts[7::10]), rng)
        print(f"{language}: {len(texts)} documents, {len(train)} tokens to train on")


main()
