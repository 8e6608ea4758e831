"""Tests that every card brings along: before gives after, after stays, look-alikes stay."""

from __future__ import annotations

from typing import List, Tuple

import pytest

from fairseq_patches.context import Options
from fairseq_patches.engine import rewrite
from fairseq_patches.explain import explain
from fairseq_patches.model import Outcome, Patch
from fairseq_patches.registry import PATCHES, RULES, rule_of
from fairseq_patches.scan import build_index, scan_file


def run(patch: Patch, text: str) -> Tuple[str, Outcome]:
    """One rule over one file, as the runner would."""
    name = patch.files[0].replace("*", "x") if patch.files else "module.py"
    data = text.encode()
    scan = scan_file(name, data, [patch])
    assert not scan.problem
    if not scan.wanted:
        return text, Outcome(name)
    outcome = rewrite(name, data, [rule_of(patch.id)], Options(index=build_index([scan])))
    assert not outcome.problem
    return (outcome.new.decode() if outcome.new is not None else text), outcome


def pairs() -> List[Tuple[str, str, str]]:
    return [
        (rule.patch.id, before, after)
        for rule in RULES.values()
        for before, after in [
            (rule.patch.before, rule.patch.after),
            *((item.before, item.after) for item in rule.patch.more),
        ]
    ]


@pytest.mark.parametrize("name, before, after", pairs())
def test_before_becomes_after(name: str, before: str, after: str) -> None:
    new, outcome = run(rule_of(name).patch, before)
    assert new == after
    assert outcome.findings and all(finding.patch == name for finding in outcome.findings)


@pytest.mark.parametrize("name, before, after", pairs())
def test_a_patched_file_is_not_patched_again(name: str, before: str, after: str) -> None:
    assert run(rule_of(name).patch, after)[0] == after


@pytest.mark.parametrize("name, text", [(name, text) for name, rule in RULES.items() for text in rule.patch.untouched])
def test_look_alikes_are_left_alone(name: str, text: str) -> None:
    assert run(rule_of(name).patch, text)[0] == text


@pytest.mark.parametrize("name, before, after", [row for row in pairs() if not rule_of(row[0]).patch.files])
def test_comments_and_line_ends_survive(name: str, before: str, after: str) -> None:
    decorated = "#!/usr/bin/env python\n# a licence\n" + before.rstrip("\n") + "  # the end\n# last"
    new, _ = run(rule_of(name).patch, decorated)
    assert new.startswith("#!/usr/bin/env python\n# a licence\n") and new.endswith("  # the end\n# last")
    windows, _ = run(rule_of(name).patch, before.replace("\n", "\r\n"))
    assert windows == after.replace("\n", "\r\n")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.id)
def test_a_card_is_complete_and_explains_its_own_symptom(patch: Patch) -> None:
    assert patch.title and patch.symptom and patch.cause and patch.change and patch.matches
    matches = explain(patch.symptom, PATCHES)
    assert matches, patch.symptom
    assert patch.id in [match.patch.id for match in matches]
    if patch.id != "version-string-compare" and patch.id != "cython-numpy-names":
        assert matches[0].patch.id == patch.id


def test_ids_are_unique_and_every_rewrite_has_untouched_look_alikes() -> None:
    assert len({patch.id for patch in PATCHES}) == len(PATCHES)
    assert all(rule.patch.untouched and rule.patch.tokens for rule in RULES.values())
