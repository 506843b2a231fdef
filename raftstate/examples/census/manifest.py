"""The list of everything in a folder of evidence: path, size, digest.

It is written last, when nothing in the folder changes any more, and covers what no rule
looks into: times in the servers' logs, the words of a library, the root of the files.

The digests have no key. Whoever changes a file can write the manifest anew, so it finds
accidents and careless edits, and is no proof against somebody who means to deceive; it is
the rules about the content that find a forgery, where it contradicts itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from raftstate.examples.census.evidence import read_json, write_json

NAME = "manifest.json"

Entries = dict[str, dict[str, object]]


def write_manifest(folder: Path) -> None:
    """Describe every file that the folder holds now."""
    write_json(folder / NAME, _entries(folder))


def differences(folder: Path) -> list[str]:
    """Every file that is missing, that nobody listed, or that is not as it was listed.

    Raises OSError or ValueError if there is no manifest, or none that can be read.
    """
    listed, found = read_json(folder / NAME), _entries(folder)
    if not isinstance(listed, dict):
        raise ValueError(f"{NAME} is not a list of files")
    wrong = []
    for path in sorted(listed.keys() | found.keys()):
        if path not in found:
            wrong.append(f"{path}: missing, although the manifest lists it")
        elif path not in listed:
            wrong.append(f"{path}: not in the manifest")
        elif listed[path] != found[path]:
            wrong.append(f"{path}: changed since the manifest was written")
    return wrong


def _entries(folder: Path) -> Entries:
    paths = [path for path in folder.rglob("*") if not path.is_dir()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _entry(names[name]) for name in sorted(names) if name != NAME}


def _entry(path: Path) -> dict[str, object]:
    data = path.read_bytes() if path.is_file() else b""
    return {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=32).hexdigest()}
