"""Label every frame of videos and draw the labels over them.

Any video that FFmpeg reads will do; one whose motion vectors are of no use is encoded anew
on the way.  Each gets a folder with overlay.mp4, frames.csv (the area of each class in each
frame, and whether it was a keyframe) and summary.json (what was done, and how long it took).

The keyframes are the first frames of intervals and, with +rgfs, those that it makes keyframes
of; frames of which +rgc labels regions anew are none.  With +aks they are those that it chooses,
and there are no intervals.

The schemes that begin with afp, or have +aks, need a net with what was learned beside it: the
folder that python -m experiments.lowlatency.train wrote.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxseg.cli.inputs import SUFFIXES, Video, find_videos, is_live
from jaxseg.cli.labelling import Reading, Tools, UnusableVideo, label_video, make_tools
from jaxseg.cli.outputs import FILES, Tally, WriteFrame, open_outputs, staged
from jaxseg.cli.settings import Settings, add_settings, positive, settings_of
from jaxseg.cli.stopping import stopping_gently
from jaxseg.cli.summary import (
    add_to_list,
    choose_folder,
    describe_run,
    describe_video,
    describe_work,
    identify,
    is_done,
    without_password,
    write_summary,
)
from jaxseg.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from jaxseg.arrays import CodedFrame
    from jaxseg.codec import Source

EXTRAS = ("side_by_side", "motion", "masks", "mask_video")
"""Outputs that are made only if asked for, by their names in `FILES`."""

EXAMPLES = """\
examples:
  jaxseg segment drive.mp4                      runs/segment/drive/overlay.mp4 and more
  jaxseg segment drive.mov -o labelled.mp4      only the labelled video
  jaxseg segment clips/ 'more/*.mkv' -o out     each video gets a folder in out/
  jaxseg segment clips/ -o out --resume         only those that are not done yet
  jaxseg segment drive.mp4 --masks --side-by-side --max-frames 100
  jaxseg segment /dev/video0 -o seen.mp4        until Ctrl-C
  ffmpeg -i URL -f matroska - | jaxseg segment -

Ctrl-C finishes what was read so far: a valid, shorter video.  A second Ctrl-C aborts, and
leaves nothing of the video that it was at.

exit codes:
  0    all videos were labelled to their end
  2    one or more were bad or damaged (the others are done all the same), or an option was
  130  interrupted
"""


class Task(NamedTuple):
    """What is to be done with each video.

    Attributes:
        settings: How it is labelled.
        opacity: Of the classes over the frames, 0..1.
        max_frames: Frames to label, at most; None for all.
    """

    settings: Settings
    opacity: float
    max_frames: int | None

    def describe(self) -> dict[str, Any]:
        """List all that the outputs depend on, for a summary."""
        rest = {"opacity": self.opacity, "max_frames": self.max_frames}
        return dataclasses.asdict(self.settings) | rest


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.epilog = EXAMPLES
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="INPUT",
        help="a video file, a folder of them, a pattern, a camera (/dev/video0), an address "
        "(rtsp://...), or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/segment"),
        metavar="OUT",
        help="folder to write to; or, for one input, the labelled video alone, such as out.mp4 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--side-by-side",
        action="store_true",
        help="also write frame and overlay next to each other, with the names of the classes",
    )
    parser.add_argument(
        "--motion", action="store_true", help="also write a video of the motion vectors"
    )
    parser.add_argument(
        "--masks",
        action="store_true",
        help="also write the labels as masks/000000.png ..., whose palette shows them",
    )
    parser.add_argument(
        "--mask-video", action="store_true", help="also write the labels as a lossless masks.mkv"
    )
    parser.add_argument(
        "--opacity",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="of the classes over the frames, 0..1 (default: %(default)s)",
    )
    parser.add_argument(
        "--max-frames", type=positive, metavar="N", help="label no more than the first N frames"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out videos that are done, with the same settings, and have not changed",
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If there is no video, or no place for what it gives.
    """
    from jaxseg.runner import keep_compilations

    task = Task(settings_of(options), options.opacity, options.max_frames)
    out: Path = options.output
    videos = find_videos(options.videos, out=out)
    extras = [name for name in EXTRAS if getattr(options, name)]
    keep_compilations()
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        _check_file(out, videos, [*extras, *(["resume"] if options.resume else [])])
        return _segment_to_file(videos[0], out, task)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder, or a video such as out.mp4")
    out.mkdir(parents=True, exist_ok=True)
    wanted = ("overlay", "frames", *extras)
    taken: set[Path] = set()
    folders = {video: choose_folder(out, video, taken=taken) for video in videos}
    if options.resume:
        folders = {
            video: folder
            for video, folder in folders.items()
            if not is_done(folder, video, settings=task.describe(), wanted=wanted)
        }
        print(f"{len(videos) - len(folders)} of {len(videos)} videos were done before")
    if not folders:
        return 0
    return _segment_to_folders(folders, out, task, wanted=wanted, command=options.command_line)


def share(word: str) -> float:
    """Read a share.

    Args:
        word: From the command line.

    Returns:
        The number, 0..1.

    Raises:
        ArgumentTypeError: If it is none.
    """
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no number in 0..1")
    return number


