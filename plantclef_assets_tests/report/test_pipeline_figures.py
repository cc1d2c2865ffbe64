"""Figures of the pipeline."""

from pathlib import Path

from plantclef_assets.lake.store import Lake
from plantclef_assets.report.pipeline_figures import Node, Pipeline, draw_pipelines


def test_more_groups_than_colours_can_be_drawn(tmp_path: Path) -> None:
    nodes = [Node("asset_0", "group_0", ())]
    nodes += [Node(f"asset_{number}", f"group_{number}", (f"asset_{number - 1}",)) for number in range(1, 8)]
    drawing = draw_pipelines(nodes, {"all": Pipeline("All", ("asset_7",))}, Lake(str(tmp_path)))
    assert drawing.pictures["all.png"].startswith(b"\x89PNG")
    assert len(drawing.rows) == 8
