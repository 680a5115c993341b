"""A Dockerfile as data: its stages, and the instructions of each with variables replaced."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template


@dataclass
class Stage:
    """What lies between one FROM and the next; ``base`` is an image, or a stage before."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, word: str) -> list[str]:
        """Return what follows each instruction of that word."""
        return [value for given, value in self.instructions if given == word]

    def copied_stages(self) -> list[str]:
        """Return the stages that it copies from."""
        return [name for value in self.values("COPY") for name in re.findall(r"--from=(\S+)", value)]


def read_stages(path: Path) -> dict[str, Stage]:
    """Return the stages by name, in order."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for word, value in _instructions(path.read_text()):
        if word == "FROM":
            base, _, name = replaced(value, arguments).partition(" AS ")
            stages[name] = Stage(name, base)
        elif not stages:
            arguments.update([parse_argument(value)])
        else:
            list(stages.values())[-1].instructions.append((word, value))
    return stages


def replaced(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with its variables replaced, as the builder does."""
    return Template(text).safe_substitute(variables)


def parse_argument(value: str) -> tuple[str, str]:
    """Return an ARG's name and default."""
    name, _, default = value.partition("=")
    return name, default


def parse_words(value: str) -> list[str]:
    """Return a command in its exec form as words."""
    words: list[str] = json.loads(value)
    return words


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            word, _, value = line.strip().partition(" ")
            yield word, value.strip()
