"""Mutation of documents: JSON, TOML, XML and plain lines.

Each function takes the content of a file and returns a changed one; what has another structure
than expected is returned with a bit inverted.
"""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

TEXTS = (
    "",
    " ",
    "a" * 5000,
    "\x1b[31mred\x07",
    "[bold]x[/bold]",
    "../../outside",
    "/etc/passwd",
    "C:\\x",
    "a/b",
    "\u00a0",
    "\u202e",
    "\udcff",
    "\0",
    "e\u0301" * 40,
    "=1+1",
    "<script>",
    "%s%n",
    "{x}",
    "nan",
    "1e999",
    "__import__('os')",
)
NUMBERS = (0, -1, 1, 2, 255, 256, 65536, 2**31, 2**32, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308)
VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": 0}, float("nan"))


def flip_bit(content: bytes, random: Random) -> bytes:
    changed = bytearray(content or b"\0")
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def any_value(random: Random) -> Any:
    """Return a value of JSON that is seldom expected; deep ones too."""
    chosen = random.random()
    if chosen < 0.4:
        return random.choice(NUMBERS)
    if chosen < 0.7:
        return random.choice(TEXTS)
    if chosen < 0.95:
        return random.choice(VALUES)
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    return deep


def mutate_json(content: bytes, random: Random) -> bytes:
    """Replace, remove, repeat or exchange values of a JSON document."""
    try:
        document = json.loads(content)
        places = list(_places(document))
        if places:
            _change(places, random)
        text = json.dumps(document if places else any_value(random))
    except (ValueError, RecursionError):
        # It is no JSON, or was nested beyond measure; or two values that were exchanged held each
        # other.
        return flip_bit(content, random)
    if random.random() < 0.05:
        text = text.replace("{", '{"id": 1, "id": 2, ', 1)
    if random.random() < 0.02:
        text = "[" * 100_000 + text
    return text.encode()


def _change(places: list[tuple[Any, Any]], random: Random) -> None:
    """Change one value of a document; each place is a list or table, and a key of it."""
    holder, key = random.choice(places)
    action = random.randrange(6)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, list):
        holder.insert(random.randrange(len(holder) + 1), holder[key])
    elif action == 2:
        other, place = random.choice(places)
        holder[key], other[place] = other[place], holder[key]
    elif action == 3 and isinstance(holder, dict):
        holder[random.choice(TEXTS)] = holder.pop(key)
    elif action == 4 and isinstance(holder[key], int | float):
        holder[key] *= random.choice((-1, 2, 1000, 10**9))
    else:
        holder[key] = any_value(random)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Return all lists and tables of a document, each with each of its keys."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            keys = list(value) if isinstance(value, dict) else range(len(value))
            for key in keys:
                yield value, key
                left.append(value[key])


TOML_VALUES = (
    "0",
    "-1",
    "99999999999",
    "1e308",
    "nan",
    "-inf",
    '""',
    '"\\u001b[31m"',
    '"a/../b"',
    '"\\u0000"',
    "true",
    "[]",
    "[[1]]",
    "{}",
    "[0, 0]",
    "[9999999, 9999999]",
    "1979-05-27",
    "'x'",
    "0x7fffffffffffffff",
    f'"{"y" * 3000}"',
)


def mutate_toml(content: bytes, random: Random) -> bytes:
    """Replace the value or the key of a line, or repeat, remove or exchange lines."""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    assignments = [index for index, line in enumerate(lines) if "=" in line]
    if not assignments:
        return flip_bit(content, random)
    index, action = random.choice(assignments), random.randrange(6)
    key, _, _ = lines[index].partition("=")
    if action <= 2:
        lines[index] = f"{key}= {random.choice(TOML_VALUES)}"
    elif action == 3:
        lines[index] = f"{random.choice(('x', '[a]', '', 'a.b', key + '.c'))} = 1"
    elif action == 4:
        lines.insert(random.randrange(len(lines) + 1), lines[random.randrange(len(lines))])
    else:
        del lines[random.randrange(len(lines))]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def mutate_text(content: bytes, random: Random) -> bytes:
    """Replace a word or number, or repeat or remove a line."""
    lines = content.split(b"\n")
    index = random.randrange(len(lines))
    action = random.randrange(4)
    if action == 0:
        lines[index:index] = [lines[index]] * random.choice((1, 1, 1000))
    elif action == 1:
        del lines[index]
    else:
        words = list(re.finditer(rb"[\w.+-]+", lines[index]))
        if words:
            word = random.choice(words)
            value = str(random.choice((*NUMBERS, *TEXTS))).encode("utf-8", "surrogatepass")
            lines[index] = lines[index][: word.start()] + value + lines[index][word.end() :]
    return b"\n".join(lines)


def mutate_xml(content: bytes, random: Random) -> bytes:
    """Replace the value of an attribute, or remove or repeat an element without children."""
    attributes = list(re.finditer(rb'="([^"]*)"', content))
    elements = list(re.finditer(rb"<\w[^<>]*/>", content))
    if not attributes or not elements:
        return flip_bit(content, random)
    if random.random() < 0.7:
        found = random.choice(attributes)
        value = str(random.choice((*NUMBERS, *TEXTS))).encode("utf-8", "surrogatepass")
        return content[: found.start(1)] + value + content[found.end(1) :]
    found = random.choice(elements)
    again = found[0] * random.choice((0, 2, 100))
    return content[: found.start()] + again + content[found.end() :]
