"""The card of a submission: who made the agent, of what, and how to run it again, in a stranger's words.

Nothing on it can be replayed. It is of known keys, bounded and printable, and pages show it as plain text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bioseq_gym.errors import InvalidConfig
from bioseq_gym.runs import is_count

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Card = dict[str, Any]
_LONGEST, _MOST_AUTHORS, _MOST_BYTES = 300, 50, 2**16
_URL = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/?#=&%+,;@:-]*)?")
_LIVE = re.compile(r"[^\w\s,.%/+-]|_|(?<=www)\.", re.IGNORECASE)


def is_text(value: Any) -> bool:
    """Whether parsed JSON or TOML is one line of bounded, printable text."""
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST and value.isprintable() and value == value.strip()


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and _URL.fullmatch(value) is not None


def _are_authors(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= _MOST_AUTHORS and all(map(is_text, value))


_TEXT = f"one line of 1 to {_LONGEST} printable characters"
_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (is_text, _TEXT),
    "authors": (_are_authors, f"a list of 1 to {_MOST_AUTHORS} names, each {_TEXT}"),
    "paper": (_is_url, "an https:// address"),
    "code": (_is_url, "an https:// address"),
    "command": (is_text, _TEXT),
    "model_size": (is_count, "a number of parameters, 0 for none"),
    "pretrained": (is_text, _TEXT),
    "constraints_known": (lambda value: isinstance(value, bool), "true or false"),
    "hardware": (is_text, _TEXT),
}
_NEEDED = ("name", "authors", "constraints_known")


def card_faults(card: Any) -> list[str]:
    """All that is wrong with parsed JSON or TOML as a card, a line for each."""
    if not isinstance(card, dict):
        return ["the card is no table of keys"]
    found = [f"the card has no {key}, {_KEYS[key][1]}" for key in _NEEDED if key not in card]
    if unknown := sorted(set(card) - set(_KEYS)):
        found.append(f"the card has {len(unknown)} unknown keys, as {unknown[0][:40]!a}; known are {', '.join(_KEYS)}")
    return found + [
        f"the card's {key} is not {meaning}"
        for key, (is_valid, meaning) in _KEYS.items()
        if key in card and not is_valid(card[key])
    ]


def read_card(path: str | Path) -> Card:
    """The card in a TOML file.

    Raises:
        InvalidConfig: it can't be read, is no TOML, or is no card; with all that is wrong.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        card: Card | None = tomllib.loads(data.decode()) if len(data) <= _MOST_BYTES else None
    except OSError as error:
        raise InvalidConfig(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"{path} is no TOML: {error}") from None
    if found := ["it has too many bytes"] if card is None else card_faults(card):
        raise InvalidConfig(f"{path} is no card: {'; '.join(found)}")
    assert card is not None
    return card


def card_lines(card: Card) -> list[tuple[str, str]]:
    """What a card that has no faults says, in the order of its keys: what a reader calls it, and the text."""
    return [(key.replace("_", " "), _text(card[key])) for key in _KEYS if key in card]


def as_markdown(card: Card) -> str:
    """One line of Markdown in which nothing of a card that has no faults is markup but its two addresses."""
    links = [f"[{key}]({card[key]})" for key in ("paper", "code") if key in card]
    plain = [
        f"{name}: {inert(text)}" for name, text in card_lines(card) if name not in ("name", "authors", "paper", "code")
    ]
    names = ", ".join(map(inert, card["authors"]))
    return "; ".join([f"**{inert(card['name'])}** by {names}", *links, *plain])


def inert(text: str) -> str:
    """A stranger's text as neither Markdown nor HTML understands it: characters of either are written as numbers."""
    return _LIVE.sub(lambda match: f"&#{ord(match[0])};", text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else str(value)
