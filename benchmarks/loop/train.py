"""Train a small model of bytes on a mixture that climbopt exported for Hugging Face datasets, and log its losses.

python benchmarks/loop/train.py CONFIG.json CORPUS --tokens 1000000 --run NAME --log runs.jsonl

The log has one JSON object per line: progress, and at the end of a run the tokens drawn and the loss of each language
on CORPUS/LANGUAGE.val.parquet, in nats per byte. The model reads hashes of the last 1, 2, 3, 4 and 6 bytes (4.0 million
parameters). Needs torch and datasets.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from datasets import interleave_datasets, load_dataset
from torch import nn

ORDERS, BITS, WIDTH, HIDDEN = (1, 2, 3, 4, 6), 14, 48, 128
BATCH, CONTEXT, WARM_UP, HELD_OUT = 16, 128, 0.03, 512


def hashes(x):
    """Return the buckets of the last 1, 2, 3, 4 and 6 bytes at each position, (batch, length, 5)."""
    padded = np.concatenate([np.zeros((len(x), max(ORDERS)), np.uint64), x.astype(np.uint64) + np.uint64(1)], 1)
    h, buckets = np.zeros(x.shape, np.uint64), []
    for n in range(1, max(ORDERS) + 1):
        start = max(ORDERS) - n + 1
        h = (h * np.uint64(0x9E3779B97F4A7C15)) ^ (padded[:, start : start + x.shape[1]] + np.uint64(n * 7919))
        h = h * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
        if n in ORDERS:
            buckets.append((h >> np.uint64(64 - BITS)).astype(np.int64) + len(buckets) * (1 << BITS))
    return torch.from_numpy(np.stack(buckets, -1))


class Model(nn.Module):
    """A feed-forward model over embeddings of hashed n-grams."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(ORDERS) << BITS, WIDTH, sparse=True)
        nn.init.normal_(self.embedding.weight, 0, 0.05)
        self.inner = nn.ModuleList([nn.Linear(WIDTH * len(ORDERS), HIDDEN), nn.Linear(HIDDEN, HIDDEN)])
        self.head = nn.Linear(HIDDEN, 256)

    def forward(self, rows):
        x = F.gelu(self.inner[0](self.embedding(hashes(rows[:, :-1])).flatten(-2)))
        return self.head(x + F.gelu(self.inner[1](x))).flatten(0, 1)

    def loss(self, rows):
        return F.cross_entropy(self(rows), torch.from_numpy(rows[:, 1:].astype(np.int64)).flatten())


def draws(config, seed):
    """Give languages and sequences as interleave_datasets draws them, without end."""
    for again in itertools.count():
        sources = [load_dataset(**arguments) for arguments in config["load_dataset"]]
        options = config["interleave_datasets"] | {"seed": seed + 1000 * again}
        for example in interleave_datasets(sources, **options) if len(sources) > 1 else sources[0]:
            yield example["language"], example["input_ids"]


def evaluate(model, held_out):
    """Return the loss of each language on its held-out sequences."""
    with torch.no_grad():
        return {
            name: sum(float(model.loss(part)) for part in np.array_split(rows, len(rows) // 64)) / (len(rows) // 64)
            for name, rows in held_out.items()
        }


def train(config, held_out, tokens, seed, evaluations):
    """Train one run; give what was drawn and the losses, some times on the way and at the end."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model, steps, drawn = Model(), int(tokens) // CONTEXT // BATCH, dict.fromkeys(held_out, 0)
    dense = [p for name, p in model.named_parameters() if not name.startswith("embedding")]
    adam = torch.optim.Adam(dense, lr=3e-3, betas=(0.9, 0.98))
    adagrad = torch.optim.Adagrad([model.embedding.weight], lr=0.1)
    stream = draws(config, seed)
    for step in range(1, steps + 1):
        warm = max(1, int(WARM_UP * steps))
        decay = 0.05 + 0.475 * (1 + math.cos(math.pi * (step - 1 - warm) / max(1, steps - warm)))
        adam.param_groups[0]["lr"], adagrad.param_groups[0]["lr"] = (a * min(step / warm, decay) for a in (3e-3, 0.1))
        batch = list(itertools.islice(stream, BATCH))
        for language, _ in batch:
            drawn[language] += CONTEXT
        adam.zero_grad()
        adagrad.zero_grad()
        model.loss(np.array([row for _, row in batch], dtype=np.uint8)).backward()
        adam.step()
        adagrad.step()
        if step == steps or step % max(1, steps // evaluations) == 0:
            yield step * BATCH * CONTEXT, dict(drawn), evaluate(model, held_out)


def main():
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tokens", type=float, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=1)
    options = parser.parse_args()
    files = {path.name.split(".")[0]: str(path) for path in sorted(options.corpus.glob("*.val.parquet"))}
    held_out = {
        name: np.array(load_dataset("parquet", data_files=file, split=f"train[:{HELD_OUT}]")["input_ids"], np.uint8)
        for name, file in files.items()
    }
    start = time.time()
    planned = options.tokens // (BATCH * CONTEXT) * BATCH * CONTEXT
    config = json.loads(options.config.read_text())
    for tokens, drawn, losses in train(config, held_out, options.tokens, options.seed, options.evaluations):
        record = {"run": options.run, "seed": options.seed, "planned_tokens": int(planned), "tokens": tokens}
        record |= {f"drawn/{name}": count for name, count in drawn.items()}
        record |= {f"eval/loss/{name}": loss for name, loss in losses.items()} | {"seconds": time.time() - start}
        with options.log.open("a") as log:
            log.write(json.dumps(record) + "\n")


main()
