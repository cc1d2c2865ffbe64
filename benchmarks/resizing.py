"""Crop-resize from shard to shard: `python -m benchmarks resizing`.

Compares the reference's approach (a row UDF with OpenCV in a warm Spark session), a plain Pillow loop, and ours with
complete and with scaled decoding, in worker processes and, for complete decoding, as tasks of the same Spark session
(`mapInArrow`). All arms read the same photographs, alternate, and give the median of their rounds;
their pictures are compared with those of our complete decoding. The photographs are those of the sample in
`PLANTCLEF_TEST_DATA`, enlarged to the wanted side; without it they are random and smooth. Without OpenCV or Java the
reference is left out.
"""

import io
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.results import Results
from benchmarks.spark import spark_session
from benchmarks.timing import CORES, Size, alternate, rates
from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.spark import run_shards_on_spark
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.lake.schemas import RAW_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

SHARDS, TARGET, QUALITY = 4, 128, 90
IMAGES = {800: 3600, 3000: 400}
"""Photographs by their shorter side, px: enough that the start of our workers, half a second, counts little."""
REPEATS = 4
"""Each photograph occurs this often, under different names."""
REFERENCE, MAPPED, PLAIN = "Spark, OpenCV row UDF", "Spark, mapInArrow, complete decoding", "plain Pillow loop"
EXACT, SCALED = "complete decoding", "scaled decoding"
UNITS = rates("images/s") | {"PSNR": "dB"}

RunShards = Callable[[MakeShard, Sequence[Shard]], Iterator[Outcome]]
"""Runs a maker on shards: an engine."""
Squares = dict[str, bytes]
"""Resized photographs as JPEG, by name."""


