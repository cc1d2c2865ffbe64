"""The Spark engine: shards as the tasks of one Spark job.

A data frame of shard numbers, one a partition, goes through `mapInArrow`; what comes back is how each shard ended. The
shards themselves are read and written by Spark's Python workers, as the worker processes of the local engine do it, so
no picture ever crosses the JVM and the bytes are the same. An executor that is lost is Spark's to make good: its
shards are tasks that run again elsewhere, and a shard appears whole or not at all, whoever makes it.
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
from plantclef_assets.lake.shards import Shard

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_COLUMNS = pa.schema([("place", pa.int64()), ("seconds", pa.float64()), ("error", pa.binary())])
_SPARK_COLUMNS = "place long, seconds double, error binary"
_LOOK_EVERY_SECONDS = 0.2
_ABORTED = "Job aborted"


class SparkJobError(RuntimeError):
    """Spark gave up on the job of a shard, which is therefore not made."""


class _Ending(NamedTuple):
    """How a shard ended, as plain values: its place among the shards, seconds, and its pickled error."""

    place: int
    seconds: float
    error: bytes | None


def run_shards_on_spark(make: MakeShard, shards: Sequence[Shard], session: "SparkSession") -> Iterator[Outcome]:
    """Make shards on Spark, one task each, and give each one's outcome.

    They come as they end; over Spark Connect in the order of `shards`. A shard that fails does not stop the others.
    Where Spark itself gives up (workers die at every attempt), the shards without an outcome get that error.

    Args:
        make: makes one shard; it is pickled, and its module must be importable where Spark's workers run.
        shards: what is to be made.
        session: a classic session, or one of Spark Connect.
    """
    waiting = dict(enumerate(shards))
    try:
        for ending in _endings(make, shards, session) if shards else ():
            error = pickle.loads(ending.error) if ending.error else None
            yield Outcome(waiting.pop(ending.place), ending.seconds, error)
    except Exception as error:
        for shard in waiting.values():
            yield Outcome(shard, 0.0, SparkJobError(f"Spark gave up, and it was not made: {_reason(error)}"))


class TaskShare(NamedTuple):
    """What Spark gives the task at hand: its cores (`spark.task.cpus`), and the address of its GPU if it has one."""

    cpus: int
    gpu: str | None


def task_share() -> TaskShare:
    """Give what Spark has assigned to the task that is running in this Python worker.

    Raises:
        RuntimeError: no task is running here.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        raise RuntimeError("this is no Python worker of Spark: no task is running here")
    gpus = context.resources().get("gpu")
    return TaskShare(context.cpus(), gpus.addresses[0] if gpus else None)


@dataclass(frozen=True)
class _Task:
    """The function of `mapInArrow`: numbers of shards in, how they ended out."""

    make: MakeShard
    shards: Sequence[Shard]
    tell: Callable[[list[_Ending]], None]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                outcome = make_shard(self.make, self.shards[place])
                ending = _Ending(place, outcome.seconds, _pickled(outcome.error))
                self.tell([ending])
                yield pa.RecordBatch.from_pylist([ending._asdict()], schema=_COLUMNS)


def _pickled(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    traceback.print_exception(error, file=sys.stderr)  # which is the log of the executor
    return pickle.dumps(picklable(error))


class _Appended:
    """How Spark adds up an accumulator that is a list."""

    def zero(self, value: list[_Ending]) -> list[_Ending]:
        return []

    def addInPlace(self, value1: list[_Ending], value2: list[_Ending]) -> list[_Ending]:
        value1.extend(value2)
        return value1


def _endings(make: MakeShard, shards: Sequence[Shard], session: "SparkSession") -> Iterator[_Ending]:
    """Run the job and tell how its shards ended.

    Spark Connect streams results; a classic session has them all at the end, but accumulators task by task.
    """
    if getattr(session, "sparkContext", None) is None:
        frame = _frame(_Task(make, shards, _tell_nobody), session)
        with _no_longer_than_here(session):
            for row in frame.toLocalIterator():
                yield _Ending(row.place, row.seconds, row.error)
        return
    told = session.sparkContext.accumulator([], _Appended())  # pyright: ignore[reportArgumentType] (it is one by shape)
    frame = _frame(_Task(make, shards, told.add), session)
    with ThreadPoolExecutor(1, thread_name_prefix="spark-job") as pool, _no_longer_than_here(session):
        job, given = pool.submit(frame.collect), 0
        while True:
            ended = job.done()  # asked first: what it told by then is all there is
            for ending in told.value[given:]:
                given += 1
                yield ending
            if ended:
                job.result()
                return
            wait([job], timeout=_LOOK_EVERY_SECONDS)


@contextmanager
def _no_longer_than_here(session: "SparkSession") -> Iterator[None]:
    """End the session's jobs where the block is left by an interruption: the tasks of a run end with it."""
    try:
        yield
    except Exception:
        raise  # Spark's own, of a job that has ended
    except BaseException:
        session.interruptAll()
        raise


def _frame(task: _Task, session: "SparkSession") -> "DataFrame":
    count = len(task.shards)
    return session.range(0, count, 1, count).mapInArrow(task, _SPARK_COLUMNS)


def _tell_nobody(endings: list[_Ending]) -> None:
    """Tell nobody, where the rows that come back are told as they come."""


def _reason(error: Exception) -> str:
    """Find the line that says why in what Spark says, which may be hundreds of lines of Java."""
    lines = [line.strip(" :") for line in str(error).splitlines() if line.strip(" :")] or [type(error).__name__]
    aborted = next((line for line in lines if _ABORTED in line), lines[0])
    return aborted[max(0, aborted.find(_ABORTED)) :]
