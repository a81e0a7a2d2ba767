import pytest

from orchestrator.cli.bundle import _require_extra
from shared.errors import InputError


def test_a_missing_extra_is_named_and_how_to_have_it() -> None:
    _require_extra("serve", "json")
    with pytest.raises(InputError, match=r"extra 'serve': pip install 'tagsweep\[serve\]'"):
        _require_extra("serve", "no_such_module")
