"""What commands print about runs: failures in a few lines, and checks that did not pass."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
)

from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.messages import describe_checks, end_with_failures, explain_run, note_failure
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import make_instance, materialize_command
from plantclef_assets_tests.cli.commands import run_command as run_process
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.defs.lake_corruption import rewrite, with_value
from plantclef_assets_tests.orchestration.test_launching import command
from plantclef_assets_tests.tiny import materialize, tiny_settings


def evaluation(
    asset: str, check: str, severity: AssetCheckSeverity, passed: bool, problem: str
) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(AssetKey(asset), check, passed, {}, severity=severity, description=problem)


WARNING = evaluation("training_manifest", "photographs_found", AssetCheckSeverity.WARN, False, "104 rows,\nno photo")
PASSED = evaluation("training_manifest", "schema", AssetCheckSeverity.ERROR, True, "")
BLOCKING = evaluation("raw_images", "unique_keys", AssetCheckSeverity.ERROR, False, "a.jpg occurs twice")


def test_failed_checks_of_every_severity_are_a_line_each() -> None:
    assert describe_checks([WARNING, PASSED, BLOCKING]) == [
        "warning training_manifest / photographs_found: 104 rows, no photo",
        "ERROR raw_images / unique_keys: a.jpg occurs twice",
    ]
    many = describe_checks([WARNING] * 30)
    assert len(many) == 11
    assert many[-1] == "… and 20 more; the UI lists them all"


def test_a_blocking_check_names_the_shard_and_what_to_do(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("base_embeddings", "01"), lambda table: with_value(table, "dct", 0, [float("nan")] * 64))
    message, trace = explain_run(materialize(settings, "base_embeddings", first="00", last="02").all_events)
    finding, advice = message.splitlines()
    assert finding.startswith(
        "ERROR base_embeddings / vectors_usable: base_embeddings/01: 1 dct vectors are non-finite"
    )
    assert advice.startswith("Delete the files named here")
    assert "Stack Trace" in trace


def test_dagsters_command_ends_with_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    context = command(select="raw_images")
    with context:
        end_with_failures(context)
        note_failure("raw_images/00: there is no photograph")
    assert capsys.readouterr().err.rstrip().endswith("\nraw_images/00: there is no photograph")


@pytest.mark.slow
def test_dagsters_command_ends_with_a_few_lines(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    variables = environment(settings, make_instance(tmp_path / "home"))
    (tmp_path / "mine.csv").write_text("file;species_id\na.jpg;1\n")
    failed = run_process(
        materialize_command("training_metadata"),
        variables | {"PLANTCLEF_TRAINING_METADATA": str(tmp_path / "mine.csv")},
    )
    assert failed.returncode == 1
    lines = failed.stderr.rstrip().rpartition("\n\n")[2].splitlines()
    assert lines[0].startswith("training_metadata: ")
    assert f"PLANTCLEF_TRAINING_METADATA={tmp_path / 'mine.csv'}" in lines[1]
    assert lines[2:] == ["Error: Materialization failed."]
    misspelt = run_process(materialize_command("training_metadata"), variables | {"PLANTCLEF_TRANING_IMAGES": "/x"})
    assert misspelt.returncode == 1
    assert "Traceback" not in misspelt.stderr
    assert misspelt.stderr.splitlines()[-1].endswith("did you mean PLANTCLEF_TRAINING_IMAGES?")
    reversed_range = run_process(materialize_command("raw_images", "02", "00"), variables)
    assert reversed_range.returncode == 1
    assert reversed_range.stderr.splitlines()[-1] == "Error: --partition-range: 02 comes after 00; give 00...02"
