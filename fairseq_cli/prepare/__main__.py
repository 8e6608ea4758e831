"""``python -m fairseq_cli.prepare``: ``fairseq prepare`` where no command is installed."""

from fairseq_cli.prepare.command import console_main

if __name__ == "__main__":
    console_main()
