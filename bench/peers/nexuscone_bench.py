"""nexuscone: durable appends through its public API, and its verify_chain.

Modes: append-one (each log() awaited), append-concurrent (1,000 log() calls gathered; there is no batch call), verify
(the chain is written with nexuscone's own hash function in one transaction, because log() would take minutes, and by
another process, so that its memory does not count; then Ledger.verify_chain() walks it).
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys

from measure import amount, clock, cycle, peak_memory_mb, rate, read_events, read_options, report
from nexuscone import GENESIS_PREVIOUS_HASH, Ledger, canonical_json
from nexuscone.chain import _compute_entry_hash


def arguments(event):
    return {"actor": event["actor"]["id"], "action": event["action"], "payload": event}


async def append_one(ledger, events, options):
    for event in cycle(events, 0, options["warmUp"]):
        await ledger.log(**arguments(event))
    batch = cycle(events, options["warmUp"], options["entries"])
    started = clock()
    for event in batch:
        await ledger.log(**arguments(event))
    elapsed = clock() - started
    return [rate("", options["entries"], elapsed)]


async def append_concurrent(ledger, events, options):
    for event in cycle(events, 0, options["warmUp"]):
        await ledger.log(**arguments(event))
    batch = cycle(events, options["warmUp"], options["entries"])
    started = clock()
    for first in range(0, len(batch), 1000):
        await asyncio.gather(*(ledger.log(**arguments(event)) for event in batch[first : first + 1000]))
    elapsed = clock() - started
    return [rate("", options["entries"], elapsed)]


def write_chain(path, events, count):
    """The rows that log() would have written."""
    database = sqlite3.connect(path)
    previous = GENESIS_PREVIOUS_HASH
    rows = []
    for number in range(1, count + 1):
        event = events[number % len(events)]
        fields = {
            "entry_id": number,
            "timestamp": f"2026-03-01T00:00:00.{number % 1_000_000:06d}Z",
            "actor": event["actor"]["id"],
            "action": event["action"],
            "payload_canonical": canonical_json(event),
            "previous_hash": previous,
            "event_type": "request",
            "format_version": 2,
        }
        previous = _compute_entry_hash(**fields)
        rows.append((*fields.values(), previous))
    database.executemany(
        "INSERT INTO entries (entry_id, timestamp, actor, action, payload, previous_hash, event_type, format_version, "
        "entry_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    database.commit()
    database.close()


async def main():
    options = read_options()
    events = read_events(options)
    path = os.path.join(options["directory"], "nexuscone.db")
    async with Ledger(path) as ledger:
        if options["mode"] == "append-one":
            values = await append_one(ledger, events, options)
        elif options["mode"] == "append-concurrent":
            values = await append_concurrent(ledger, events, options)
        elif options["mode"] == "write-chain":
            write_chain(path, events, options["entries"])
            values = []
        else:
            subprocess.run(
                [sys.executable, __file__, json.dumps({**options, "mode": "write-chain"})],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            started = clock()
            count = await ledger.verify_chain()
            elapsed = clock() - started
            if count != options["entries"]:
                raise RuntimeError(f"verified {count} entries")
            values = [rate("", count, elapsed), amount("peak-memory", peak_memory_mb(), "MB")]
    report(values)


asyncio.run(main())
