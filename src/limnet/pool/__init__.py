"""Many jobs: one after the other, in processes, or on a Ray cluster; each tells what happens in it.

```
jobs ─► a pool ─► (number of the job, event), as it happens; (number, None) once it is done
          ThisProcess   one after the other, here
          Processes     worker processes of this machine
          RayCluster    actors of a Ray cluster
```
A worker loads its tools (networks) once and then takes a job at a time. What fails within a job is that job's
business; a LimNetError that leaves it ends the whole run; a worker that dies fails its job alone.
"""

from limnet.pool.job import Job, Load, Message, Pool, ThisProcess, threads_per_worker
from limnet.pool.processes import Processes
from limnet.pool.ray_cluster import RayCluster

__all__ = [
    "Job",
    "Load",
    "Message",
    "Pool",
    "Processes",
    "RayCluster",
    "ThisProcess",
    "threads_per_worker",
]
