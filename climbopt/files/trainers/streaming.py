"""MosaicML Streaming: the arguments of each stream.

Source: Stream (remote, local, proportion) in streaming/base/stream.py; a StreamingDataset draws epoch_size samples.
"""

from __future__ import annotations

from typing import Any

from climbopt.files.trainers.blend import Blend
from climbopt.files.trainers.documents import yaml_text
from climbopt.files.trainers.trainer import Trainer


def streams(blend: Blend) -> dict[str, Any]:
    """Return the arguments of each Stream by language; a path with a scheme is remote."""
    return {
        source.language: {"remote" if "://" in source.path else "local": source.path, "proportion": source.weight}
        for source in blend.sources
    }


def _streaming(blend: Blend) -> str:
    """Return the streams."""
    comment = "streams: arguments of streaming.Stream; give StreamingDataset an epoch_size for the samples of the run"
    return yaml_text(blend, {"streams": streams(blend)}, comment)


STREAMING = Trainer(
    "streaming",
    "MosaicML Streaming, arguments of each Stream",
    {".yaml": _streaming, ".yml": _streaming},
    by_example=True,
    repetition="Streaming repeats samples within an epoch_size that is larger than the data",
)
