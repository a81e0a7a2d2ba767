from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cli.bundle import _require_extra
from shared.errors import InputError
from tests.tiny_bundle import write_tiny_bundle


def test_a_missing_extra_is_named_and_how_to_have_it() -> None:
    _require_extra("serve", "json")
    with pytest.raises(InputError, match=r"'serve'.* pip install -c constraints.txt '.\[serve\]'"):
        _require_extra("serve", "no_such_module")


def test_predict_takes_the_datas_own_column_keeps_the_others_and_says_what_it_waits_for(
    tmp_path: Path,
) -> None:
    bundle, texts = tmp_path / "bundle", tmp_path / "new.csv"
    write_tiny_bundle(bundle, text_column="body")
    texts.write_text("id;body;a\n7;one café;1\n8;another;0\n", encoding="cp1252")
    command = ["predict", str(bundle), "--input", str(texts), "--encoding", "cp1252"]
    shown = CliRunner().invoke(app, command)
    header, *rows = shown.stdout.splitlines()
    assert header == "id,body,a,a_probability,a_predicted,b_probability,b"
    assert [row.rsplit(",", 4)[0] for row in rows] == ["7,one café,1", "8,another,0"]
    loading_model, loading_encoder, *_, done = shown.stderr.splitlines()
    assert (loading_model, loading_encoder) == ("Loading the model ...", "Loading the encoder ...")
    assert done.startswith("Predicting: 2/2 ")
    quiet = CliRunner().invoke(app, [*command, "--quiet"])
    assert (quiet.stdout, quiet.stderr) == (shown.stdout, "")
