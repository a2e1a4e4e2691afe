"""torchtitan: the sources of an interleaved data loader.

Source: InterleavedHuggingFaceTextDataLoader.Config and HFDataSource in torchtitan/hf_datasets/text_datasets.py. Sources
are packed before they are interleaved, so that weights are shares of tokens; a source's dataset is a name in DATASETS.
"""

from climbopt.files.trainers.trainer import SEED, Blend, Trainer, json_text


def _config(blend: Blend) -> str:
    """Return the arguments of the loader's Config, with those of each HFDataSource."""
    return json_text(
        {
            "sources": [
                {"dataset": source.language, "dataset_path": source.path, "infinite": True, "weight": source.weight}
                for source in blend.sources
            ],
            "seed": SEED,
        }
    )


TORCHTITAN = Trainer(
    "torchtitan",
    "torchtitan, arguments of InterleavedHuggingFaceTextDataLoader.Config and of each HFDataSource",
    {".json": _config},
    repetition="infinite sources begin again",
    remark="torchtitan takes the names of registered data sets: add each language to DATASETS",
)
