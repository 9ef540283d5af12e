"""`python -m exporter` is the command `openai-usage-exporter`."""

import sys


def main() -> int:
    """Run the command; return its exit status."""
    # A container may ask for its health every few seconds with a tenth of a processor: all of the exporter would take
    # longer to load than the question takes.
    if sys.argv[1:2] == ["check-health"]:
        from exporter import health_check  # noqa: PLC0415 - as said above

        return health_check.main(sys.argv[2:])
    from exporter import command_line  # noqa: PLC0415 - as said above

    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
