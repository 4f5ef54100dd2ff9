"""Jobs: one operation over very many files, by any number of processes on any number of machines.

lists         one walk over the inputs -> shard lists and `job.toml`
job           the job folder; which operation it is for
claims        which process works on which shard
shard_runner  processes one shard: what every engine calls
loop          the engine without dependencies: takes free shards until none is left
merged        the records of all shards as one result
"""

from __future__ import annotations
