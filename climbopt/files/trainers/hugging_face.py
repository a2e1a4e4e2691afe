"""Hugging Face datasets: arguments of load_dataset and interleave_datasets, by their names, in JSON.

Source: load_dataset and interleave_datasets of the package's reference. interleave_datasets draws examples, and with
the strategy all_exhausted it begins a source again that has ended, until every source has ended once.
"""

from pathlib import PurePath
from typing import Any

from climbopt.files.trainers.trainer import SEED, Blend, Trainer, json_text

BUILDERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text", ".arrow": "arrow"}
"""Builder by the suffix of a file; any other path is a folder or a name on the hub."""
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


def _load(path: str) -> dict[str, Any]:
    """Return the arguments of load_dataset for a path."""
    name = PurePath(path)
    # data.jsonl.gz is read as data.jsonl.
    builder = BUILDERS.get((name.with_suffix("") if name.suffix in COMPRESSED else name).suffix)
    place = {"path": path} if builder is None else {"path": builder, "data_files": path}
    return {**place, "split": "train", "streaming": True}


def _arguments(blend: Blend) -> str:
    """Return languages, load_dataset (arguments by language) and interleave_datasets (arguments)."""
    return json_text(
        {
            "languages": [source.language for source in blend.sources],
            "load_dataset": [_load(source.path) for source in blend.sources],
            "interleave_datasets": {
                "probabilities": [source.weight for source in blend.sources],
                "seed": SEED,
                "stopping_strategy": "all_exhausted",
            },
        }
    )


DATASETS = Trainer(
    "datasets",
    "Hugging Face datasets, arguments of load_dataset and interleave_datasets",
    {".json": _arguments},
    by_example=True,
    repetition="interleave_datasets begins a source again that has ended, until every source has ended once",
)
