"""Which rows of the source files a job takes: all, or one side of a seeded split.

A split depends on the rows' bytes and the seed alone, never on order or number of files, and equal
rows never stand on both sides.
"""

import heapq

from rondo_tools.errors import UserError
from rondo_tools.hashing import row_key


class Everything:
    def settings(self):
        return "all"

    def select(self, rows):
        return iter(rows)


class Split:
    """`part` = "heldout": `count` different rows chosen by the seed; "train": the others."""

    def __init__(self, part, count, seed, all_rows):
        self.part = part
        self.count = count
        self.seed = seed
        self._all_rows = all_rows

    def settings(self):
        return {"part": self.part, "heldout": self.count, "seed": self.seed}

    def select(self, rows):
        limit = self._limit()
        seen = set()
        for path, number, row in rows:
            key = row_key(row, self.seed)
            if self.part == "train" and key > limit:
                yield path, number, row
            elif self.part == "heldout" and key <= limit and key not in seen:
                seen.add(key)
                yield path, number, row

    def _limit(self):
        """The count-th smallest of the rows' different keys."""
        keys = {row_key(row, self.seed) for _, _, row in self._all_rows()}
        if len(keys) <= self.count:
            raise UserError(
                f"heldout: {{split: {self.count}}} leaves nothing to train on: the files hold "
                f"{len(keys)} different rows. Make split smaller."
            )
        return heapq.nsmallest(self.count, keys)[-1]
