"""Benches start programs that nothing has to be compiled for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netsim.bench.installed import bytecode, environment


def test_bytecode_is_kept_where_python_is_told_to_keep_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside the sources' folders; what is started once compiles nothing at its second start."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "it.py").write_text("print(__cached__)")
    command = [sys.executable, "-c", "import it"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    kept = Path(shown.stdout.strip())
    assert kept.is_file()
    assert kept.is_relative_to(tmp_path / "temporary")
    assert not (tmp_path / "__pycache__").exists()


def test_nothing_is_changed_where_it_is_kept_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the sources, as Python does by itself."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert bytecode() == {}


@pytest.mark.parametrize("made", ["writable", "link", "file"])
def test_a_folder_that_others_may_have_made_is_not_used(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is known to all: bytecode that somebody else has put there would run as us."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(bytecode()["PYTHONPYCACHEPREFIX"])
    folder.rmdir()
    match made:
        case "writable":
            folder.mkdir()
            folder.chmod(0o777)
        case "link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "elsewhere")
        case _:
            folder.touch()
    assert bytecode() == {}
