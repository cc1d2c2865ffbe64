"""[CLS] and DCT features in one pass, against two jobs with stored tokens: `python -m benchmarks one_pass`.

The reference stores all tokens of every photograph in parquet, and a second job reads them and computes the DCT
features. Here both jobs are plain scripts, without Spark, so that only the structure differs. The features are
compared.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.fft import dctn
from torch.utils.data import DataLoader

from benchmarks.embedding import ALL, BATCH, write_photographs
from benchmarks.embedding_arms import ALONE, OURS, Job, Photographs, open_alone, open_ours, open_timm
from benchmarks.gpu.inputs import random_backbone
from benchmarks.results import Results
from benchmarks.timing import CORES, Size, add_rates, alternate, rates
from plantclef_assets.models.backbone_files import save_backbone
from plantclef_assets.models.dct import CORNER

MODEL, SIDE = "vit_base_patch14_dinov2.lvd142m", 224
"""Of the reference's base features."""
PHOTOGRAPHS = {Size.SMALL: 8, Size.USUAL: 32, Size.FULL: 512}
WHOLE_SET = 1_408_033
"""Photographs of the training set, for which bytes are extrapolated."""
ONE, TWO, FIRST, SECOND = "one pass, embedding assets", "two jobs", "first job: all tokens", "second job: DCT"
UNITS = rates("images/s") | {"on disk": "kB/image", "whole set, extrapolated": "GB"}


def store_tokens(job: Job, target: Path) -> None:
    """Embed the photographs, and store their tokens: [CLS], then the patches."""
    model, transform = open_timm(job.weights)
    names, files = job.read(ALL)
    loader = DataLoader(Photographs(files, transform), batch_size=job.batch, num_workers=1)
    schema = pa.schema({"image_name": pa.string(), "tokens": pa.list_(pa.float32())})
    start = 0
    with torch.inference_mode(), pq.ParquetWriter(target, schema) as writer:
        for pixels in loader:
            tokens = model.forward_features(pixels).flatten(1).numpy()
            some = names[start : start + len(tokens)]
            start += len(tokens)
            writer.write_batch(pa.record_batch([some, list(tokens)], schema=schema))


def transform_tokens(source: Path, target: Path, width: int) -> None:
    """Read stored tokens of so many channels, and write [CLS] and the low-frequency corner of their DCT."""
    names, cls, dct = [], [], []
    for batch in pq.ParquetFile(source).iter_batches(batch_size=BATCH):
        names += batch.column("image_name").to_pylist()
        for row in batch.column("tokens"):
            tokens = row.values.to_numpy().reshape(-1, width)
            cls.append(tokens[0])
            dct.append(dctn(tokens, type=2)[:CORNER, :CORNER].flatten())
    pq.write_table(pa.table({"image_name": names, "cls": cls, "dct": dct}), target)


def measure(results: Results, size: Size) -> None:
    """Compare one pass with two jobs, and with the model alone."""
    model, side = ("vit_small_patch14_dinov2.lvd142m", 56) if size is Size.SMALL else (MODEL, SIDE)
    count = PHOTOGRAPHS[size]
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), Path(folder, "backbone.safetensors"), dct=True, batch=BATCH)
        backbone = random_backbone(model, side)
        save_backbone(job.weights, backbone)
        write_photographs(job.folder, {ALL: count})
        tokens, features = job.folder / "tokens.parquet", job.folder / "features.parquet"
        arms = {
            ALONE: partial(open_alone(job), ALL),
            ONE: partial(open_ours(job), ALL),
            FIRST: partial(store_tokens, job, tokens),
            SECOND: partial(transform_tokens, tokens, features, backbone.info.embed_dim),
        }
        seconds = alternate(arms, 1 if size is Size.SMALL else 3)
        seconds[TWO] = [sum(both) for both in zip(seconds[FIRST], seconds[SECOND], strict=True)]
        ours = job.target(OURS, ALL)
        compare(ours, features)
        written = {ONE: [ours], FIRST: [tokens], SECOND: [features], TWO: [tokens, features]}
        stored = {arm: sum(file.stat().st_size for file in files) / count for arm, files in written.items()}
    results.start(f"[CLS] and DCT of {count} photographs, {model.partition('.')[0]} at {side} px", UNITS, ALONE)
    further = {
        arm: {"on disk": size / 1e3, "whole set, extrapolated": size * WHOLE_SET / 1e9} for arm, size in stored.items()
    }
    add_rates(results, seconds, count, further)


def compare(ours: Path, theirs: Path) -> None:
    """Check that both ways give the same features, within the rounding of float32."""
    for column in ("cls", "dct"):
        found, expected = (np.array(pq.read_table(file).column(column).to_pylist()) for file in (ours, theirs))
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < 1e-4, f"{column} differs: relative error {error:.2g}"
