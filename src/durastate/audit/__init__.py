"""What an audit keeps: executions, operations and failures in files that survive a crash.

    with Store.open(directory) as store:
        store.plan(rows)
        for row in store.pending():
            store.add(row, state_of(row.arn))
        manifest = store.finish(complete=True)

It needs the extra `audit`. `verify` says what has become of a directory
since, `query` asks it (and alone needs duckdb, so it is imported from `durastate.audit.query`).
"""

from .errors import DirectoryError, WriteError
from .manifest import Manifest, read_manifest
from .rows import ExecutionRow
from .schema import SCHEMA_VERSION
from .store import Store
from .verify import verify

__all__ = [
    "SCHEMA_VERSION",
    "DirectoryError",
    "ExecutionRow",
    "Manifest",
    "Store",
    "WriteError",
    "read_manifest",
    "verify",
]
