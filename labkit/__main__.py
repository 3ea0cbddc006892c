"""The command line: `python -m labkit --help`."""

import argparse
import sys

from labkit.errors import LabkitError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 1 after an error, which is told in one line."""
    parser = argparse.ArgumentParser(
        "labkit", description="A lab report on chest X-ray segmentation that rebuilds itself."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="make a preset's report: train, score, draw and write whatever is missing or out of date",
        epilog="Example: python -m labkit report laptop --data ../covidqu",
    )
    report.add_argument("preset", help="a file of workflow/presets: smoke, demo, laptop, paper")
    report.add_argument("--data", default="", help="folder of COVID-QU-Ex, or 'phantom'; the preset's if left out")
    render = commands.add_parser(
        "render", help="only write report.pdf and report.html again, from results.json and figures"
    )
    render.add_argument("preset", help="a preset whose results are there")
    given = parser.parse_args(arguments)
    try:
        # Imported when needed, so that --help and a wrong command answer at once.
        if given.command == "report":
            from labkit import workflow

            workflow.report(given.preset, given.data)
        else:
            from labkit.report import render

            render(given.preset)
    except LabkitError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("labkit: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
