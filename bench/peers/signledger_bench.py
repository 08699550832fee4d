"""signledger on its SQLite backend: append, its batch processor, and verify_integrity().

Its backend commits with synchronous=NORMAL, so an acknowledged entry may be lost when the power fails. Option
`synchronous` "FULL" changes that one setting on the backend's own connection, which makes its append as durable as the
others'. Entries carry metadata, because without any its own verification fails on SQLite.
"""

import logging
import os

from measure import clock, cycle, rate, read_events, read_options, report
from signledger import Ledger
from signledger.backends import SQLiteBackend
from signledger.core.batch import BatchProcessor

logging.disable(logging.CRITICAL)
METADATA = {"source": "bench"}


def main():
    options = read_options()
    events = read_events(options)
    backend = SQLiteBackend(db_path=os.path.join(options["directory"], "signledger.db"))
    if options.get("synchronous") == "FULL":
        backend._get_connection().execute("PRAGMA synchronous = FULL")
    ledger = Ledger(backend=backend, auto_verify=False)
    for event in cycle(events, 0, options["warmUp"]):
        ledger.append(event, metadata=METADATA)
    batch = cycle(events, options["warmUp"], options["entries"])

    if options["mode"] == "append-batch":
        processor = BatchProcessor(
            ledger, max_batch_size=1000, auto_commit_threshold=1001, auto_commit_interval=0, parallel_processing=False
        )
        started = clock()
        done = 0
        for first in range(0, len(batch), 1000):
            for event in batch[first : first + 1000]:
                processor.add_data(event)
            done += processor.process().success_count
        elapsed = clock() - started
        if done != options["entries"]:
            raise RuntimeError(f"appended {done} entries")
    else:
        started = clock()
        for event in batch:
            ledger.append(event, metadata=METADATA)
        elapsed = clock() - started
        if options["mode"] == "verify":
            started = clock()
            if ledger.verify_integrity() is not True:
                raise RuntimeError("its own chain does not verify")
            elapsed = clock() - started
    report([rate("", options["entries"] + (options["warmUp"] if options["mode"] == "verify" else 0), elapsed)])
    ledger.close()


main()