@dataclass
class Arms:
    """The arms of one table.

    Attributes:
        run: resizes all photographs, by arm.
        squares: reads the result of an arm's last run, by arm.
        missing: why an arm cannot run, by arm.
    """

    run: dict[str, Callable[[], Any]] = field(default_factory=dict)
    squares: dict[str, Callable[[], Squares]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def plain_loop(shards: list[Path]) -> Squares:
    """Read, decode, crop, resize and encode one photograph after the other, as a script would."""
    squares = {}
    for shard in shards:
        table = pq.read_table(shard, columns=["image_name", "data"])
        for name, data in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            side = min(image.size)
            left, top = image.width // 2 - side // 2, image.height // 2 - side // 2
            square = image.resize((TARGET, TARGET), Image.Resampling.BOX, box=(left, top, left + side, top + side))
            buffer = io.BytesIO()
            square.save(buffer, "JPEG", quality=95)
            squares[name] = buffer.getvalue()
    return squares


def write_squares(shards: list[Path], target: Path) -> None:
    """Write the results of the plain loop to a parquet file."""
    squares = plain_loop(shards)
    pq.write_table(pa.table({"image_name": list(squares), "data": list(squares.values())}), target)


def read_squares(place: Path) -> Squares:
    """Read the results of an arm from a parquet file or a folder of them."""
    table = pq.read_table(place, columns=["image_name", "data"])
    return dict(zip(*(table[column].to_pylist() for column in ("image_name", "data")), strict=True))


def our_shards(lake: Lake, config: ResizingConfig, run: RunShards) -> None:
    """Write all shards of resized_images; the start of worker processes is included."""
    wanted = [Shard(Artifact("resized_images", f"{key:02}"), {}) for key in range(SHARDS)]
    outcomes = list(run(ResizedImages(lake, config), wanted))
    assert not any(outcome.error for outcome in outcomes)


def reference(session: Any, shards: list[Path], target: Path) -> None:
    """Resize as the reference does: a UDF on rows, OpenCV, parquet to parquet."""
    from pyspark.sql.functions import udf
    from pyspark.sql.types import BinaryType

    def resize(data: bytes) -> bytes:
        cv2 = import_module("cv2")  # no dependency of the project
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = height // 2 - side // 2, width // 2 - side // 2
        square = image[top : top + side, left : left + side]
        square = cv2.resize(square, (TARGET, TARGET), interpolation=cv2.INTER_AREA)
        return cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

    rows = session.read.parquet(*map(str, shards))
    rows.withColumn("data", udf(resize, BinaryType())("data")).write.mode("overwrite").parquet(str(target))


def photographs(side: int, different: int) -> Iterator[bytes]:
    """Yield JPEG files whose shorter side has `side` px."""
    random = np.random.default_rng(0)
    folder = Path(os.environ.get("PLANTCLEF_TEST_DATA", "")) / "plantclef_sample" / "images"
    files = sorted(folder.rglob("*.jpg"))
    order = random.permutation(len(files))
    for number in range(different):
        if files:
            image = Image.open(files[order[number % len(files)]]).convert("RGB")
        else:
            image = Image.fromarray(random.integers(0, 255, (60, 90, 3), dtype=np.uint8))
        scale = side / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        yield buffer.getvalue()


@contextmanager
def arms(side: int, images: int) -> Iterator[Arms]:
    """Write raw shards of photographs, and yield the arms; Spark is warm."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        lake, found = Lake(folder), Arms()
        pictures, shards = list(photographs(side, images // REPEATS)), []
        for key in range(SHARDS):
            artifact = Artifact("raw_images", f"{key:02}")
            with write_shard(lake, Shard(artifact, {}), RAW_IMAGES) as table:
                for number in range(images // SHARDS):
                    table.add(
                        [
                            {
                                "image_name": f"{key}-{number}.jpg",
                                "species_id": 1,
                                "data": pictures[number % len(pictures)],
                            }
                        ]
                    )
            shards.append(Path(str(lake.path(artifact))))

        def add(name: str, work: Callable[[], Any], place: Path) -> None:
            found.run[name], found.squares[name] = work, partial(read_squares, place)

        def add_ours(name: str, run: RunShards, *, scaled: bool) -> None:
            own = Path(folder, name)
            own.mkdir()
            (own / "raw_images").symlink_to(Path(folder, "raw_images"))
            config = ResizingConfig(TARGET, 10**9, scaled)
            add(name, partial(our_shards, Lake(str(own)), config, run), own / "resized_images")

        try:
            import_module("cv2")
            session = stack.enter_context(spark_session())
            reference(session, shards[:1], Path(folder, "spark"))
            add(REFERENCE, partial(reference, session, shards, Path(folder, "spark")), Path(folder, "spark"))
            add_ours(MAPPED, partial(run_shards_on_spark, session=session), scaled=False)
            found.run[MAPPED]()
        except Exception as error:
            found.missing[REFERENCE] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        add(PLAIN, partial(write_squares, shards, Path(folder, "plain.parquet")), Path(folder, "plain.parquet"))
        for name, scaled in ((EXACT, False), (SCALED, True)):
            for workers in sorted({1, CORES}):
                add_ours(f"{name}, {_workers(workers)}", partial(run_shards, workers=workers), scaled=scaled)
        yield found


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def psnr(squares: Squares, expected: Squares) -> float:
    """Return the median PSNR of pictures against others of the same names, dB."""
    assert squares.keys() == expected.keys(), "an arm has lost photographs"
    errors = []
    for name, data in squares.items():
        first, second = (np.asarray(Image.open(io.BytesIO(one)), float) for one in (data, expected[name]))
        errors.append(float(((first - second) ** 2).mean()))
    median = statistics.median(errors)
    return float(10 * np.log10(255**2 / median)) if median else float("inf")


def measure(results: Results, size: Size) -> None:
    """Measure the arms at every side."""
    for side, images in IMAGES.items():
        if size is Size.SMALL:
            measure_side(results, side // 4, 8, 1)
        else:
            measure_side(results, side, images, 3)


def measure_side(results: Results, side: int, images: int, rounds: int) -> None:
    """Time the arms at one size, in turn, and add a table."""
    with arms(side, images) as found:
        seconds = alternate(found.run, rounds)
        baseline = REFERENCE if REFERENCE in found.run else PLAIN
        results.start(f"crop-resize, {images} photographs, shorter side {side} px", UNITS, baseline)
        for name, reason in found.missing.items():
            results.fail(name, reason)
        exact = found.squares[f"{EXACT}, {_workers(1)}"]()
        assert found.squares[f"{EXACT}, {_workers(CORES)}"]() == exact, "the number of workers changes bytes"
        if MAPPED in found.squares:
            assert found.squares[MAPPED]() == exact, "Spark changes bytes"
        for name, times in seconds.items():
            speeds = {"median": statistics.median(times), "slowest": max(times), "fastest": min(times)}
            likeness = psnr(found.squares[name](), exact)
            found_likeness = {"PSNR": likeness} if np.isfinite(likeness) else {}
            results.add(name, {metric: images / one for metric, one in speeds.items()} | found_likeness)
