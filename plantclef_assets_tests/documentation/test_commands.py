"""Every command of README and docs runs, or its block is marked with what it needs: `<!-- needs: a GPU -->`.

The commands of a page run in order, in one shell, over the tiny survey.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.settings import load_settings
from plantclef_assets_tests.documentation import pages, read
from plantclef_assets_tests.documentation.sandbox import Block, add_survey, blocks, make_sandbox, run_script

pytestmark = [pytest.mark.first, pytest.mark.skipif(not pages(), reason="the pages are missing: run in a checkout")]
PAGES = [page for page in pages() if page != "CONTRIBUTING.md"]  # test_contributing.py runs its commands
TUTORIAL = "docs/tutorial.md"


def runnable(page: str) -> list[Block]:
    """Return the commands of a page that need nothing special."""
    return [block for block in blocks(page) if block.kind in ("bash", "python") and not block.needs]


RUNNABLE = [page for page in PAGES if runnable(page) and page != TUTORIAL]


def script(page: str) -> str:
    """Return the commands of a page as one script of bash."""
    return "\n".join(
        block.text if block.kind == "bash" else f"python - <<'END'\n{block.text}END" for block in runnable(page)
    )


@pytest.fixture(scope="module")
def finished(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sandbox after the commands of README."""
    folder = make_sandbox(tmp_path_factory.mktemp("readme") / "home", tiny_survey)
    add_survey(folder, tiny_survey)
    done = run_script(script("README.md"), folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "would make" in done.stdout and "Results:" in done.stdout
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_list_the_species(finished: Path) -> None:
    (first, *_) = sorted((finished / "survey" / "lake" / "species_cover").glob("*.csv"))
    assert first.read_text(encoding="utf-8-sig").startswith("plot_id,species_id,")
    assert (finished / "survey" / "lake" / "plot_report" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUNNABLE if page != "README.md"])
def test_the_commands_of_a_page_run(page: str, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    shutil.copytree(finished, folder, symlinks=True)
    checkout = folder / "checkout"
    for block in blocks(page):  # the files that a page shows, and names in its commands
        if block.kind == "text" and block.text.startswith("image_name;"):
            (checkout / "scores.csv").write_text(block.text)
            (checkout / "truth.csv").write_text('"quadrat_id","species_ids"\n"DEMO-A1-20240501","[1355868]"\n')
    variables = {"DAGSTER_HOME": str(checkout / ".dagster_home"), "PLANTCLEF_PROFILE": "~/survey/survey.toml"}
    done = run_script(script(page), folder, **variables)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_the_tutorial_works_word_for_word(tiny_survey: Path, tmp_path: Path) -> None:
    folder = make_sandbox(tmp_path / "home", tiny_survey)
    (profile,) = (block.text for block in blocks(TUTORIAL) if block.kind == "toml")
    written = "mkdir -p ~/survey\n"
    commands = script(TUTORIAL)
    assert written in commands
    done = run_script(commands.replace(written, f"{written}cat > ~/survey/survey.toml <<'END'\n{profile}END\n"), folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "base_cls_4x4_max3  max(species_per_plot=3)" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_are_valid_bash(page: str) -> None:
    for block in blocks(page):
        if block.kind == "bash":
            checked = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
            assert checked.returncode == 0, block.text + checked.stderr


@pytest.mark.parametrize("page", PAGES)
def test_selected_assets_exist(page: str) -> None:
    graph = build_graph(load_settings().model_copy(update={"inbox": "inbox"}))
    found = re.findall(r"--(?:select|assets) ([\w,]+)", "".join(block.text for block in blocks(page)))
    assert {name for names in found for name in names.split(",")} <= set(graph.assets)


def test_no_command_stands_outside_a_marked_or_executed_block() -> None:
    languages = {match[1] for page in PAGES for match in re.finditer(r"^```(\S*)$", read(page), re.MULTILINE)}
    assert languages <= {"", "bash", "python", "toml", "text", "yaml"}
