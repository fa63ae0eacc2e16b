"""Speed and memory of the evaluation: shared against plain, tiles, workers, growth, and where the time goes.

Prints one table and the operators that take the time; writes ``runs/bench/bench.json``, a list of
``{id, value, unit, note}``, and plots beside it. Two ways that are compared must give the same scores and fail on the
same networks. Sizes are in ``bench.toml``; another file of that form can be named.
"""

from __future__ import annotations

if __name__ == "__main__":
    from benchmark.main import main  # only here: processes that are timed load this file too, and need none of it

    raise SystemExit(main())
