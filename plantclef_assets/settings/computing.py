"""Settings of computing: devices, batches, worker processes, Spark, and schedules."""

import os
import re
from typing import Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from plantclef_assets.engines.spark_session import check_spark_address
from plantclef_assets.settings.cron import check_cron, check_time_zone
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets.settings.loading import FromProfile

_DEVICES = r"auto|mps|cuda|cpu(,cpu)*|cuda:\d+(,cuda:\d+)*"


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Computing(FromProfile):
    """Computing and scheduling."""

    device: str = Field(
        default="auto",
        description="Devices of the models: `auto`, `cpu`, `cuda` (every GPU), `cuda:1` (one GPU) or `mps`. `auto` is "
        "every GPU, else Apple's MPS, else the CPU. A list, such as `cuda:0,cuda:2` or `cpu,cpu`, names several "
        "devices. Each device embeds shards of a range in a separate process. Fine-tuning and classifiers use the "
        "first device (see [GPUs](gpus.md)).",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Precision of the forward passes; `auto`: bf16 on CUDA, else fp32."
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether torch.compile compiles the forward passes; `auto`: on CUDA, if Triton and a C compiler "
        "are installed.",
    )
    batch_size: PositiveInt = Field(
        default=32,
        description="Pictures per forward pass; halved if the device runs out of memory.",
        json_schema_extra={"unit": "pictures"},
    )
    engine: Literal["local", "spark"] = Field(
        default="local",
        description="Where shards are computed: `local` (worker processes on this machine) or `spark` (tasks of Spark, "
        "see [Spark](spark.md)).",
    )
    workers: PositiveInt = Field(
        default_factory=_usable_cores,
        description="Number of worker processes, and of threads for decoding.",
        json_schema_extra={"default_in_words": "all cores"},
    )
    spark_master: str = Field(
        default="local[*]",
        description="Address of the Spark master: `local[*]`, `spark://host:port`, `yarn`, `k8s://…`.",
    )
    spark_remote: str | None = Field(
        default=None,
        description="Address of a Spark Connect server, `sc://host:port`; if it is set, `spark_master` is not used.",
    )
    spark_config: dict[str, str] = Field(default={}, repr=False, description="Spark's own settings, by name.")
    shards_per_run: PositiveInt | None = Field(
        default=None,
        description="Shards per run of a backfill, so that several machines can share it; not set: a range is one run.",
        json_schema_extra={"unit": "shards"},
    )
    schedule: str | None = Field(
        default=None,
        description="Cron expression for the automatic materialization of missing artifacts (see "
        "[schedules](schedules.md#a-schedule)); not set: never.",
    )
    schedule_timezone: str = Field(default="UTC", description="Time zone of the schedule, such as `Europe/Paris`.")

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if not re.fullmatch(_DEVICES, value):
            raise ValueError(
                f"'{value}' names no device; use auto, cpu, cuda, cuda:0 or mps, or a list of one kind, such as "
                "cuda:0,cuda:1 or cpu,cpu"
            )
        return value

    @field_validator("spark_master", "spark_remote")
    @classmethod
    def _check_spark_address(cls, value: str | None, field: ValidationInfo) -> str | None:
        return check_spark_address(value, connect=field.field_name == "spark_remote")

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, value: str | None) -> str | None:
        return check_cron(value)

    @field_validator("schedule_timezone")
    @classmethod
    def _check_schedule_timezone(cls, value: str) -> str:
        return check_time_zone(value)

    @model_validator(mode="after")
    def _check_devices_of_spark(self) -> Self:
        if self.engine == "spark" and "," in self.device:
            raise ValueError(
                f"{PREFIX}DEVICE: '{self.device}' names several devices, and Spark assigns them itself "
                f"({PREFIX}SPARK_CONFIG); use auto, cpu or cuda"
            )
        return self
