"""Megatron-LM: a blend per split in JSON, or one list of weights and prefixes. NeMo's Megatron-Bridge: dataset.blend.

Source: megatron/core/datasets/utils.py (get_blend_from_list) and megatron/training/utils.py
(get_blend_and_blend_per_split) of NVIDIA/Megatron-LM; GPTDatasetConfig (blend: prefixes and weights, by --config-file)
of NVIDIA-NeMo/Megatron-Bridge, whose YAML OmegaConf merges.
"""

from climbopt.files.trainers.trainer import Blend, Source, Trainer, json_text, omegaconf_text
from climbopt.foundations.errors import InputError, shown


def _per_split(blend: Blend) -> str:
    """Return the JSON of --per-split-data-args-path; splits other than train are for the user to fill in."""
    # Weights and prefixes in turn, as text: what Megatron's own argument holds.
    train = [text for source in blend.sources for text in (repr(source.weight), _prefix(source))]
    return json_text({"train": train, "valid": None, "test": None})


def _list(blend: Blend) -> str:
    """Return the text of --data-args-path, which Megatron-LM splits at blanks."""
    for source in blend.sources:
        if source.path.split() != [source.path]:
            raise InputError(
                f"the path of '{source.language}' is {shown(source.path)!r}, and --data-args-path is split at blanks; "
                "write FILE.json for --per-split-data-args-path"
            )
    return "".join(f"{source.weight!r} {_prefix(source)}\n" for source in blend.sources)


def _blend(blend: Blend) -> str:
    """Return prefixes and weights, in this order."""
    pair = [[_prefix(source) for source in blend.sources], [source.weight for source in blend.sources]]
    return omegaconf_text(blend, {"dataset": {"blend": pair}}, "dataset.split divides these data among the splits")


def _prefix(source: Source) -> str:
    """Return where an indexed data set lies: its path without .bin and .idx."""
    if source.path.endswith((".bin", ".idx")):
        raise InputError(
            f"the path of '{source.language}' is {shown(source.path)!r}; Megatron-LM takes it without .bin and .idx"
        )
    return source.path


MEGATRON = Trainer(
    "megatron",
    "Megatron-LM, --per-split-data-args-path FILE.json or --data-args-path FILE.txt",
    {".json": _per_split, ".txt": _list},
    repetition="Megatron-LM repeats a data set by itself",
    remark="the splits valid and test are not written; state theirs",
)
NEMO = Trainer(
    "nemo",
    "NeMo Megatron-Bridge, dataset.blend",
    {".yaml": _blend, ".yml": _blend},
    repetition=MEGATRON.repetition,
)
