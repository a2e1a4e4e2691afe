"""Lingua: the sources of its data section.

Source: DataArgs and choose_source in lingua/data.py of facebookresearch/lingua: a source is drawn for each document, by
weights that are normalised, and a source is the path of a folder below root_dir.
"""

from climbopt.files.trainers.trainer import Blend, Trainer, omegaconf_text
from climbopt.foundations.errors import InputError, shown


def _data(blend: Blend) -> str:
    """Return the sources by path."""
    sources: dict[str, float] = {}
    for source in blend.sources:
        if source.path in sources:
            raise InputError(f"two languages have the path {shown(source.path)!r}, by which Lingua names its sources")
        sources[source.path] = source.weight
    comment = "merge into the configuration of a run; paths are below data.root_dir"
    return omegaconf_text(blend, {"data": {"sources": sources}}, comment)


LINGUA = Trainer(
    "lingua",
    "Lingua, data.sources",
    {".yaml": _data, ".yml": _data},
    by_example=True,
    repetition="Lingua begins a file again that has ended",
)
