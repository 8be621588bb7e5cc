"""What tables call an agent: its name, whether it knew the constraints, and its settings where there are several."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

_MOST_SHOWN, _MOST_TRIED = 3, 8
# A stranger's settings may hold any text, and labels go into Markdown: what is not as plain as this is not shown.
_PLAIN = re.compile(r"-?[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_LONGEST = 24


def agent_label(agent: str, constraints_known: bool) -> str:
    """An agent's name in a table."""
    return f"{agent} (constraints known)" if constraints_known else agent


def marked_labels(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Labels that tell agents apart.

    Args:
        pairs: of each run its agent's label, and its settings as canonical JSON of an object.

    Returns:
        Of each run the label; where an agent has several settings, with the few that tell them apart, as ``llome
        objective=sft``; or, where these are many or not plain, with a mark of them all, as ``llome #63e8``.
    """
    configs: dict[str, set[str]] = defaultdict(set)
    for label, config in pairs:
        configs[label].add(config)
    marks = {label: _marks(found) for label, found in configs.items()}
    return [label + marks[label][config] for label, config in pairs]


def _marks(configs: set[str]) -> dict[str, str]:
    """What to put behind the label for each of the settings."""
    if len(configs) == 1:
        return dict.fromkeys(configs, "")
    parsed = {config: json.loads(config) for config in configs}
    keys = sorted({key for settings in parsed.values() for key in settings})
    values = {key: {_text(settings, key) for settings in parsed.values()} for key in keys}
    differing = [key for key in keys if len(values[key]) > 1 and all(map(_is_plain, [key, *values[key]]))]
    # Settings that are words say more than numbers do.
    differing.sort(key=lambda key: not all(isinstance(settings.get(key), str) for settings in parsed.values()))
    for few in (chosen for n in range(1, _MOST_SHOWN + 1) for chosen in combinations(differing[:_MOST_TRIED], n)):
        named = {config: _named(settings, few) for config, settings in parsed.items()}
        if len(set(named.values())) == len(configs):
            return named
    digests = {config: hashlib.sha256(config.encode()).hexdigest() for config in configs}
    length = next(n for n in range(4, 65) if len({digest[:n] for digest in digests.values()}) == len(configs))
    return {config: f" #{digest[:length]}" for config, digest in digests.items()}


def _named(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return "".join(f" {key}={_text(settings, key)}" for key in keys if key in settings)


def _is_plain(word: str) -> bool:
    return len(word) <= _LONGEST and _PLAIN.fullmatch(word) is not None


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return value if isinstance(value, str) else json.dumps(value)
