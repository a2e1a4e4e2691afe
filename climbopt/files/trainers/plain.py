"""Plain files for a user's own loader: CSV, JSON and YAML, which climbopt reads as ratios again."""

import csv
from io import StringIO
from typing import Any

from climbopt.files.trainers.trainer import Blend, Trainer, json_text, yaml_text


def _content(blend: Blend) -> dict[str, Any]:
    """Return a blend by name of quantity and language."""
    sources = {source.language: source for source in blend.sources}
    return {
        "budget": blend.budget,
        "ratios": {name: source.weight for name, source in sources.items()},
        "tokens": {name: source.tokens for name, source in sources.items()},
        "epochs": {name: source.epochs for name, source in sources.items()},
        "paths": {name: source.path for name, source in sources.items()},
    }


def _csv(blend: Blend) -> str:
    """Return one row per language: language, ratio, tokens, epochs, path; what is unknown is empty."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["language", "ratio", "tokens", "epochs", "path"])
    rows.writerows([s.language, s.weight, s.tokens, s.epochs, s.path] for s in blend.sources)
    return text.getvalue()


JSON = Trainer(
    "json",
    "a JSON object with budget, ratios, tokens, epochs and paths",
    {".json": lambda b: json_text(_content(b))},
    keeps_zeros=True,
)
YAML = Trainer(
    "yaml",
    "the same in YAML",
    {suffix: lambda b: yaml_text(b, _content(b)) for suffix in (".yaml", ".yml")},
    keeps_zeros=True,
)
CSV = Trainer("csv", "a table of language, ratio, tokens, epochs, path", {".csv": _csv}, keeps_zeros=True)
