"""Shows that memory is flat: the same video, one minute and ten minutes long, through ``streammatte video``.

    python tools/soak.py samples/person.mp4
    python tools/soak.py --clips FOLDER --long 60 --bg=blur     (an hour in chunks of a minute, in one process)
    python tools/soak.py --live --minutes 30        (a live session instead, see soak_live.py)

The videos are made by repeating the clip's packets, which costs nothing. Peak memory is what the operating system
counted for each finished process. Exit code 1 where the long video needed over 5 % more than the short one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

ALLOWED_CHUNKS = 1.02
"""Peak at the end by that after a tenth of the chunks."""
ALLOWED = 1.05
"""Peak memory of the long video by that of the short one."""


def repeat(clip: Path, target: Path, seconds: float) -> int:
    """Write ``clip``'s video and audio packets over and over until ``seconds``; gives the count of video packets."""
    count, offset = 0, 0.0
    last: dict[int, int] = {}
    with av.open(str(target), "w") as out:
        streams = {}
        while offset < seconds:
            with av.open(str(clip)) as source:
                length = float(source.duration or 0) / av.time_base
                wanted = [stream for stream in source.streams if stream.type in ("video", "audio")]
                if not streams:
                    streams = {stream.index: out.add_stream_from_template(stream) for stream in wanted}
                for packet in source.demux(wanted):
                    if packet.dts is None:
                        continue
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts <= last.get(packet.stream.index, packet.dts - 1):
                        continue  # the audio's priming, which would lie before the end of the round before
                    last[packet.stream.index] = packet.dts
                    count += packet.stream.type == "video"
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
                offset += length
    return count


def peak_megabytes(command: list[str]) -> tuple[float, float]:
    """Run a command; (peak resident megabytes as the system counted them, seconds)."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024), time.monotonic() - began


def video(clip: Path, minutes: tuple[float, float], extra: list[str]) -> int:
    """Compare peak memory over two lengths of the same video."""
    peaks = []
    with tempfile.TemporaryDirectory(prefix="streammatte-soak-") as folder:
        for length in minutes:
            source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
            frames = repeat(clip, source, length * 60)
            command = [sys.executable, "-m", "streammatte", "video", str(source), str(target), "--overwrite", *extra]
            peak, seconds = peak_megabytes(command)
            peaks.append(peak)
            print(f"{length:5.1f} min: {frames} frames, {frames / seconds:6.1f} fps, peak {peak:7.1f} MB", flush=True)
    ratio = peaks[1] / peaks[0]
    print(f"long / short: {ratio:.3f}, at most {ALLOWED}")
    return 0 if ratio <= ALLOWED else 1


def chunks(folder: Path, minutes: float, seconds: int, extra: list[str]) -> int:
    """Many videos in one process: a folder's clips as 720p with a variable frame rate and audio, a minute each.

    Compares the process's peak of resident memory after a tenth of the chunks (and every clip once) with that at the
    end. Needs ``ffmpeg``.
    """
    clips = sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".mkv", ".avi", ".webm", ".mov"))
    with tempfile.TemporaryDirectory(prefix="streammatte-soak-") as name:
        work = Path(name)
        for number, clip in enumerate(clips):
            looped = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(clip), "-f", "lavfi", "-i", "sine=220"]
            frames = "scale=1280:720,setsar=1,select=not(eq(mod(n\\,7)\\,3))"
            encoded = [
                *["-map", "0:v", "-map", "1:a", "-fps_mode", "vfr", "-preset", "ultrafast", "-vf"],
                frames,
                "-t",
                str(seconds),
            ]
            subprocess.run([*looped, *encoded, str(work / f"clip{number}.mp4")], check=True)
        given = [work / f"in{number:03d}.mp4" for number in range(round(minutes * 60 / seconds))]
        for number, path in enumerate(given):
            path.hardlink_to(work / f"clip{number % len(clips)}.mp4")
        done = work / "done"
        command = [sys.executable, "-m", "streammatte", "video", *map(str, given), "--out-dir", str(done), *extra]
        with (work / "log.txt").open("w") as log, subprocess.Popen(command, stderr=log) as process:
            early = peak = 0.0
            while process.poll() is None:
                peak = max(peak, high_water(process.pid))
                finished = len(list(done.glob("in*.mp4"))) if done.is_dir() else 0
                if finished <= max(len(given) / 10, len(clips)):
                    early = peak
                print(f"{finished} {peak:.1f}", file=sys.stderr)
                time.sleep(1.0)
        made = len(list(done.glob("in*.mp4")))
    print(f"{made} of {len(given)} chunks; peak {early:.1f} MB after a tenth, {peak:.1f} MB at the end")
    return 0 if made == len(given) and peak <= ALLOWED_CHUNKS * early else 1


def high_water(pid: int) -> float:
    """Peak resident megabytes of a process so far; 0 once it has ended (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def main() -> int:
    """Run the soak that was asked for."""
    if "--live" in sys.argv:
        import soak_live

        return soak_live.main()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, default=Path("samples/person.mp4"))
    parser.add_argument("--short", type=float, default=1.0, help="minutes of the short video")
    parser.add_argument("--long", type=float, default=10.0, help="minutes of the long video")
    parser.add_argument("--chunk", type=int, default=60, help="seconds of a chunk, with --clips")
    parser.add_argument("--clips", type=Path, help="a folder of clips: many chunks of a minute in one process")
    options, extra = parser.parse_known_args()
    if options.clips is not None:
        return chunks(options.clips, options.long, options.chunk, extra)
    return video(options.clip, (options.short, options.long), extra)


if __name__ == "__main__":
    sys.exit(main())
