import pytest

from plantclef_assets.ingest.checkpoints import LICENCE, licence_at


@pytest.mark.parametrize(
    ("address", "licence"),
    [
        ("https://zenodo.org/records/10848263/files/PlantNet_PlantCLEF2024_pretrained_models.tar", LICENCE),
        ("https://zenodo.org/api/records/10848263/files/any.tar/content#sha256=00", LICENCE),
        ("https://zenodo.org/records/108482631/files/any.tar", None),
        ("https://example.org/https://zenodo.org/records/10848263/any.tar", None),
        (None, None),
    ],
)
def test_the_licence_is_known_of_the_organisers_record_alone(address: str | None, licence: str | None) -> None:
    assert licence_at(address) == licence
