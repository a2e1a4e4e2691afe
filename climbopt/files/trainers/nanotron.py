"""nanotron: a stage of data_stages with a Nanoset.

Source: NanosetDatasetsArgs, DataArgs and DatasetStageArgs in src/nanotron/config/config.py of huggingface/nanotron.
"""

from __future__ import annotations

from typing import Any

from climbopt.files.trainers.blend import SEED, Blend
from climbopt.files.trainers.documents import yaml_text
from climbopt.files.trainers.trainer import Trainer


def _stage(blend: Blend, name: str, step: int) -> dict[str, Any]:
    """Return a stage that begins at a training step."""
    dataset = {
        "dataset_folder": [source.path for source in blend.sources],
        "dataset_weights": [source.weight for source in blend.sources],
    }
    data = {"dataset": dataset, "num_loading_workers": 1, "seed": SEED}
    return {"name": name, "start_training_step": step, "data": data}


def _stages(blend: Blend) -> str:
    """Return the one stage of a run."""
    return yaml_text(blend, {"data_stages": [_stage(blend, "whole run", 1)]}, "merge into the configuration of a run")


NANOTRON = Trainer(
    "nanotron",
    "nanotron, data_stages with a Nanoset",
    {".yaml": _stages, ".yml": _stages},
    repetition="a Nanoset repeats its data",
)
