"""MosaicML Streaming, and LLM Foundry, which reads its streams from YAML.

Source: Stream (remote, local, proportion) of mosaicml/streaming, and build_streams of mosaicml/llm-foundry.
"""

from __future__ import annotations

from typing import Any

from climbopt.files.trainers.blend import Blend
from climbopt.files.trainers.documents import yaml_text
from climbopt.files.trainers.trainer import Trainer


def _streams(blend: Blend) -> dict[str, Any]:
    """Return the arguments of each Stream by language; a path with a scheme is remote."""
    return {
        source.language: {"remote" if "://" in source.path else "local": source.path, "proportion": source.weight}
        for source in blend.sources
    }


def _streaming(blend: Blend) -> str:
    """Return the streams."""
    comment = "streams: arguments of streaming.Stream; give StreamingDataset an epoch_size for the samples of the run"
    return yaml_text(blend, {"streams": _streams(blend)}, comment)


STREAMING = Trainer(
    "streaming",
    "MosaicML Streaming, arguments of each Stream",
    {".yaml": _streaming, ".yml": _streaming},
    by_example=True,
    repetition="Streaming repeats samples within an epoch_size that is larger than the data",
)
