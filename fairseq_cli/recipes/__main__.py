"""``python -m fairseq_cli.recipes NAME ...``"""

from fairseq_cli.recipes.scripts import console_main

if __name__ == "__main__":
    console_main()
