"""OLMo-core: a list of sources of a mixture.

Source: SourceMixtureList and SourceMixtureConfig in olmo_core/data/source_mixture.py. A source with fewer tokens than
requested_tokens x target_ratio is refused unless max_repetition_ratio allows the repeats.
"""

import math
from typing import Any

from climbopt.files.trainers.trainer import Blend, Source, Trainer, yaml_text


def _source(source: Source) -> dict[str, Any]:
    """Return the fields of a SourceMixtureConfig; epochs are rounded up to 1 %, since what is too little is refused."""
    # Rounded up: with a ratio just too small the source is refused.
    repeats = None if source.epochs is None else max(1.0, math.ceil(100 * source.epochs) / 100)
    return {
        "source_name": source.language,
        "target_ratio": source.weight,
        "paths": [source.path],
        **({} if repeats is None else {"max_repetition_ratio": repeats}),
    }


def _sources(blend: Blend) -> str:
    """Return the list of sources."""
    requested = "the tokens of the run" if blend.budget is None else f"{blend.budget:.0f}"
    return yaml_text(
        blend,
        {"sources": [_source(source) for source in blend.sources]},
        f"for SourceMixtureList.from_yaml; requested_tokens of SourceMixtureDatasetConfig is {requested}",
        "without a supply max_repetition_ratio is 1, and OLMo-core refuses sources that are too short",
    )


OLMO_CORE = Trainer(
    "olmo-core",
    "OLMo-core, SourceMixtureList",
    {".yaml": _sources, ".yml": _sources},
    repetition="max_repetition_ratio allows it",
)
