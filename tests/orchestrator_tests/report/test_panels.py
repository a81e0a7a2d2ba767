import plotly.graph_objects as go
import pytest

from orchestrator.report.panels import COLUMNS, beside_each_other


def _figure(name: str) -> go.Figure:
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="trial"))
    return figure.update_xaxes(title_text=name).update_yaxes(title_text="loss")


def test_each_panel_has_its_own_axes_and_a_name_is_in_the_legend_once() -> None:
    joined = beside_each_other([_figure("a"), _figure("b")])
    assert [(trace.xaxis, trace.yaxis) for trace in joined.data] == [("x", "y"), ("x2", "y2")]
    assert [joined.layout.xaxis.title.text, joined.layout.xaxis2.title.text] == ["a", "b"]
    assert [trace.showlegend for trace in joined.data] == [True, False]


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (4, 1, 4), (9, 3, 4)])
def test_panels_stand_in_rows_and_the_figure_grows_with_these(
    n: int, rows: int, columns: int
) -> None:
    layout = beside_each_other([_figure("a")] * n).layout
    assert (layout.grid.rows, layout.grid.columns) == (rows, columns)
    assert columns <= COLUMNS
    assert layout.height == (940 if rows == 3 else 450)
