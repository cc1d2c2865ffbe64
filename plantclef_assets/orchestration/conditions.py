"""Automation conditions: when an asset is requested without a person.

(https://docs.dagster.io/guides/automate/declarative-automation)
"""

from collections.abc import Mapping, Sequence

from dagster import (
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    map_asset_specs,
)

from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.settings import Settings
from plantclef_assets.settings.cron import NIGHTLY


def with_conditions(assets: Sequence[AssetsDefinition], graph: Graph, settings: Settings) -> Sequence[AssetsDefinition]:
    """Return the assets with the conditions under which the sensor requests them.

    Sources and shards are requested where they are missing at the scheduled time. An asset that needs all shards of
    another, and everything downstream of it, is also requested when its inputs were made anew. Nothing is requested
    before all its inputs exist, nor twice: what failed waits for the next scheduled time. An asset whose keys are a
    reserve is never missing; the sensor that fills the reserve requests it. One that needs a package that is not
    installed is not requested.
    """
    due = AutomationCondition.cron_tick_passed(settings.schedule or NIGHTLY, settings.schedule_timezone)
    missing = due & AutomationCondition.missing()
    reserves = [name for name, asset in graph.assets.items() if asset.family and asset.family.reserve]
    some_missing = AutomationCondition.any_deps_missing()
    if reserves:  # most of their keys never have data
        some_missing = some_missing.ignore(AssetSelection.assets(*reserves))
    inputs_exist = ~some_missing & ~AutomationCondition.any_deps_in_progress()
    can_begin = inputs_exist & ~AutomationCondition.in_progress()
    inputs_failed = AutomationCondition.any_deps_match(
        AutomationCondition.any_checks_match(AutomationCondition.check_failed(), blocking_only=True)
    )
    shard = missing.since_last_handled() & can_begin
    follower = (missing | AutomationCondition.any_deps_updated()).since_last_handled() & can_begin & ~inputs_failed
    specs = {spec.key.to_user_string(): spec for asset in assets for spec in asset.specs}

    def with_condition(spec: AssetSpec) -> AssetSpec:
        asset = graph.assets[spec.key.to_user_string()]
        if not asset.available or (asset.family and asset.family.reserve):
            return spec
        return spec.replace_attributes(automation_condition=follower if _needs_all_shards(spec, specs) else shard)

    return map_asset_specs(with_condition, assets)


def _needs_all_shards(spec: AssetSpec, specs: Mapping[str, AssetSpec]) -> bool:
    """Return whether an asset waits for a whole partition family, or for something that does.

    Edges between two families are those that have a mapping.
    """
    return any(
        dep.partition_mapping is not None or _needs_all_shards(specs[dep.asset_key.to_user_string()], specs)
        for dep in spec.deps
    )


def build_condition_sensor(settings: Settings) -> AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions: running if the settings have a schedule, else off at first."""
    return AutomationConditionSensorDefinition(
        "materialize_missing",
        target=AssetSelection.all(),
        default_status=DefaultSensorStatus.RUNNING if settings.schedule else DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description=f"Requests what is missing at '{settings.schedule or NIGHTLY}' ({settings.schedule_timezone}), "
        "and what needs all shards once they are complete. PLANTCLEF_SCHEDULE sets the time and switches it on.",
    )
