"""Each exported file is read by the real package, which draws from it 10^5 times: shares within four standard errors.

`make trainers-test` installs the packages; without them these tests are skipped.
"""

import importlib
import json
import math
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import islice
from types import ModuleType

import pytest
import yaml

from climbopt.files.trainers import TRAINERS, Mixture

RATIOS = {"en": 0.5004, "de": 0.3096, "no": 0.16, "sw": 0.03, "xx": 0.0}
MEAN_TOKENS = {"en": 100, "de": 250, "no": 40, "sw": 300, "xx": 1}
SUPPLY = {"en": 2e9, "de": 4e8, "no": 1e7, "sw": 5e6, "xx": 1}
DRAWS = 100_000


def assert_shares(counts, mean_tokens=None):
    """The shares of tokens of drawn examples are the ratios, within four standard errors of as many free draws."""
    total = sum(counts.values())
    mean = dict.fromkeys(RATIOS, 1.0) if mean_tokens is None else mean_tokens
    expected = {name: ratio / mean[name] for name, ratio in RATIOS.items()}
    expected = {name: share / sum(expected.values()) for name, share in expected.items()}
    assert total == DRAWS and set(counts) == {name for name, ratio in RATIOS.items() if ratio}
    tokens = sum(count * mean[name] for name, count in counts.items())
    per_draw = sum(expected[name] * mean[name] for name in RATIOS)
    for name in counts:
        # Var of a ratio of means of multinomial draws, to first order.
        variance = sum(
            expected[other] * (mean[other] / per_draw) ** 2 * ((other == name) - RATIOS[name]) ** 2 for other in RATIOS
        )
        assert abs(counts[name] * mean[name] / tokens - RATIOS[name]) <= 4 * math.sqrt(variance / DRAWS), name


@pytest.mark.parametrize("mean_tokens", [None, MEAN_TOKENS], ids=["packed", "documents"])
def test_datasets(tmp_path, monkeypatch, mean_tokens):
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed (extra trainers)")
    rows = {"en": 90_000, "de": 500, "no": 60_000, "sw": 700}  # those with few examples begin again
    for name, n in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(
            json.dumps({"language": name}) + "\n" + f'{{"language": "{name}"}}\n' * (n - 1)
        )
    mixture = Mixture(
        RATIOS, paths={name: str(tmp_path / f"{name}.jsonl") for name in rows}, mean_tokens=mean_tokens or {}
    )
    config = json.loads(TRAINERS["datasets"].export(mixture).text)
    sources = [datasets.load_dataset(**arguments, cache_dir=str(tmp_path)) for arguments in config["load_dataset"]]
    drawn = datasets.interleave_datasets(sources, **config["interleave_datasets"])
    assert_shares(Counter(example["language"] for example in islice(drawn, DRAWS)), mean_tokens)


@pytest.fixture
def streaming(monkeypatch):
    """The package streaming, which loads torchvision for its images; text needs none of it."""
    if find_spec("streaming") is None:
        pytest.skip("mosaicml-streaming is not installed (extra trainers)")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # built for another torch, as beside a CPU build of it
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        images = {"datasets": {"VisionDataset": object}, "transforms": {}, "transforms.functional": {"to_tensor": None}}
        for name, members in {"": {}, **images}.items():
            module = ModuleType(f"torchvision.{name}".rstrip("."))
            module.__dict__.update(members, __spec__=ModuleSpec(module.__name__, None))
            monkeypatch.setitem(sys.modules, module.__name__, module)
    return importlib.import_module("streaming")


@pytest.mark.parametrize("name", ["streaming", "llm-foundry"])
def test_streaming(tmp_path, streaming, name):
    for language, n in {"en": 20_000, "de": 500, "no": 3_000, "sw": 40}.items():
        with streaming.MDSWriter(out=str(tmp_path / language), columns={"language": "str"}) as writer:
            for _ in range(n):
                writer.write({"language": language})
    mixture = Mixture(RATIOS, paths={language: str(tmp_path / language) for language in RATIOS})
    content = yaml.safe_load(TRAINERS[name].export(mixture).text)
    if name == "llm-foundry":  # what its build_streams does with train_loader.dataset.streams
        assert content["train_loader"]["name"] == "text"
        content = content["train_loader"]["dataset"]
    streams = [streaming.Stream(**arguments) for arguments in content["streams"].values()]
    drawn = streaming.StreamingDataset(streams=streams, epoch_size=DRAWS, batch_size=1, shuffle=True)
    assert_shares(Counter(sample["language"] for sample in drawn))


def indexed(folder, mixture_of, n):
    """Write an indexed data set of each language for Megatron: n documents of 64 tokens, all the language's number."""
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    for number, language in enumerate(mixture_of):
        builder = IndexedDatasetBuilder(str(folder / f"{language}.bin"), dtype=numpy.int32)
        for _ in range(n):
            builder.add_item(torch.full((64,), number + 1))
            builder.end_document()
        builder.finalize(str(folder / f"{language}.idx"))


class Tokenizer:
    """What a GPTDataset asks of a tokenizer."""

    eod = pad = 0
    unique_identifiers = {"class": "Tokenizer"}
    vocab_size = 16


