"""Files beside artifacts through the real chain: each is known to its table, and one of another run is mended."""

from collections.abc import Callable

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.sidecars import SIDECARS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.chain_runs import evaluate_checks, evaluations
from plantclef_assets_tests.defs.lake_corruption import record_of
from plantclef_assets_tests.tiny import materialize


def test_a_table_knows_every_file_beside_it(finetuned_lake: Settings) -> None:
    lake, known = Lake(finetuned_lake.lake), set()
    for recipe in build_graph(finetuned_lake).recipes.values():
        for artifact in recipe.artifacts:
            names = {path.name for path in recipe.beside(lake, artifact)}
            assert set(record_of(finetuned_lake, artifact).statistics.get(SIDECARS, {})) == names, artifact
            known |= {recipe.asset} if names else set()
    figures = {name for name in build_graph(finetuned_lake).assets if name.startswith("figure_")}
    assert known == {"submission", "species_cover", "embedding_map", *figures}
    assert len(figures) == 5


@pytest.mark.parametrize(
    ("artifact", "name"),
    [
        (Artifact("submission", "base_cls_2x2"), "base_cls_2x2.2024.csv"),
        (Artifact("species_cover", "01"), "01.json"),
    ],
)
def test_a_file_of_another_run_is_told_and_mended(own_lake: Callable[..., Settings], artifact: Artifact, name: str):
    settings = own_lake()
    path = Lake(settings.lake).path(artifact).with_name(name)
    content = path.read_bytes()
    path.write_bytes(b"of another run")
    found = evaluations(evaluate_checks(settings, artifact.asset), artifact.asset)["up_to_date"]
    assert not found.passed
    assert found.description == f"{artifact} was made with a different version of its sidecar {name}"
    assert materialize(settings, artifact.asset, first=artifact.partition).success
    assert path.read_bytes() == content
    assert evaluations(evaluate_checks(settings, artifact.asset), artifact.asset)["up_to_date"].passed
