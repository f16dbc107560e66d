"""Numbers that put the rows of one run in the order of their creation, without asking the database for one.

Only one process writes a run at a time; the counter starts at the wall clock in microseconds, so that the numbers of
a process that takes a run over are above those of the one before it.
"""

from __future__ import annotations

from itertools import count

from highway_core.utils.clock import utc_now

next_ordinal = count(int(utc_now().timestamp() * 1_000_000)).__next__
"""A number above all that this process has given out."""
