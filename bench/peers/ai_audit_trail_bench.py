"""ai-audit-trail: receipts sealed into its store, its Merkle batcher, and verify_chain().

Its store lives in memory (a Redis copy is optional), so these figures contain no write to any disk: they are not durable
appends. One receipt carries the event as the detail of a check; each receipt is signed.
"""

import warnings

from ai_audit import ReceiptAction, ReceiptCollector, ReceiptStore, get_verify_key_hex, verify_chain
from ai_audit.batch import MerkleBatcher
from ai_audit.keys import get_signing_key
from measure import clock, cycle, rate, read_events, read_options, report

warnings.simplefilter("ignore")


def emit(store, event):
    collector = ReceiptCollector(trace_id=event["context"]["requestId"], tenant_id="bench")
    collector.add_check(event["action"], detail=event)
    collector.set_action(ReceiptAction.ALLOW)
    collector.emit(store)
    collector.cleanup()


def main():
    options = read_options()
    events = read_events(options)
    count = options["entries"]
    store = ReceiptStore(max_size=count + options["warmUp"] + 1)
    for event in cycle(events, 0, options["warmUp"]):
        emit(store, event)
    batch = cycle(events, options["warmUp"], count)

    if options["mode"] == "append-batch":
        import json

        batcher = MerkleBatcher("bench", get_signing_key(), max_batch_size=1000)
        started = clock()
        for index, event in enumerate(batch):
            batcher.add(str(index), json.dumps(event, sort_keys=True).encode())
        batcher.flush()
        elapsed = clock() - started
    else:
        started = clock()
        for event in batch:
            emit(store, event)
        elapsed = clock() - started
        if options["mode"] == "verify":
            count += options["warmUp"]
            receipts = store.get_by_tenant("bench", limit=count)
            started = clock()
            result = verify_chain(receipts, get_verify_key_hex())
            elapsed = clock() - started
            if not result.valid or result.verified_receipts != count:
                raise RuntimeError(f"its own chain does not verify: {result.error}")
    report([rate("", count, elapsed)])


main()
