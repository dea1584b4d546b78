"""Four families of instruction tasks with checkable answers.

A family draws a problem from a random generator: Problem(key, question, working, answer). `key` is
the problem in canonical form, the same for all its wordings (a + b and b + a, the same numbers in
another order), so that a split by key keeps train and held-out apart by construction.
"""

import re
from dataclasses import dataclass


@dataclass
class Problem:
    key: str
    question: str
    working: str  # shown before the answer; may be empty
    answer: str

    def completion(self):
        return f"{self.working} #### {self.answer}".strip()


def _sum_key(a, b):
    return f"{min(a, b)} + {max(a, b)}"


def _digits_key(digits):
    return " ".join(map(str, sorted(digits)))


def _conversion_key(number, large, small):
    return f"{number} {large} {small}"


def arithmetic(random):
    """Sums of two numbers of two digits, worked digit by digit from the right."""
    a, b = random.randrange(10, 100), random.randrange(10, 100)
    ones = a % 10 + b % 10
    tens = a // 10 + b // 10
    carried = f" + {ones // 10}" if ones >= 10 else ""
    working = f"{a % 10} + {b % 10} = {ones}, {a // 10} + {b // 10}{carried} = {tens + ones // 10}."
    key = _sum_key(a, b)
    wording = random.choice(("What is {} + {}?", "Add {} and {}."))
    return Problem(key, wording.format(a, b), working, str(a + b))


def sorting(random):
    """Four or five digits, in ascending or descending order."""
    digits = random.choices(range(10), k=random.randrange(4, 6))
    descending = random.random() < 0.5
    order = "descending" if descending else "ascending"
    question = f"Sort in {order} order: {' '.join(map(str, digits))}"
    answer = " ".join(map(str, sorted(digits, reverse=descending)))
    return Problem(_digits_key(digits), question, "", answer)


_LETTERS = "abcdefghij"


def editing(random):
    """Letters to be reversed, put in capitals, or rid of the first one."""
    letters = random.choices(_LETTERS, k=random.randrange(4, 6))
    kind = random.randrange(3)
    text = " ".join(letters)
    wording, edited = (
        ("Reverse the letters: {}", letters[::-1]),
        ("Put in capitals: {}", [letter.upper() for letter in letters]),
        ("Drop the first letter: {}", letters[1:]),
    )[kind]
    return Problem(text, wording.format(text), "", " ".join(edited))


_UNITS = (
    ("cm", "mm", 10),
    ("m", "cm", 100),
    ("euros", "cents", 100),
    ("km", "m", 1000),
    ("kg", "g", 1000),
    ("litres", "ml", 1000),
)


def conversion(random):
    """Metric units, from a large one to a small one."""
    large, small, factor = random.choice(_UNITS)
    number = random.randrange(2, 1500)
    question = f"Convert {number} {large} to {small}."
    key = _conversion_key(number, large, small)
    return Problem(key, question, "", f"{number * factor} {small}")


FAMILIES = {
    "arithmetic": arithmetic,
    "sorting": sorting,
    "editing": editing,
    "conversion": conversion,
}

# family: (its questions, the canonical form from their groups)
_QUESTIONS = {
    "arithmetic": (
        r"What is (\d+) \+ (\d+)\?|Add (\d+) and (\d+)\.",
        lambda a, b: _sum_key(int(a), int(b)),
    ),
    "sorting": (
        r"Sort in (?:de|a)scending order: (\d(?: \d)*)",
        lambda digits: _digits_key(map(int, digits.split())),
    ),
    "editing": (
        r"(?:Reverse the letters|Put in capitals|Drop the first letter): ([a-z](?: [a-z])*)",
        lambda text: text,
    ),
    "conversion": (r"Convert (\d+) (\w+) to (\w+)\.", _conversion_key),
}


def key_of(family, question):
    """The canonical form of the problem that the question asks; None if it is not of the family."""
    wording, key = _QUESTIONS[family]
    match = re.fullmatch(wording, question)
    return key(*(group for group in match.groups() if group is not None)) if match else None
