"""The folder of a company below a data directory: its shards, and where there are files, its record store."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from core.durability import sync

_FOLDER: Final = "companies"


def company_folder(root: Path, company: str) -> Path:
    """Return the folder of a company."""
    return root / _FOLDER / company


def list_companies(root: Path) -> Sequence[str]:
    """Return the companies that have a folder."""
    folder = root / _FOLDER
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def remove_folder(folder: Path) -> None:
    """Remove a folder durably; one that is not there, or vanishes meanwhile, is no error. Raises ``OSError``."""
    try:
        shutil.rmtree(folder)
        sync(folder.parent)
    except FileNotFoundError:
        if folder.exists():
            raise
