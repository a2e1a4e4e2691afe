"""Trainers: one file each, listed in TRAINERS; a mixture in each one's own format."""

from climbopt.files.trainers.hugging_face import DATASETS
from climbopt.files.trainers.lingua import LINGUA
from climbopt.files.trainers.megatron import MEGATRON, NEMO
from climbopt.files.trainers.nanotron import NANOTRON
from climbopt.files.trainers.olmo_core import OLMO_CORE
from climbopt.files.trainers.plain import CSV, JSON, YAML
from climbopt.files.trainers.streaming import LLM_FOUNDRY, STREAMING
from climbopt.files.trainers.torchtitan import TORCHTITAN
from climbopt.files.trainers.trainer import Blend, Exported, Source, Trainer, notes_of
from climbopt.files.trainers.training_mixture import Mixture
from climbopt.foundations.registry import Registry

TRAINERS = Registry(
    "trainer",
    (
        MEGATRON,
        NEMO,
        DATASETS,
        STREAMING,
        LLM_FOUNDRY,
        OLMO_CORE,
        TORCHTITAN,
        NANOTRON,
        LINGUA,
        JSON,
        YAML,
        CSV,
    ),
)
"""Formats by the name of what reads them."""

__all__ = ["TRAINERS", "Blend", "Exported", "Mixture", "Source", "Trainer", "notes_of"]
