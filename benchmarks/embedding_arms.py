"""The arms of the embedding benchmark: each opens a model and returns a function from parquet to parquet.

All arms read the shard of resized_images, decode photographs, and write `image_name` and `cls`; the function is given
the key of the shard.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset

from benchmarks.spark import start_session
from benchmarks.timing import CORES
from plantclef_assets.lake.schemas import BASE_EMBEDDINGS, FINETUNED_EMBEDDINGS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.backbone_files import open_backbone, read_backbone_info
from plantclef_assets.models.data_config import eval_transform
from plantclef_assets.models.embedding import EmbeddedPhotographs, Embedding
from plantclef_assets.models.prefetch import chunks
from plantclef_assets.models.timm_import import import_timm

ALONE, OURS, SCRIPT = "model alone", "embedding assets", "DataLoader and timm"
HUGGING_FACE, REFERENCE = "transformers", "Spark, predict_batch_udf"

Work = Callable[[str], None]
"""Embeds the photographs of a shard."""
Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Job:
    """What the arms of one table do.

    Attributes:
        folder: of the lake with `resized_images/<key>.parquet`; the features of an arm are written below it.
        weights: file of the backbone.
        dct: whether the platform computes DCT features too, as for the base backbone; with `model alone` it does the
            same work. The other arms compute [CLS] only.
        batch: photographs per forward pass.
    """

    folder: Path
    weights: Path
    dct: bool
    batch: int

    def source(self, key: str) -> Path:
        """The shard of photographs."""
        return self.folder / "resized_images" / f"{key}.parquet"

    def target(self, arm: str, key: str) -> Path:
        """The features of an arm."""
        folder = ("base_embeddings" if self.dct else "finetuned_embeddings") if arm == OURS else arm
        return self.folder / folder / f"{key}.parquet"

    def read(self, key: str) -> tuple[list[str], list[bytes]]:
        """Return names and JPEG files of a shard."""
        table = pq.read_table(self.source(key), columns=["image_name", "data"])
        return table.column("image_name").to_pylist(), table.column("data").to_pylist()

    def write(self, arm: str, key: str, names: Sequence[str], cls: np.ndarray) -> None:
        """Write the features of an arm."""
        self.target(arm, key).parent.mkdir(exist_ok=True)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(cls.reshape(-1)), cls.shape[1])
        pq.write_table(pa.table({"image_name": list(names), "cls": vectors}), self.target(arm, key))


def load(data: bytes, transform: Transform) -> torch.Tensor:
    """Decode and transform a JPEG file."""
    return transform(Image.open(io.BytesIO(data)).convert("RGB"))


class Photographs(Dataset[torch.Tensor]):
    """Transformed photographs of JPEG files."""

    def __init__(self, files: Sequence[bytes], transform: Transform):
        self._files, self._transform = files, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> torch.Tensor:
        return load(self._files[number], self._transform)


def open_timm(weights: Path) -> tuple[Any, Transform]:
    """Create timm's model and its transform, as its documentation shows."""
    timm = import_timm()
    info = read_backbone_info(weights)
    side = info.data_config.input_size
    model = timm.create_model(info.model, num_classes=0, img_size=side).eval()
    model.load_state_dict(load_file(weights))
    config = timm.data.resolve_model_data_config(model) | {"input_size": (3, side, side)}
    return model, timm.data.create_transform(**config, is_training=False)


def open_alone(job: Job) -> Work:
    """Forward passes of the platform's model on tensors that are ready: the speed that pipelines can reach."""
    backbone = open_backbone(job.weights, "cpu")
    transform = eval_transform(backbone.info.data_config)
    ready: dict[str, tuple[list[str], torch.Tensor]] = {}
    for source in job.source("*").parent.glob("*.parquet"):
        names, files = job.read(source.stem)
        ready[source.stem] = names, torch.stack([load(data, transform) for data in files])

    def work(key: str) -> None:
        names, pixels = ready[key]
        cls = torch.cat([backbone.forward(part, dct=job.dct)[0] for part in pixels.split(job.batch)])
        job.write(ALONE, key, names, cls.numpy())

    return work


def open_ours(job: Job) -> Work:
    """Return the maker of the embedding assets, with the settings' defaults except for the batch."""
    backbone = open_backbone(job.weights, "cpu")
    spec = BASE_EMBEDDINGS if job.dct else FINETUNED_EMBEDDINGS
    make = EmbeddedPhotographs(Lake(str(job.folder)), Embedding(backbone, job.batch, threads=CORES), spec)
    return lambda key: make(Shard(Artifact(job.target(OURS, key).parent.name, key), {}))


def open_script(job: Job) -> Work:
    """Return a script with timm and torch's DataLoader; a worker decodes ahead."""
    model, transform = open_timm(job.weights)

    @torch.inference_mode()
    def work(key: str) -> None:
        names, files = job.read(key)
        loader = DataLoader(Photographs(files, transform), batch_size=job.batch, num_workers=1)
        job.write(SCRIPT, key, names, torch.cat([model(pixels) for pixels in loader]).numpy())

    return work


def open_hugging_face(job: Job) -> Work:
    """Return feature extraction with transformers.

    Raises:
        ImportError: transformers is not installed.
    """
    from benchmarks import hugging_face

    info = read_backbone_info(job.weights)
    model = hugging_face.create_model(info, load_file(job.weights))
    processor = hugging_face.create_processor(info, job.folder / "processor")

    @torch.inference_mode()
    def work(key: str) -> None:
        names, files = job.read(key)
        features = []
        for some in chunks(files, job.batch):
            images = [Image.open(io.BytesIO(data)).convert("RGB") for data in some]
            inputs = processor(images=images, return_tensors="pt")
            features.append(model(**inputs).last_hidden_state[:, 0])
        job.write(HUGGING_FACE, key, names, torch.cat(features).numpy())

    return work


def open_reference(job: Job) -> Work:
    """Return the approach of the reference: `predict_batch_udf` on the rows, on a worker for each core.

    The process that calls it keeps the session until it ends.

    Raises:
        SparkUnavailableError: pyspark or Java is missing.
    """
    session = start_session()
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    def make_predict() -> Callable[[np.ndarray], np.ndarray]:
        model, transform = open_timm(job.weights)

        @torch.inference_mode()
        def predict(files: np.ndarray) -> np.ndarray:
            return model(torch.stack([load(data, transform) for data in files])).numpy()

        return predict

    embed = predict_batch_udf(make_predict, return_type=ArrayType(FloatType()), batch_size=job.batch)

    def work(key: str) -> None:
        rows = session.read.parquet(str(job.source(key))).select("image_name", "data").repartition(CORES)
        features = rows.select("image_name", embed("data").alias("cls"))
        features.write.mode("overwrite").parquet(str(job.target(REFERENCE, key)))

    return work


OPENERS: dict[str, Callable[[Job], Work]] = {
    ALONE: open_alone,
    REFERENCE: open_reference,
    SCRIPT: open_script,
    HUGGING_FACE: open_hugging_face,
    OURS: open_ours,
}
