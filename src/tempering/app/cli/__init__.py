"""The command line `temper`."""

import sys


def main() -> None:
    """Run the command line; exits with 0 done, 1 failed, 2 wrong call, 130 interrupted."""
    try:
        from tempering.app.cli.entry import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    run()
