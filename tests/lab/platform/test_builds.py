"""What a compiler that root starts sees of the machine."""

from __future__ import annotations

from pathlib import Path

from testbed.platform.images import workshop
from tests.unit.platform.images.test_image_tools import make


def test_a_compiler_sees_nothing_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("not for compilers")
    make(tmp_path, build=f"id -u >user; ls {tmp_path} /root >>user 2>&1; cat /proc/net/dev | wc -l >>user; pwd >>user")
    seen = (tmp_path / "images" / "one" / "user").read_text().splitlines()
    assert seen[0] == str(workshop.USER_ID)
    assert seen[-2:] == ["3", "/home/app"]  # two lines of headings, and lo
    assert "private" not in seen and any("Permission denied" in line for line in seen)
    assert (tmp_path / "images" / "one" / "user").stat().st_uid == 0
