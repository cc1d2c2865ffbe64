"""Provenance: what is current, what is stale and why, and what may not be used."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plantclef_assets.lake.provenance import Lineage, Recipe, StaleInputError
from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError
from plantclef_assets_tests.lake.tables import write_numbers

LISTED, MEASURED = Artifact("listed"), Artifact("measured", "00")
SUMMED = Artifact("summed")


class Chain:
    """listed → measured[00, 01] → summed: a lake, the recipes of three assets, and what makes them."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(str(root))
        self.config: dict[str, Any] = {"unit": "cm"}
        self.sources: dict[str, Any] = {"folder": "abc"}
        listed = Recipe("listed", "1", sources=lambda: self.sources)
        measured = Recipe(
            "measured",
            "1",
            inputs=lambda _: (LISTED,),
            config=lambda partition: self.config | {"shard": partition},
            partitions=("00", "01"),
        )
        summed = Recipe("summed", "1", inputs=lambda _: tuple(Artifact("measured", key) for key in ("00", "01")))
        self.recipes = {recipe.asset: recipe for recipe in (listed, measured, summed)}

    @property
    def lineage(self) -> Lineage:
        return Lineage(self.lake, self.recipes)

    def make(self, artifact: Artifact, size: int = 1) -> None:
        provenance = self.lineage.expected(artifact, with_sources=True)
        write_numbers(self.lake, artifact, [("a", size)], **provenance)

    def make_all(self) -> None:
        for artifact in (LISTED, MEASURED, Artifact("measured", "01"), SUMMED):
            self.make(artifact)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Chain(tmp_path)
    chain.make_all()
    return chain


def test_what_was_made_as_asked_is_current(chain: Chain) -> None:
    lineage = chain.lineage
    for recipe in chain.recipes.values():
        for artifact in recipe.artifacts:
            assert lineage.is_current(artifact, lineage.expected(artifact, with_sources=True))
            assert lineage.stale(artifact, with_sources=True) is None
            lineage.require_inputs(artifact)


def test_provenance_names_code_configuration_inputs_and_sources_and_nothing_of_the_making(chain: Chain) -> None:
    record = chain.lake.record(LISTED)
    assert record
    assert chain.lineage.expected(MEASURED, with_sources=True) == {
        "asset": "measured",
        "partition": "00",
        "code_version": "1",
        "config": {"unit": "cm", "shard": "00"},
        "inputs": {"listed": record.fingerprint},
        "sources": {},
    }


def _config(chain: Chain) -> None:
    chain.config = {"unit": "inch"}


def _added_config(chain: Chain) -> None:
    chain.config = {"unit": "cm", "digits": 2}


def _code(chain: Chain) -> None:
    chain.recipes["measured"] = replace(chain.recipes["measured"], code_version="2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_config, "measured/00 was made with unit 'cm' instead of 'inch'"),
        (_added_config, "measured/00 was made with digits None instead of 2"),
        (_code, "measured/00 was made by code version 1, not 2"),
    ],
)
def test_what_changed_is_named(chain: Chain, change: Callable[[Chain], None], sentence: str) -> None:
    change(chain)
    assert chain.lineage.stale(MEASURED) == sentence
    assert not chain.lineage.is_current(MEASURED, chain.lineage.expected(MEASURED, with_sources=True))
    with pytest.raises(StaleInputError) as caught:
        chain.lineage.require_inputs(SUMMED)
    assert str(caught.value) == f"summed needs measured/00, but {sentence}; materialize measured again first"


def test_a_changed_input_is_named_with_both_fingerprints(chain: Chain) -> None:
    before = chain.lake.record(LISTED)
    chain.make(LISTED, size=2)
    after = chain.lake.record(LISTED)
    assert before and after
    reason = chain.lineage.stale(MEASURED)
    assert reason == (
        f"measured/00 was made from listed with fingerprint {before.fingerprint[:12]}, "
        f"which now has fingerprint {after.fingerprint[:12]}"
    )
    with pytest.raises(StaleInputError) as caught:
        chain.lineage.require_inputs(SUMMED)
    assert before.fingerprint[:12] in str(caught.value)
    assert after.fingerprint[:12] in str(caught.value)


def test_an_identical_rebuild_leaves_downstream_valid(chain: Chain) -> None:
    chain.lake.path(LISTED).unlink()
    chain.make(LISTED)
    assert chain.lineage.stale(SUMMED, with_sources=True) is None


def test_staleness_is_handed_down(chain: Chain) -> None:
    _config(chain)
    assert chain.lineage.stale(SUMMED) == (
        "summed was made from measured/00, and measured/00 was made with unit 'cm' instead of 'inch'"
    )


def test_sources_are_asked_only_of_the_asset_itself(chain: Chain) -> None:
    chain.sources = {"folder": "xyz"}
    assert chain.lineage.stale(LISTED, with_sources=True) == "listed was made with folder 'abc' instead of 'xyz'"
    assert chain.lineage.stale(LISTED) is None
    chain.lineage.require_inputs(MEASURED)


def test_a_missing_input_is_named_with_its_place(chain: Chain) -> None:
    chain.lake.path(LISTED).unlink()
    with pytest.raises(MissingArtifactError, match=r"listed is not in the lake \(.*listed.parquet\)"):
        chain.lineage.require_inputs(MEASURED)
    with pytest.raises(MissingArtifactError):
        chain.lineage.expected(MEASURED, with_sources=False)
    assert str(chain.lineage.stale(MEASURED)).startswith("measured/00 lost an input: listed is not in the lake")


def test_what_is_missing_is_neither_current_nor_fresh(chain: Chain) -> None:
    chain.lake.path(MEASURED).unlink()
    lineage = chain.lineage
    assert lineage.stale(MEASURED) == "measured/00 is missing"
    assert not lineage.is_current(MEASURED, lineage.expected(MEASURED, with_sources=True))
    with pytest.raises(MissingArtifactError, match="measured/00"):
        lineage.require_inputs(SUMMED)


def test_one_missing_shard_of_several_is_enough(chain: Chain) -> None:
    chain.lake.path(Artifact("measured", "01")).unlink()
    with pytest.raises(MissingArtifactError, match="measured/01"):
        chain.lineage.require_inputs(SUMMED)


def test_a_foreign_file_is_not_taken_for_an_artifact(chain: Chain) -> None:
    write_numbers(chain.lake, MEASURED, [("a", 1)])
    assert chain.lineage.stale(MEASURED) == "measured/00 has no provenance"


def test_an_input_that_is_no_longer_asked_for_is_named(chain: Chain) -> None:
    chain.recipes["summed"] = replace(chain.recipes["summed"], inputs=lambda _: (MEASURED,))
    reason = chain.lineage.stale(SUMMED)
    assert reason and "measured/01" in reason and reason.endswith("which now has fingerprint none")


def test_a_recipe_lists_its_artifacts(chain: Chain) -> None:
    assert chain.recipes["measured"].artifacts == (MEASURED, Artifact("measured", "01"))
    assert chain.recipes["listed"].artifacts == (LISTED,)
