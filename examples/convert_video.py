"""A video with another background: ``python examples/convert_video.py in.mp4 out.mp4 beach.jpg``."""

import sys

import streammatte


def main(source: str, target: str, background: str) -> None:
    """Convert and print what was done."""

    def show(progress):
        print(f"\r{progress.frames} frames, {progress.fps:.0f} fps", end="", file=sys.stderr)

    summary = streammatte.matte_video(
        source, target, background=background, smooth="high", overwrite=True, on_progress=show
    )
    print(f"\n{summary.frames} frames in {summary.seconds:.1f} s: {target}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("samples/person.mp4", "out.mp4", "samples/beach.jpg")))