def _check_file(out: Path, videos: Sequence[Video], more: Sequence[str]) -> None:
    """Refuse at once what would fail after minutes of work."""
    from jaxseg.codec.errors import explain_write

    if len(videos) > 1:
        raise InputError(f"{out}: is one video, but there are {len(videos)} inputs; give a folder")
    if more:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in more)
        raise InputError(f"{out}: is one video, but {words} needs a folder; give one by -o")
    if isinstance(videos[0], Path) and videos[0].resolve() == out.resolve():
        raise InputError(f"{out}: is the input itself; give another name by -o")
    if not out.parent.is_dir():
        raise explain_write(out, FileNotFoundError())


def _segment_to_file(video: Video, out: Path, task: Task) -> int:
    tools = make_tools(task.settings)
    with stopping_gently() as stop, _open(video, task, tools) as source:
        tally, reading = _label(video, source, {"overlay": out}, task, tools, stop)
    return _conclude(video, out, tally, reading, num_left=0)


def _segment_to_folders(
    folders: Mapping[Video, Path],
    out: Path,
    task: Task,
    *,
    wanted: Sequence[str],
    command: Sequence[str],
) -> int:
    tools, about = make_tools(task.settings), describe_run(command)
    codes: list[int] = []
    with stopping_gently() as stop:
        for video, folder in folders.items():
            if stop.is_set():
                break
            entry = {"input": identify(video)["path"], "folder": None, "num_frames": 0}
            try:
                with _open(video, task, tools) as source, staged(folder) as hidden:
                    paths = {name: hidden / FILES[name] for name in wanted}
                    tally, reading = _label(video, source, paths, task, tools, stop)
                    work = describe_work(
                        tally,
                        status=reading.status,
                        damage=reading.damage,
                        classes=tools.model.classes,
                    )
                    summary = {
                        **about,
                        "input": describe_video(source, video),
                        "settings": task.describe(),
                        **work,
                        "outputs": {name: FILES[name] for name in wanted},
                    }
                    write_summary(hidden, summary)
            except UnusableVideo as error:
                print(f"jaxseg: error: {error}", file=sys.stderr)
                failure = {"status": "failed", "damage": without_password(str(error))}
                add_to_list(out, about, entry | failure)
                codes.append(2)
                continue
            told = ("status", "damage", "num_frames", "throughput_fps")
            add_to_list(out, about, entry | {"folder": folder.name} | {it: work[it] for it in told})
            overlay, num_left = folder / FILES["overlay"], len(folders) - len(codes) - 1
            codes.append(_conclude(video, overlay, tally, reading, num_left=num_left))
    if len(codes) < len(folders) and 130 not in codes:
        num_left = len(folders) - len(codes)
        print(f"jaxseg: interrupted; not begun: {num_left}", file=sys.stderr)
        codes.append(130)
    if len(folders) > 1:
        print(f"{codes.count(0)} of {len(folders)} videos complete: {out / FILES['summary']}")
    return max(codes)


def _conclude(video: Video, overlay: Path, tally: Tally, reading: Reading, *, num_left: int) -> int:
    """Say in a line what has come of a video, and in another one what is wrong."""
    fps = tally.num_frames / tally.seconds["total"]
    print(f"{overlay}: {tally.num_frames} frames, {fps:.1f} a second")
    if reading.status == "damaged":
        print(f"jaxseg: error: {reading.damage}; the frames before are done", file=sys.stderr)
        return 2
    if reading.status == "interrupted":
        rest = f"; not begun: {num_left}" if num_left else ""
        print(f"jaxseg: interrupted at {video}: what was read is done{rest}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _open(video: Video, task: Task, tools: Tools) -> "Iterator[Source]":
    from jaxseg import codec
    from jaxseg.regions import RESIDUAL_THRESHOLD

    threshold = RESIDUAL_THRESHOLD if tools.scheme.reads_residual else None
    opening = codec.open_source(video, size=task.settings.size, residual_threshold=threshold)
    with ExitStack() as stack:
        try:
            source = stack.enter_context(opening)
        except codec.CodecError as error:
            raise UnusableVideo(str(error)) from error
        yield source


def _label(
    video: Video,
    source: "Source",
    paths: Mapping[str, Path],
    task: Task,
    tools: Tools,
    stop: Event,
) -> tuple[Tally, Reading]:
    from tqdm import tqdm

    if source.why:
        print(f"{video}: encoded anew on the way, for: {'; '.join(source.why)}", file=sys.stderr)
    numbers = [it for it in (source.num_frames, task.max_frames) if it is not None]
    total = min(numbers, default=None)
    name = video.name if isinstance(video, Path) else without_password(video)
    with tqdm(
        total=total,
        desc=f"{name}: compiling for {source.width}x{source.height}",
        unit="frame",
        disable=None,
        dynamic_ncols=True,
        leave=False,
    ) as bar:

        @contextmanager
        def open_and_show(tally: Tally) -> Iterator[WriteFrame]:
            bar.set_description(name, refresh=False)
            bar.reset(total=total)
            with open_outputs(
                paths,
                source=source,
                classes=tools.model.classes,
                tally=tally,
                opacity=task.opacity,
                sound_from=video if isinstance(video, Path) else None,
            ) as write:

                def write_and_show(frame: "CodedFrame", labels: "np.ndarray", is_key: bool) -> None:
                    write(frame, labels, is_key)
                    bar.update()

                yield write_and_show

        return label_video(
            source,
            islice(source.frames, task.max_frames),
            tools,
            open_outputs=open_and_show,
            stop=stop,
            num_pending=0 if is_live(video) else 1,
        )
