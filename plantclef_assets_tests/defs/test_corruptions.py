"""Every check finds its corruption; a blocking one stops what is downstream, the others only warn."""

from pathlib import Path

import pytest
from dagster import AssetCheckSeverity

from plantclef_assets.definitions import build_defs
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.chain_runs import (
    FIRST,
    PROBE,
    evaluate_checks,
    evaluations,
    failed,
    materialize_with_downstream,
    metadata_of,
)
from plantclef_assets_tests.defs.corruption_cases import CORRUPTIONS, WITH_FINETUNED, WITH_INBOX, Corruption
from plantclef_assets_tests.defs.lake_corruption import OwnLake, with_demo_survey
from plantclef_assets_tests.tiny import materialized

IN_TINY_LAKE = {"stopped_early", "finetuning_helped", "finetuned_separates_better"}
"""Fail in an uncorrupted tiny lake too: all training ends after a few epochs, and begins with random weights."""
QUICK = {name: (asset, name) for asset, name in sorted(CORRUPTIONS, reverse=True)}.values()
"""Each kind of check at the first asset that has it. The same check of the other assets is tested as `slow`."""
CASES = [
    pytest.param(*pair, corruption, id="-".join(pair), marks=() if pair in QUICK else pytest.mark.slow)
    for pair, corruption in sorted(CORRUPTIONS.items())
]


def test_every_check_of_every_asset_has_its_corruption(own_inbox_lake: OwnLake, tiny_survey: Path) -> None:
    checks = {
        (key.asset_key.to_user_string(), key.name): graph.get(key)
        for settings in (own_inbox_lake(), with_demo_survey(own_inbox_lake, tiny_survey))
        for graph in [build_defs(settings).resolve_asset_graph()]
        for key in graph.asset_check_keys
    }
    assert set(CORRUPTIONS) == set(checks)
    assert {pair for pair, check in checks.items() if check.blocking} == {
        pair for pair, corruption in CORRUPTIONS.items() if corruption.blocking
    }


@pytest.mark.parametrize(("asset", "check", "corruption"), CASES)
def test_a_check_finds_its_corruption(
    asset: str, check: str, corruption: Corruption, request: pytest.FixtureRequest, tiny_survey: Path
) -> None:
    kinds = {"own_inbox_lake": WITH_INBOX, "own_finetuned_lake": WITH_FINETUNED}
    lake: OwnLake = request.getfixturevalue(next((kind for kind, of in kinds.items() if asset in of), "own_lake"))
    settings = corruption.corrupt(lake, tiny_survey)
    if corruption.checks_alone:
        result, after = evaluate_checks(settings, asset), None
    else:
        result, after = materialize_with_downstream(settings, asset, downstream=corruption.downstream)
        assert asset in materialized(result), "equal provenance is no failure of the asset itself"
    found = evaluations(result, asset)[check]
    assert failed(result, asset) - IN_TINY_LAKE == {check} - IN_TINY_LAKE
    assert not found.passed
    assert found.description
    assert found.severity == (AssetCheckSeverity.ERROR if corruption.blocking else AssetCheckSeverity.WARN)
    assert result.success is not corruption.blocking
    if after:
        assert (after in materialized(result)) is not corruption.blocking
    if asset in FIRST:
        assert (corruption.names or f"{asset}/") in found.description
        assert str(metadata_of(found)["failed"]).startswith(f"{asset}/")


@pytest.mark.parametrize(
    "asset",
    [
        "base_embeddings",
        "finetuned_embeddings",
        "classifier",
        "species_cover",
        "leaderboard",
        "embedding_map",
        "base_validation_tile_embeddings",
    ],
)
def test_without_corruption_the_report_that_follows_is_made(asset: str, finetuned_lake: Settings) -> None:
    result, after = materialize_with_downstream(finetuned_lake, asset)
    assert after == PROBE
    assert {asset, PROBE} <= materialized(result)
    assert failed(result, asset) <= IN_TINY_LAKE
