"""Few cases that meet the same mistakes as a product of all parameters.

A mistake nearly always needs one value of a parameter, or two values together (Kuhn, Wallace and
Gallo, "Software fault interactions and implications for software testing", 2004). A test marked
``covering(strength)`` runs in cases that have all values of any so many parameters together. Its
other cases are left out, unless pytest is given ``--all-cases``.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import combinations


def covering(cases: Sequence[tuple[str, ...]], strength: int) -> list[int]:
    """Choose cases that have every combination of ``strength`` values that any case has.

    Each choice adds the most combinations that are new; among equals, the first case is taken.

    Parameters
    ----------
    cases : sequence of tuples, all of one length
        A value of each parameter.
    strength : int
        How many values make a combination; at most the number of parameters counts.

    Returns
    -------
    list of int
        Positions in ``cases``, in the order of choice.
    """
    found = [frozenset(combinations(enumerate(case), min(strength, len(case)))) for case in cases]
    chosen: list[int] = []
    met: set[tuple[tuple[int, str], ...]] = set()
    # What a case adds can only become less. So the first one is the best, if it still adds as much.
    queue = [(-len(of_case), k) for k, of_case in enumerate(found)]
    heapq.heapify(queue)
    while queue:
        added, k = heapq.heappop(queue)
        still = len(found[k] - met)
        if still == -added:
            chosen.append(k)
            met |= found[k]
        elif still:
            heapq.heappush(queue, (-still, k))
    return chosen
