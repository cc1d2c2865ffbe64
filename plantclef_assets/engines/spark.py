"""The Spark engine: makes shards as the tasks of one Spark job.

A data frame with one shard number per partition is mapped with `mapInArrow` to a data frame of results. Spark's Python
workers read and write the shards in the same way as the worker processes of the local engine, so images never cross the
JVM, and the bytes are the same. If an executor is lost, Spark runs its tasks again elsewhere; shards are published
atomically, so a repeated task does no harm.
(https://spark.apache.org/docs/latest/api/python/reference/pyspark.sql/api/pyspark.sql.DataFrame.mapInArrow.html)
"""

import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from plantclef_assets.engines.local import MakeShard, Outcome, make_shard, picklable
from plantclef_assets.lake.tables import Shard

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_COLUMNS = pa.schema([("place", pa.int64()), ("seconds", pa.float64()), ("error", pa.binary())])
_SPARK_COLUMNS = "place long, seconds double, error binary"
_LOOK_EVERY_SECONDS = 0.2
_ABORTED = "Job aborted"


class SparkJobError(RuntimeError):
    """Spark gave up on the job, so the shard was not made."""


class _Result(NamedTuple):
    """The result of a shard as plain values: its position among the shards, seconds, and its pickled error."""

    place: int
    seconds: float
    error: bytes | None


def run_shards_on_spark(make: MakeShard, shards: Sequence[Shard], session: "SparkSession") -> Iterator[Outcome]:
    """Run a maker on Spark, one task per shard; yield their outcomes.

    Outcomes are yielded when the shards are finished; over Spark Connect, in the order of `shards`. A failed shard does
    not stop the others. If Spark itself gives up (workers die at every attempt), the remaining shards get that error.

    Args:
        make: makes one shard; it is pickled, and its module must be importable on Spark's workers.
        shards: the shards to make.
        session: a classic session, or a Spark Connect session.
    """
    waiting = dict(enumerate(shards))
    try:
        for result in _results(make, shards, session) if shards else ():
            error = pickle.loads(result.error) if result.error else None
            yield Outcome(waiting.pop(result.place), result.seconds, error)
    except Exception as error:
        for shard in waiting.values():
            yield Outcome(shard, 0.0, SparkJobError(f"Spark gave up, so the shard was not made: {_reason(error)}"))


class TaskShare(NamedTuple):
    """The resources of a Spark task: its cores (`spark.task.cpus`), and the address of its GPU if it has one."""

    cpus: int
    gpu: str | None


def task_share() -> TaskShare:
    """Return the resources of the task that is running in this Python worker.

    Raises:
        RuntimeError: no task is running in this process.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise RuntimeError("this process is not a Python worker of Spark: no task is running here")
    gpus = context.resources().get("gpu")
    return TaskShare(context.cpus(), gpus.addresses[0] if gpus else None)


@dataclass(frozen=True)
class _Task:
    """The function of `mapInArrow`: numbers of shards in, results out."""

    make: MakeShard
    shards: Sequence[Shard]
    report: Callable[[list[_Result]], None]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                outcome = make_shard(self.make, self.shards[place])
                result = _Result(place, outcome.seconds, _pickled(outcome.error))
                self.report([result])
                yield pa.RecordBatch.from_pylist([result._asdict()], schema=_COLUMNS)


def _pickled(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    traceback.print_exception(error, file=sys.stderr)  # which is the log of the executor
    return pickle.dumps(picklable(error))


class _Appended:
    """Accumulator parameter that concatenates lists."""

    def zero(self, value: list[_Result]) -> list[_Result]:
        return []

    def addInPlace(self, value1: list[_Result], value2: list[_Result]) -> list[_Result]:
        value1.extend(value2)
        return value1


def _results(make: MakeShard, shards: Sequence[Shard], session: "SparkSession") -> Iterator[_Result]:
    """Run the job and yield the results of its shards.

    Spark Connect streams results; a classic session returns them at the end, but updates accumulators after each task.
    """
    if getattr(session, "sparkContext", None) is None:
        frame = _frame(_Task(make, shards, _ignore), session)
        with _canceled_on_interrupt(session):
            for row in frame.toLocalIterator():
                yield _Result(row.place, row.seconds, row.error)
        return
    reported = session.sparkContext.accumulator([], _Appended())  # pyright: ignore[reportArgumentType] (it is one by shape)
    frame = _frame(_Task(make, shards, reported.add), session)
    with ThreadPoolExecutor(1, thread_name_prefix="spark-job") as pool, _canceled_on_interrupt(session):
        job, seen = pool.submit(frame.collect), 0
        while True:
            ended = job.done()  # before the results are read, so that none is missed
            for result in reported.value[seen:]:
                seen += 1
                yield result
            if ended:
                job.result()
                return
            wait([job], timeout=_LOOK_EVERY_SECONDS)


@contextmanager
def _canceled_on_interrupt(session: "SparkSession") -> Iterator[None]:
    """Cancel the session's jobs if the block is interrupted, so that the tasks of a run end with it."""
    try:
        yield
    except Exception:
        raise  # of a job that has ended
    except BaseException:
        session.interruptAll()
        raise


def _frame(task: _Task, session: "SparkSession") -> "DataFrame":
    count = len(task.shards)
    return session.range(0, count, 1, count).mapInArrow(task, _SPARK_COLUMNS)


def _ignore(results: list[_Result]) -> None:
    """Report nothing; over Spark Connect, results are streamed."""


def _reason(error: Exception) -> str:
    """Return the line with the reason from an error of Spark, which may have hundreds of lines of Java."""
    lines = [line.strip(" :") for line in str(error).splitlines() if line.strip(" :")] or [type(error).__name__]
    aborted = next((line for line in lines if _ABORTED in line), lines[0])
    return aborted[max(0, aborted.find(_ABORTED)) :]
