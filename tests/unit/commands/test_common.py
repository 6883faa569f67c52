"""What several verbs print."""

from __future__ import annotations

import pytest

from testbed.commands.common import print_table


def test_in_a_pipe_each_row_of_a_table_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "product-purchase-authorize-cc.shop-direct.1"
    print_table("cold starts", ["instance", "total"], [[name, 7.5]])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [[name, "7.5"]]
