"""nanotron: data_stages with a Nanoset each.

Source: NanosetDatasetsArgs, DataArgs and DatasetStageArgs in src/nanotron/config/config.py of huggingface/nanotron.
"""

from collections.abc import Mapping
from typing import Any

from climbopt.files.trainers.trainer import SEED, Blend, Trainer, yaml_text


def _stage(blend: Blend, name: str, step: int) -> dict[str, Any]:
    """Return a stage that begins at a training step."""
    dataset = {
        "dataset_folder": [source.path for source in blend.sources],
        "dataset_weights": [source.weight for source in blend.sources],
    }
    return {
        "name": name,
        "start_training_step": step,
        "data": {"dataset": dataset, "num_loading_workers": 1, "seed": SEED},
    }


def _whole_run(blend: Blend) -> str:
    """Return the one stage of a run."""
    return yaml_text(blend, {"data_stages": [_stage(blend, "whole run", 1)]}, "merge into the configuration of a run")


def _stages(stages: Mapping[int, Blend]) -> str:
    """Return the stages of a schedule."""
    content = [_stage(blend, f"stage {k}", step) for k, (step, blend) in enumerate(stages.items(), 1)]
    first = next(iter(stages.values()))
    return yaml_text(first, {"data_stages": content}, "merge into the configuration of a run")


NANOTRON = Trainer(
    "nanotron",
    "nanotron, data_stages with a Nanoset",
    {".yaml": _whole_run, ".yml": _whole_run},
    repetition="a Nanoset repeats its data",
    stages=_stages,
)
