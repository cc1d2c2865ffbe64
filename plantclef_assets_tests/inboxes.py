"""An inbox of a test: photographs to put into it, and ticks of the sensor that watches it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from dagster import DagsterInstance, build_sensor_context
from dagster._core.definitions.sensor_definition import SensorExecutionData

from plantclef_assets.definitions import build_defs
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import SPECIES, save_picture

SETTLED_AT_ONCE = 1e-6
"""Two looks are always so far apart, s."""


def put_photograph(path: Path, seed: int, side: int = 240) -> Path:
    """Put a photograph of a plot somewhere, another one for each seed."""
    random = np.random.default_rng(seed)
    save_picture(path, random, [SPECIES[one] for one in random.permutation(list(SPECIES))[:2]], side)
    return path


class Sensor:
    """The sensor of some settings; its cursor goes from tick to tick, as the daemon keeps it."""

    def __init__(self, settings: Settings) -> None:
        self._resources = {"lake": LakeResource(root=settings.lake, cache=settings.cache)}
        self._repository = build_defs(settings).get_repository_def()
        self.cursor: str | None = None

    def tick(self) -> SensorExecutionData:
        """Let it look once."""
        with DagsterInstance.ephemeral() as instance:
            context = build_sensor_context(
                instance=instance, cursor=self.cursor, repository_def=self._repository, resources=self._resources
            )
            done = self._repository.get_sensor_def("inbox_sensor").evaluate_tick(context)
        self.cursor = done.cursor or self.cursor
        return done

    def requested(self) -> list[str]:
        """Let it look twice, and give the keys that the second look asks for."""
        self.tick()
        return requested_keys(self.tick())


def requested_keys(done: SensorExecutionData) -> list[str]:
    """Give the keys that a tick asks for."""
    return [request.tags["dagster/partition"] for request in done.run_requests or []]


def grow(path: Path, content: bytes, share: float) -> None:
    """Write the first part of a file, as an upload does."""
    path.write_bytes(content[: round(len(content) * share)])
    os.utime(path, ns=(0, round(share * 1e9)))


def deliver(settings: Settings, deliveries: Sequence[Sequence[int]]) -> None:
    """Put photographs into the inbox, a delivery for each row of seeds, and let the sensor take them."""
    sensor = Sensor(settings)
    for number, seeds in enumerate(deliveries):
        for seed in seeds:
            put_photograph(Path(settings.inbox or "", f"NEW-{seed}-20250501.jpg"), seed)
        assert f"{number:02d}" in sensor.requested()
