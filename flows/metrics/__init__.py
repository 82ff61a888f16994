"""What the supervisor tells Prometheus: processes, disk, energy, the operational database's figures. Also where the
other processes are asked for theirs (`targets`), and how Prometheus itself is started (`prometheus`).

The story page's port serves it at `/metrics`. `flows.stack` imports this room. It imports `flows.process`, and of the
lower packages what it reads.
"""
