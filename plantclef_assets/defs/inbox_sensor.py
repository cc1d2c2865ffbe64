"""The inbox sensor: looks for new plots and requests the runs that they need.

What belongs here: how often it looks, what it remembers between two ticks, and which runs it requests. What does not:
what a delivery is (`ingest/inbox.py`, `ingest/deliveries.py`).
(https://docs.dagster.io/guides/automate/sensors)
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from plantclef_assets.defs.jobs import INBOX_SIDE
from plantclef_assets.defs.naming import plot_sources
from plantclef_assets.images.file_names import as_unicode, is_photograph
from plantclef_assets.ingest.deliveries import keys_in_lake, read_deliveries, select_deliveries, write_delivery
from plantclef_assets.ingest.inbox import (
    Delivery,
    Look,
    Sighting,
    dump_sightings,
    find_unread,
    judge_inbox,
    load_sightings,
    open_inbox,
)
from plantclef_assets.lake.buckets import OvertakenError
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError, Recipe
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import Settings

_LOOKED_EVERY_SECONDS = 30
_READING_SECONDS = 25.0
"""Seconds that a tick reads photographs: Dagster ends a tick after 60 s, and its cursor would be lost."""
_NAMED = 3


def build_inbox_sensors(settings: Settings, graph: Graph) -> list[SensorDefinition]:
    """Return the sensor of the inbox, if there is one; it is off until it is switched on."""
    return [_inbox_sensor(settings.inbox, settings, graph)] if settings.inbox is not None else []


def _inbox_sensor(inbox: str, settings: Settings, graph: Graph) -> SensorDefinition:
    (source,) = (one for one in plot_sources(settings) if one.family.reserve)
    recipes, keys = graph.recipes, source.family.keys

    @sensor(
        name="inbox_sensor",
        job_name=INBOX_SIDE.name,
        minimum_interval_seconds=_LOOKED_EVERY_SECONDS,
        default_status=DefaultSensorStatus.STOPPED,
        description=f"Takes plot photographs that are complete in {inbox} as one delivery, and launches its run.",
    )
    def inbox_sensor(context: SensorEvaluationContext, lake: LakeResource) -> SensorResult | SkipReason:
        try:
            Lineage(lake.lake, recipes).require_same_sources()
        except OtherSourcesError as error:
            return SkipReason(str(error))
        try:
            stamps, open_file = open_inbox(inbox)
        except OSError as error:
            return SkipReason(f"PLANTCLEF_INBOX: '{inbox}' cannot be listed: {error}")
        deliveries = read_deliveries(lake.lake, keys)
        taken = [one for files in deliveries.values() for one in files]
        reading = _Reading(open_file, until=time.monotonic() + _READING_SECONDS)
        look = judge_inbox(
            {name: stamp for name, stamp in stamps.items() if is_photograph(name)},
            _sightings(context),
            taken,
            reading,
            now=time.time(),
            settle_seconds=settings.inbox_settle_seconds,
        )
        # Files that arrived together become one delivery, so nothing is taken before all settled files were read.
        accepted, refused = ((), {}) if reading.postponed else select_deliveries(lake.lake, look.ready, taken)
        said = [*_in_words({**look.faulty, **refused, **find_unread(stamps)})]
        if said:
            context.log.info(" ".join(said))
        if accepted:
            said.append(_deliver(lake.lake, keys, deliveries, accepted, inbox, recipes))
            context.log.info(said[-1])
        elif reading.postponed:
            said.append(f"{len(reading.postponed)} photographs are still to be read.")
        done = keys_in_lake(lake.lake, source.cover or "", keys)
        requests = [
            _request(lake.lake, key) for key in keys_in_lake(lake.lake, "inbox_delivery", keys) if key not in done
        ]
        skipped = None if requests else " ".join(said) or "Nothing new."
        return SensorResult(run_requests=requests, skip_reason=skipped, cursor=_remember(look, refused))

    return inbox_sensor


@dataclass
class _Reading:
    """Opens files until a deadline; the rest seems unreadable for now, so that the next tick opens it."""

    open_file: Callable[[str], BinaryIO]
    until: float
    postponed: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> BinaryIO:
        if time.monotonic() > self.until:
            self.postponed.append(name)
            raise TimeoutError(name)
        return self.open_file(name)


def _sightings(context: SensorEvaluationContext) -> dict[str, Sighting]:
    try:
        return load_sightings(context.cursor)
    except (ValueError, TypeError, KeyError):
        context.log.warning("The sensor's cursor cannot be read; all files are waited for again.")
        return {}


def _deliver(
    lake: Lake,
    keys: Sequence[str],
    deliveries: Mapping[str, Sequence[Delivery]],
    files: Sequence[Delivery],
    inbox: str,
    recipes: Mapping[str, Recipe],
) -> str:
    """Write files as a delivery under the next free key; return what happened as a sentence."""
    key = next((key for key in keys if key not in deliveries), None)
    if key is None:
        return (
            f"PLANTCLEF_INBOX_SHARDS: all {len(keys)} shards of the inbox are taken, and {len(files)} photographs wait "
            f"in '{inbox}'; raise it, which changes nothing of what was delivered."
        )
    artifact = Artifact("inbox_delivery", key)
    provenance = Lineage(lake, recipes).expected(artifact, with_sources=True)
    try:
        write_delivery(lake, Shard(artifact, provenance), files)
    except (FileExistsError, OvertakenError):
        return f"Somebody else has taken {artifact} at this moment; what is still new is taken at the next look."
    return f"{len(files)} photographs are delivered as {artifact}."


def _request(lake: Lake, key: str) -> RunRequest:
    """Request the run of a delivery; Dagster runs the same key once."""
    record = lake.record(Artifact("inbox_delivery", key))
    assert record is not None, "only deliveries in the lake are requested"
    return RunRequest(run_key=f"{key}-{record.fingerprint}", partition_key=key)


def _in_words(told: Mapping[str, str]) -> list[str]:
    """Return sentences about files that are not taken, with the reasons."""
    named = [f"{as_unicode(name)}: {why}." for name, why in list(told.items())[:_NAMED]]
    return [*named, f"… and {len(told) - _NAMED} more."] if len(told) > _NAMED else named


def _remember(look: Look, refused: Mapping[str, str]) -> str:
    """Return the cursor for the next tick: sightings of files that are not delivered, with reasons for refusals."""
    sightings = {
        name: replace(sighting, digest=None, fault=refused[name]) if name in refused else sighting
        for name, sighting in look.sightings.items()
        if look.repeated.get(name) != name
    }
    return dump_sightings(sightings)
