import pytest

from orchestrator.data.formulas import inert


@pytest.mark.parametrize("cell", ["=1+1", "+ve", "-", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(cell: str) -> None:
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "plain = text", "-1.5", "+1e3", "a-b"])
def test_numbers_and_plain_text_stay_as_they_are(cell: str) -> None:
    assert inert(cell) == cell
