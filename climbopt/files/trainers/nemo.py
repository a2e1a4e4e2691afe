"""NeMo's Megatron-Bridge: dataset.blend, by --config-file.

Source: GPTDatasetConfig (blend: prefixes and weights) of NVIDIA-NeMo/Megatron-Bridge; OmegaConf merges its YAML.
"""

from __future__ import annotations

from climbopt.files.trainers.blend import Blend
from climbopt.files.trainers.documents import omegaconf_text
from climbopt.files.trainers.megatron import MEGATRON, prefix
from climbopt.files.trainers.trainer import Trainer


def _blend(blend: Blend) -> str:
    """Return prefixes and weights, in this order."""
    pair = [[prefix(source) for source in blend.sources], [source.weight for source in blend.sources]]
    return omegaconf_text(blend, {"dataset": {"blend": pair}}, "dataset.split divides these data among the splits")


NEMO = Trainer(
    "nemo",
    "NeMo Megatron-Bridge, dataset.blend",
    {".yaml": _blend, ".yml": _blend},
    repetition=MEGATRON.repetition,
)
