"""LLM Foundry: the streams of a train_loader.

Source: build_streams and StreamingTextDataset in llmfoundry/data/text_data.py; each entry is the arguments of a Stream.
"""

from __future__ import annotations

from climbopt.files.trainers.blend import Blend
from climbopt.files.trainers.documents import omegaconf_text
from climbopt.files.trainers.streaming import STREAMING, streams
from climbopt.files.trainers.trainer import Trainer


def _train_loader(blend: Blend) -> str:
    """Return the part of a configuration that names the streams."""
    content = {"train_loader": {"name": "text", "dataset": {"streams": streams(blend)}}}
    return omegaconf_text(blend, content, "merge into the configuration of a run; dataset.epoch_size is in samples")


LLM_FOUNDRY = Trainer(
    "llm-foundry",
    "LLM Foundry, train_loader.dataset.streams",
    {".yaml": _train_loader, ".yml": _train_loader},
    by_example=True,
    repetition=STREAMING.repetition,
)
