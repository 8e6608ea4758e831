"""``python -m fairseq VERB``: the command ``fairseq`` where no script is installed."""

from fairseq_cli.main import console_main

if __name__ == "__main__":
    console_main()
