import pytest

from plantclef_assets.scoring.scientific_names import genus_in, without_authorship


@pytest.mark.parametrize(
    ("name", "without", "genus"),
    [
        ("Bellis perennis L.", "Bellis perennis", "Bellis"),
        ("Dryopteris filix-mas (L.) Schott", "Dryopteris filix-mas", "Dryopteris"),
        ("Salvia × sylvestris L.", "Salvia × sylvestris", "Salvia"),
        ("Salix x fragilis L.", "Salix x fragilis", "Salix"),
        ("×Cupressocyparis leylandii Dallim.", "×Cupressocyparis leylandii", "×Cupressocyparis"),
        ("Leucanthemum cuneifolium", "Leucanthemum cuneifolium", "Leucanthemum"),
        ("Taraxacum sect. Taraxacum F.H.Wigg.", "Taraxacum sect. Taraxacum", "Taraxacum"),
        ("Pinus nigra J.F.Arnold subsp. laricio (Poir.) Palib. ex Maire", "Pinus nigra subsp. laricio", "Pinus"),
        ("Erysimum ochroleucum Haller f. ex Schleich.", "Erysimum ochroleucum", "Erysimum"),
        ("Dactylorhiza viridis (L.) R.M.Bateman, Pridgeon & M.W.Chase", "Dactylorhiza viridis", "Dactylorhiza"),
        ("Planta 1000001", "Planta 1000001", None),
        ("common daisy", "common daisy", None),
        ("Poa sp.", "Poa sp.", None),
    ],
)
def test_authors_are_left_out_and_other_names_left_alone(name: str, without: str, genus: str | None) -> None:
    assert without_authorship(name) == without
    assert genus_in(name) == genus
