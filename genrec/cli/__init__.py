"""The command line: parse, call, print. Data goes to stdout, messages to stderr.

Exit codes: 0 fine, 1 other, 2 options, settings and filters, 3 workspace, 4 tables and rows, 5 store, 6 index, 7 unknown user or
item, 8 models, 9 prompts, 10 evaluation, 11 training, 130 interrupted.
"""


def main() -> None:
    """The entry point of `genrec`."""
    from genrec.cli.app import run

    run()
