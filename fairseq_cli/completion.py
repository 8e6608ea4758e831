"""Completion scripts of the command ``fairseq`` and of the dashed scripts, for bash, zsh and fish.

A script is data: the verbs, the options of each, and the names that options such as ``--arch`` take. It is made from
the same parsers that read command lines, and from the index of registered names, so it is as current as the
installation that printed it; completing a word starts no Python.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field

from fairseq_cli.verbs import VERBS

__all__ = ["Words", "collect", "script"]

# One list of several hundred architectures would stand in the script once per verb.
SHARED = ("--arch", "--task", "--criterion", "--optimizer", "--lr-scheduler", "--bpe", "--tokenizer", "--scoring")


@dataclass
class Words:
    """What can follow one verb."""

    options: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)  # subcommands, as in `fairseq checkpoint inspect`
    values: dict[str, list[str]] = field(default_factory=dict)  # option -> what may follow it


def collect() -> dict[str, Words]:
    """The words of every verb."""
    from fairseq_cli.main import find

    # Parsers look at sys.argv: a plug-in that it names is imported, and --help spares them counting GPUs.
    argv, sys.argv = sys.argv, [sys.argv[0], "--help"]
    try:
        return {name: _of(find(verb.parser)()) if verb.parser else Words() for name, verb in VERBS.items()}
    finally:
        sys.argv = argv


def _of(parser: argparse.ArgumentParser) -> Words:
    words = Words()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        if isinstance(action, argparse._SubParsersAction):
            words.jobs += action.choices
            for job in action.choices.values():
                inner = _of(job)
                words.options += [option for option in inner.options if option not in words.options]
                words.values.update(inner.values)
            continue
        options = [option for option in action.option_strings if option.startswith("--")]
        words.options += [option for option in options if option not in words.options]
        if action.choices is not None:
            words.values.update({option: sorted(map(str, action.choices)) for option in options})
    return words


def script(shell: str) -> str:
    """The completion script for ``bash``, ``zsh`` or ``fish``."""
    found = collect()
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](found)


def _shared(found: dict[str, Words]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for words in found.values():
        values.update({option: words.values[option] for option in SHARED if option in words.values})
    return values


def _cases(found: dict[str, Words]) -> list[str]:
    """The lines of two shell functions: the words of a verb, and the values of an option of a verb."""
    lines = ["_fairseq_words() {", '    case "$1" in']
    for name, words in found.items():
        lines.append(f"        {name}) echo '{' '.join(words.jobs + words.options)}' ;;")
    lines += ["    esac", "}", "_fairseq_values() {", '    case "$2" in']
    shared = _shared(found)
    for option, values in shared.items():
        lines.append(f"        {option}) echo '{' '.join(values)}'; return ;;")
    lines += ["    esac", '    case "$1 $2" in']
    for name, words in found.items():
        for option, values in words.values.items():
            if option not in shared and values:
                lines.append(f"        '{name} {option}') echo '{' '.join(values)}' ;;")
    return [*lines, "    esac", "}"]


def _bash(found: dict[str, Words]) -> str:
    return "\n".join(
        [
            "# fairseq completion for bash: source this, or write it to a folder of bash-completion.",
            *_cases(found),
            "_fairseq() {",
            '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" verb words',
            '    verb="${COMP_WORDS[0]##*/}"',
            '    if [ "$verb" = fairseq ]; then',
            '        if [ "$COMP_CWORD" -eq 1 ]; then',
            f"            words='{' '.join(found)} --help --version --print-completion'",
            '            COMPREPLY=($(compgen -W "$words" -- "$word")); return',
            "        fi",
            '        verb="${COMP_WORDS[1]}"',
            "    fi",
            '    verb="${verb#fairseq-}"',
            '    words="$(_fairseq_values "$verb" "$before")"',
            '    if [ -z "$words" ]; then',
            '        words="$(_fairseq_words "$verb")"',
            '        case "$word" in -*) ;; *) COMPREPLY=($(compgen -f -- "$word")) ;; esac',
            "    fi",
            '    COMPREPLY+=($(compgen -W "$words" -- "$word"))',
            "}",
            f"complete -o filenames -F _fairseq fairseq {' '.join(v.script for v in VERBS.values() if v.script)}",
        ]
    )


def _zsh(found: dict[str, Words]) -> str:
    scripts = " ".join(verb.script for verb in VERBS.values() if verb.script)
    return "\n".join(
        [
            f"#compdef fairseq {scripts}",
            "# fairseq completion for zsh: source this, or write it to a folder of $fpath as _fairseq.",
            *_cases(found),
            "_fairseq() {",
            '    local verb="${words[1]:t}" before="${words[CURRENT-1]}" found',
            '    if [[ "$verb" == fairseq ]]; then',
            "        if (( CURRENT == 2 )); then",
            f"            compadd -- {' '.join(found)} --help --version --print-completion; return",
            "        fi",
            '        verb="${words[2]}"',
            "    fi",
            '    verb="${verb#fairseq-}"',
            '    found="$(_fairseq_values "$verb" "$before")"',
            '    if [[ -n "$found" ]]; then compadd -- ${=found}; return; fi',
            '    compadd -- ${=$(_fairseq_words "$verb")}',
            '    [[ "$PREFIX" == -* ]] || _files',
            "}",
            f"compdef _fairseq fairseq {scripts}",
        ]
    )


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _fish(found: dict[str, Words]) -> str:
    lines = ["# fairseq completion for fish: source this, or write it to ~/.config/fish/completions/fairseq.fish."]
    alone = "__fish_use_subcommand"
    for name, verb in VERBS.items():
        lines.append(f"complete -c fairseq -n {alone} -f -a {name} -d {_fish_text(verb.help)}")
    lines += [f"complete -c fairseq -n {alone} -l {option}" for option in ("help", "version", "print-completion")]
    shared = _shared(found)
    for option, values in shared.items():
        lines.append(f"set -g __fairseq{option.replace('-', '_')} {' '.join(values)}")
    for name, words in found.items():
        targets = [f"complete -c fairseq -n '__fish_seen_subcommand_from {name}'"]
        if VERBS[name].script:
            targets.append(f"complete -c {VERBS[name].script}")
        for start in targets:
            if words.jobs:
                lines.append(f"{start} -f -a '{' '.join(words.jobs)}'")
            for option in words.options:
                line = f"{start} -l {option[2:]}"
                if option in shared:
                    line += f" -x -a '$__fairseq{option.replace('-', '_')}'"
                elif words.values.get(option):
                    line += f" -x -a '{' '.join(words.values[option])}'"
                lines.append(line)
    return "\n".join(lines)
