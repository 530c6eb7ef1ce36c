"""Which recordings a folder, a pattern, a manifest or a file name stands for."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from affectstream.stream.batch.plan.manifest import read_manifest
from affectstream.stream.batch.plan.parts import check_apart, name_parts
from affectstream.stream.batch.plan.task import Task, distinct, relative_name, with_own_names
from affectstream.stream.errors import OptionError
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.scored import RUN
from affectstream.stream.transcript.files import is_transcript, language_tag

MANIFEST_SUFFIX = ".csv"
_VIDEO = (
    "3g2 3gp asf avi divx dv f4v flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv y4m"
)
_SOUND = "aac ac3 aif aiff amr au caf flac m4a mka mp3 oga ogg opus w64 wav wma"
_WORDS = "ass srt ssa vtt"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_VIDEO} {_SOUND} {_WORDS}".split())
"""Files with these suffixes are taken for recordings when a folder is searched."""
_MAGIC = frozenset("*?[")
_EXPECTED = (
    "expected names that end in .mp4, .mkv, .mov, .wav, .mp3, .srt or another suffix of media"
)


def stands_for_several(argument: str | Path) -> bool:
    """Whether an argument is a folder, a pattern or a manifest rather than one recording."""
    path = Path(argument)
    return path.is_dir() or path.suffix.lower() == MANIFEST_SUFFIX or is_pattern(argument)


def is_pattern(argument: str | Path) -> bool:
    """Whether an argument is a pattern such as ``day*/**/*.mp4``, which a shell has not replaced."""
    return bool(_MAGIC & set(str(argument))) and not os.path.lexists(argument)


def find_tasks(
    arguments: Iterable[str | Path], options: SourceOptions, output: Path | None = None
) -> list[Task]:
    """The recordings that `arguments` stand for, and parts of recordings, each once.

    A folder is searched with all that is in it, but for hidden files, transcripts of a recording beside them,
    and folders of results. Results are named by the path in the folder, in the fixed part of a pattern, or
    beside the manifest. `options` are those of each recording; a manifest may give others. Raises
    `OptionError` for an argument that stands for nothing, for a manifest with mistakes, and for results that
    would lie in those of another recording.
    """
    each: list[list[Task]] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            if output is not None and path.resolve() == output.resolve():
                raise OptionError(
                    f"--output {output} is the folder of the recordings itself: choose another, such as "
                    f"{path.resolve().name}-results"
                )
            found = [Task(one, relative_name(one, path), options) for one in _walk(path, output)]
            if not found:
                raise OptionError(f"{path}: this folder holds no recording ({_EXPECTED})")
        elif is_pattern(argument):
            found = _matches(str(argument), options, output)
        elif path.suffix.lower() == MANIFEST_SUFFIX:
            found = read_manifest(path, options)
        else:
            found = [Task(path, path.name, options)]
        each.append(found)
    tasks = with_own_names(name_parts(distinct(each)))
    check_apart(tasks)
    return tasks


def _matches(pattern: str, options: SourceOptions, output: Path | None) -> list[Task]:
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if _MAGIC & set(part))
    root = Path(*parts[:fixed])
    # Path.glob takes no absolute pattern.
    matches = {Path(match) for match in glob.glob(pattern, recursive=True)}  # noqa: PTH207
    leave_out = None if output is None else output.absolute()
    found = [
        path
        for folder in sorted({match.parent for match in matches})
        if leave_out is None or not folder.absolute().is_relative_to(leave_out)
        for path in _recordings(folder, os.listdir(folder))  # noqa: PTH208
        if path in matches
    ]
    if not found:
        raise OptionError(f"{pattern}: no recording matches this pattern ({_EXPECTED})")
    return [Task(path, relative_name(path, root), options) for path in found]


def _walk(root: Path, output: Path | None) -> Iterator[Path]:
    """The recordings in `root`, by path. Links are followed, and each folder is searched once."""
    leave_out = None if output is None else os.path.realpath(output)
    searched: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in searched or real == leave_out or RUN in files:
            folders.clear()
            continue
        searched.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from _recordings(Path(folder), files)


def _recordings(folder: Path, names: Collection[str]) -> list[Path]:
    """The recordings among the files `names` of `folder`, without the transcripts that belong to others, and
    the video of `affectstream explain`. A folder of results has none."""
    if RUN in names:
        return []
    made = {"explanation.mp4"} if "explanation.json" in names else set()
    media = [name for name in sorted(set(names) - made) if _is_recording(Path(name))]
    stems = {Path(name).stem for name in media if not is_transcript(name)}
    return [folder / name for name in media if not _belongs_to_another(name, stems)]


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _belongs_to_another(name: str, recordings: Collection[str]) -> bool:
    """Whether the file `name` is the transcript of one of `recordings`, which are names without suffix."""
    path = Path(name)
    stem, _, tag = path.stem.rpartition(".")
    return is_transcript(path) and (
        path.stem in recordings or (stem in recordings and language_tag(tag) is not None)
    )
