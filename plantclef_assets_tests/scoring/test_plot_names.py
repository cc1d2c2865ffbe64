"""Places, regions and transects by the names of plots."""

import pytest

from plantclef_assets.scoring.plot_names import place_of, region_of, transect_of

PATTERNS = [
    r"^(CBN-[A-Za-z]+-[A-Z])\d+-",
    r"^(CBN-[A-Za-z]+)-",
    r"^(GUARDEN-[A-Za-z]+)-",
    r"^(LISAH-[A-Z]+)-",
    r"^(OPTMix-\d+)-",
    r"^(RNNB-\d+)-",
]


@pytest.mark.parametrize(
    ("plot", "place"),
    [
        ("CBN-PdlC-A1-20130807", "CBN-PdlC-A1"),
        ("CBN-Pla-B1-20140721", "CBN-Pla-B1"),
        ("RNNB-1-1-20230512", "RNNB-1-1"),
        ("LISAH-BOU-12-20170613", "LISAH-BOU-12"),
        ("MIX-03-20240501", "MIX-03"),
        ("2024-CEV3", "2024-CEV3"),
        ("plot-2024", "plot-2024"),
        ("-20240501", "-20240501"),
    ],
)
def test_a_place_is_the_name_without_its_date(plot, place):
    assert place_of(plot) == place


@pytest.mark.parametrize(
    ("plot", "region"),
    [
        ("CBN-PdlC-A1-20130807", "CBN-PdlC"),
        ("GUARDEN-AMB-PR-1-20240501", "GUARDEN-AMB"),
        ("RNNB-8-8-20240118", "RNNB"),
        ("2024-CEV3", "2024"),
        ("plot", "plot"),
    ],
)
def test_a_region_is_the_leading_part_of_a_name(plot: str, region: str) -> None:
    assert region_of(plot, ["^((?:CBN|GUARDEN|LISAH)-[A-Za-z]+)-"]) == region


@pytest.mark.parametrize(
    ("plot_id", "transect"),
    [
        ("CBN-PdlC-A1-20130807", "CBN-PdlC-A"),
        ("CBN-can-20230705", "CBN-can"),
        ("GUARDEN-AMB-PR1-2-3-20240418", "GUARDEN-AMB"),
        ("LISAH-BOU-12-20230401", "LISAH-BOU"),
        ("OPTMix-083-P4-20231212", "OPTMix-083"),
        ("RNNB-8-8-20240118", "RNNB-8"),
        ("2024-CEV3-20240602", "2024-CEV3"),
        ("MIX-03-20240501", "MIX-03"),
        ("plot", "plot"),
    ],
)
def test_the_transect_of_a_plot(plot_id, transect):
    assert transect_of(plot_id, PATTERNS) == transect


@pytest.mark.parametrize("pattern", ["^MIX", "^(MIX"])
def test_a_pattern_without_a_group_is_refused(pattern):
    with pytest.raises(ValueError, match="is not usable"):
        transect_of("MIX-03-20240501", [pattern])
