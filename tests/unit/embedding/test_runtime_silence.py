"""onnxruntime reports home unless it is told not to before it is imported."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from core.embedding.runtime import Embedder
embedder = Embedder(Path(sys.argv[1]))
embedder.embed_windows(embedder.cut_query("a text"))
embedder.close()
"""


def test_embedding_leaves_no_trace_of_telemetry(tmp_path: Path, model_dir: Path):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary)}  # no CI: it would mute it
    subprocess.run([sys.executable, "-c", SCRIPT, str(model_dir)], env=environment, check=True)
    assert list(temporary.iterdir()) == []
    assert list(home.rglob("*Microsoft*")) == []
