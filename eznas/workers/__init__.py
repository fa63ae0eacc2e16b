"""Workers: the same verbs, `attempt` and `map`, in this process and on Ray."""

from eznas.workers.pool import Arguments, Died, LocalPool, Pool, open_pool

__all__ = ["Arguments", "Died", "LocalPool", "Pool", "open_pool"]
