"""MosaicML Streaming: the arguments of each stream. LLM Foundry: the streams of a train_loader.

Source: Stream (remote, local, proportion) in streaming/base/stream.py; a StreamingDataset draws epoch_size samples.
build_streams and StreamingTextDataset in llmfoundry/data/text_data.py; each entry is the arguments of a Stream.
"""

from typing import Any

from climbopt.files.trainers.trainer import Blend, Trainer, omegaconf_text, yaml_text


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


def _train_loader(blend: Blend) -> str:
    """Return the part of a configuration that names the streams."""
    content = {"train_loader": {"name": "text", "dataset": {"streams": _streams(blend)}}}
    return omegaconf_text(blend, content, "merge into the configuration of a run; dataset.epoch_size is in samples")


STREAMING = Trainer(
    "streaming",
    "MosaicML Streaming, arguments of each Stream",
    {".yaml": _streaming, ".yml": _streaming},
    by_example=True,
    repetition="Streaming repeats samples within an epoch_size that is larger than the data",
)
LLM_FOUNDRY = Trainer(
    "llm-foundry",
    "LLM Foundry, train_loader.dataset.streams",
    {".yaml": _train_loader, ".yml": _train_loader},
    by_example=True,
    repetition=STREAMING.repetition,
)
