"""One unbroken shrunken run, shared by every test of this folder that only reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import shrunken


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "quickstart"
    done = shrunken.run(out)
    assert done.returncode == 0, done.stderr[-3000:]
    (out.parent / "said.txt").write_text(done.stdout + done.stderr)
    return out