def drawn_by_megatron(tmp_path, **blend):
    """Return how often each data set stands among the first draws of Megatron's blended data set."""
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=64,
        path_to_cache=str(tmp_path / "cache"),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        tokenizer=Tokenizer(),
        **blend,
    )
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        train, *_ = BlendedMegatronDatasetBuilder(GPTDataset, [DRAWS, 0, 0], lambda: True, config).build()
    finally:
        torch.distributed.destroy_process_group()
    assert all(int(train[i]["tokens"][0]) == train.dataset_index[i] + 1 for i in range(200))
    return numpy.bincount(train.dataset_index[:DRAWS]).tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".json", ".txt", "nemo"])
def test_megatron(tmp_path, suffix):
    pytest.importorskip("megatron.core.datasets", reason="megatron-core is not installed (extra trainers)")
    from megatron.core.datasets.utils import get_blend_from_list

    languages = [language for language, ratio in RATIOS.items() if ratio]
    indexed(tmp_path, languages, 400)
    mixture = Mixture(RATIOS, paths={language: str(tmp_path / language) for language in RATIOS})
    if suffix == "nemo":
        blend = yaml.safe_load(TRAINERS["nemo"].export(mixture).text)["dataset"]["blend"]
        blends = {"blend": tuple(blend), "split": "100,0,0"}
    elif suffix == ".txt":  # what megatron/training does with --data-args-path
        blends = {
            "blend": get_blend_from_list(TRAINERS["megatron"].export(mixture, suffix).text.split()),
            "split": "1,0,0",
        }
    else:  # and with --per-split-data-args-path
        splits = json.loads(TRAINERS["megatron"].export(mixture, suffix).text)
        blends = {"blend_per_split": [get_blend_from_list(splits[split]) for split in ("train", "valid", "test")]}
    counts = drawn_by_megatron(tmp_path, **blends)
    assert_shares(dict(zip(languages, counts, strict=True)))


@pytest.mark.filterwarnings("ignore")
def test_olmo_core(tmp_path):
    source_mixture = pytest.importorskip(
        "olmo_core.data.source_mixture", reason="ai2-olmo-core is not installed (extra trainers)"
    )
    numpy = pytest.importorskip("numpy")
    length, budget = 8, DRAWS * 8
    supply = {"en": 600_000, "de": 300_000, "no": 40_000, "sw": 24_000}
    for language, tokens in supply.items():
        numpy.zeros(tokens, dtype=numpy.uint16).tofile(tmp_path / f"{language}.npy")
    paths = {language: str(tmp_path / f"{language}.npy") for language in RATIOS}
    exported = TRAINERS["olmo-core"].export(Mixture(RATIOS, budget=budget, supply=supply, paths=paths))
    (tmp_path / "mixture.yaml").write_text(exported.text)
    sources = source_mixture.SourceMixtureList.from_yaml(str(tmp_path / "mixture.yaml"))
    config = source_mixture.SourceMixtureDatasetConfig(
        source_list=sources, requested_tokens=budget, global_batch_size=100 * length, render_tables=False
    )
    built = config.build(npdtype=numpy.uint16, sequence_length=length)
    assert_shares({source.name: sum(path.tokens for path in source.path_tokens) // length for source in built.sources})


def test_olmo_core_refuses_repeats_that_are_not_allowed(tmp_path):
    source_mixture = pytest.importorskip(
        "olmo_core.data.source_mixture", reason="ai2-olmo-core is not installed (extra trainers)"
    )
    numpy = pytest.importorskip("numpy")
    numpy.zeros(1000, dtype=numpy.uint16).tofile(tmp_path / "en.npy")
    mixture = Mixture({"en": 1.0}, budget=4000, paths={"en": str(tmp_path / "en.npy")})
    (tmp_path / "mixture.yaml").write_text(TRAINERS["olmo-core"].export(mixture).text)
    sources = source_mixture.SourceMixtureList.from_yaml(str(tmp_path / "mixture.yaml"))
    config = source_mixture.SourceMixtureDatasetConfig(source_list=sources, requested_tokens=4000, global_batch_size=8)
    with pytest.raises(Exception, match="Insufficient tokens"):
        config.build(npdtype=numpy.uint16, sequence_length=8)


def test_torchtitan(tmp_path):
    interleaved = pytest.importorskip("torchtitan.hf_datasets.interleaved", reason="torchtitan is not installed")
    config = json.loads(TRAINERS["torchtitan"].export(Mixture(RATIOS)).text)

    class Source:
        """A source without end, as HuggingFaceTextDataset is where infinite is true."""

        def __init__(self, dataset, dataset_path, infinite, weight):
            assert dataset_path == f"PATH_OF_{dataset}" and infinite
            self.name, self.weight = dataset, weight

        def __iter__(self):
            while True:
                yield self.name

        state_dict = load_state_dict = dict

    sources = [Source(**arguments) for arguments in config["sources"]]
    drawn = interleaved.InterleavedDataset(sources, [source.weight for source in sources], seed=config["seed"])
    assert_shares(Counter(islice(drawn, DRAWS)))
