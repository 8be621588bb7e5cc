"""What can be reached from an object, for the tests of what an agent is handed."""

from __future__ import annotations

import gc
import types

import gymnasium
import numpy as np

from bioseq_gym import Ehrlich, EhrlichSpec


def reachable(root: object) -> list[object]:
    """All objects that attributes, items, closures and array bases lead to from ``root``: no modules, no classes."""
    seen: dict[int, object] = {}
    queue = [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, (type, types.ModuleType, types.CodeType, types.FrameType)):
            continue
        seen[id(item)] = item
        if isinstance(item, types.FunctionType):  # not its globals
            queue += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        else:
            queue += gc.get_referents(item)
        queue += [getattr(item, name, None) for name in ("__dict__", "__self__", "__func__", "base")]
    return list(seen.values())


def secrets_in(env: object, spec: EhrlichSpec) -> set[str]:
    """What ``env`` leads to of the definition ``spec``."""
    hidden = {
        "motifs": spec.motifs,
        "offsets": spec.offsets,
        "spacings": spec.spacings,
        "matrix": spec.transition_matrix,
        "allowed": spec.transition_matrix > 0,
        "forbidden": spec.transition_matrix <= 0,
        "optimum": Ehrlich(spec).optimal_solution(),
    }
    found = set()
    for item in reachable(env):
        if isinstance(item, (Ehrlich, EhrlichSpec)):
            found.add(type(item).__name__)
        elif isinstance(item, gymnasium.envs.registration.EnvSpec) and item.kwargs:
            found.add("EnvSpec")
        elif isinstance(item, str) and spec.to_json()[:40] in item:
            found.add("json")
        elif isinstance(item, np.ndarray):
            found |= {name for name, value in hidden.items() if np.array_equal(item, value)}
        elif isinstance(item, list):
            found |= {name for name, value in hidden.items() if item == value.tolist()}
    return found
