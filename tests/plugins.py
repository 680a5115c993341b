"""Key sources that are installed for a test: real distributions, found as any other is."""

from pathlib import Path


def install_plugin(folder: Path, name: str, value: str) -> None:
    """Put a distribution with one entry point into a folder that is, or will be, on the Python path."""
    installed = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[ostraka.key_sources]\n{name} = {value}\n")
