"""Workers: the same verbs, `call`, `attempt` and `map`, in this process and on Ray."""

from eznas.workers.pool import Arguments, Died, LocalPool, Pool, open_pool

__all__ = ["Arguments", "Died", "LocalPool", "Pool", "open_pool"]
