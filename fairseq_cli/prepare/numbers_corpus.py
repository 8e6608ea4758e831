"""Made-up German-English sentence pairs: amounts, dates and clock times in words.

Enough regularity for a small model to learn within minutes, enough combinations that the test sentences are unseen.
The number words come from the num2words library; what is around them is ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Pair", "make_corpus"]

MONTHS = [
    ("januar", "january"), ("februar", "february"), ("märz", "march"), ("april", "april"), ("mai", "may"),
    ("juni", "june"), ("juli", "july"), ("august", "august"), ("september", "september"), ("oktober", "october"),
    ("november", "november"), ("dezember", "december"),
]  # fmt: skip
WEEKDAYS = [
    ("montag", "monday"), ("dienstag", "tuesday"), ("mittwoch", "wednesday"), ("donnerstag", "thursday"),
    ("freitag", "friday"), ("samstag", "saturday"), ("sonntag", "sunday"),
]  # fmt: skip
UNITS = [
    ("euro", "euros"), ("kilometer", "kilometres"), ("bücher", "books"), ("häuser", "houses"),
    ("tage", "days"), ("menschen", "people"),
]  # fmt: skip
DAYTIMES = [("morgens", "in the morning"), ("abends", "in the evening"), ("nachts", "at night")]
LONGEST_MONTH = 31


class Pair(NamedTuple):
    """One sentence in both languages, lower-cased, words separated by spaces."""

    german: str
    english: str


def _words(number: int, language: str, form: str = "cardinal") -> str:
    try:
        from num2words import num2words
    except ImportError:
        raise ImportError(
            "the numbers corpus needs num2words; install the tutorial's extras: pip install 'fairseq[tutorial]'"
        ) from None
    text = str(num2words(number, lang=language, to=form)).lower()
    # German writes "eine million" with a space and English sets commas; both are left to the tokeniser's rules.
    return " ".join(text.replace(",", " ,").split())


def _amount(rng: random.Random) -> Pair:
    # Half of the amounts are small, as in life.
    number = rng.randrange(2, 1000) if rng.random() < 0.5 else rng.randrange(1000, 20000)
    german, english = rng.choice(UNITS)
    return Pair(f"{_words(number, 'de')} {german}", f"{_words(number, 'en')} {english}")


def _date(rng: random.Random) -> Pair:
    day, year = rng.randrange(1, LONGEST_MONTH + 1), rng.randrange(1900, 2030)
    month, weekday = rng.choice(MONTHS), rng.choice(WEEKDAYS)
    german = f"{weekday[0]} der {_words(day, 'de', 'ordinal')} {month[0]} {_words(year, 'de', 'year')}"
    english = f"{weekday[1]} the {_words(day, 'en', 'ordinal')} of {month[1]} {_words(year, 'en', 'year')}"
    return Pair(german, english)


def _time(rng: random.Random) -> Pair:
    hour, minute = rng.randrange(1, 13), rng.randrange(60)
    following = hour % 12 + 1
    german_day, english_day = rng.choice(DAYTIMES)
    if minute == 0:
        german, english = f"{_hour(hour)} uhr", f"{_words(hour, 'en')} o'clock"
    elif minute == 15:
        german, english = f"viertel nach {_words(hour, 'de')}", f"a quarter past {_words(hour, 'en')}"
    elif minute == 30:
        german, english = f"halb {_words(following, 'de')}", f"half past {_words(hour, 'en')}"
    elif minute == 45:
        german, english = f"viertel vor {_words(following, 'de')}", f"a quarter to {_words(following, 'en')}"
    elif minute < 30:
        german = f"{_minutes(minute)} nach {_words(hour, 'de')}"
        english = f"{_english_minutes(minute)} past {_words(hour, 'en')}"
    else:
        german = f"{_minutes(60 - minute)} vor {_words(following, 'de')}"
        english = f"{_english_minutes(60 - minute)} to {_words(following, 'en')}"
    return Pair(f"es ist {german} {german_day}", f"it is {english} {english_day}")


def _hour(hour: int) -> str:
    return "ein" if hour == 1 else _words(hour, "de")


def _minutes(count: int) -> str:
    return "eine minute" if count == 1 else f"{_words(count, 'de')} minuten"


def _english_minutes(count: int) -> str:
    return "one minute" if count == 1 else f"{_words(count, 'en')} minutes"


KINDS: list[tuple[float, Callable[[random.Random], Pair]]] = [(0.5, _amount), (0.4, _date), (0.1, _time)]


def make_corpus(train: int = 24000, valid: int = 500, test: int = 500, seed: int = 1) -> dict[str, list[Pair]]:
    """Draw distinct pairs and deal them out, so that no sentence occurs in two parts (or twice in one).

    Args:
        train: number of training pairs; ``valid`` and ``test`` likewise.
        seed: the same seed gives the same corpus.

    Raises:
        ValueError: there are not as many different sentences as asked for.
    """
    rng = random.Random(seed)
    weights = [weight for weight, _ in KINDS]
    wanted = train + valid + test
    pairs: dict[str, Pair] = {}
    for _ in range(40 * wanted):
        if len(pairs) == wanted:
            break
        _, make = rng.choices(KINDS, weights)[0]
        pair = make(rng)
        pairs.setdefault(pair.german, pair)
    else:
        raise ValueError(f"only {len(pairs):,} different sentences found, {wanted:,} asked for: ask for fewer")
    drawn = list(pairs.values())
    rng.shuffle(drawn)
    return {"train": drawn[:train], "valid": drawn[train : train + valid], "test": drawn[train + valid :]}
