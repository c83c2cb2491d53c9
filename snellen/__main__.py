"""``python -m snellen``, and ``snellen``."""


def main() -> None:
    """The command line; Ctrl-C while it is still being loaded is one line too."""
    try:
        from snellen import cli
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    cli.main()


if __name__ == "__main__":
    main()
