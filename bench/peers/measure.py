"""What the Python cases share: options, events and the form of the answer."""

import json
import sys
import time


def read_options():
    return json.loads(sys.argv[1])


def read_events(options):
    with open(options["events"], encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def cycle(events, first, count):
    """`count` events from `first` on; each call gives fresh objects, as a caller would."""
    return [dict(events[index % len(events)]) for index in range(first, first + count)]


def clock():
    return time.perf_counter()


def peak_memory_mb():
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rate(name, count, elapsed):
    return {"name": name, "unit": "entries/s", "better": "higher", "value": count / elapsed}


def amount(name, value, unit):
    return {"name": name, "unit": unit, "better": "lower", "value": value}


def report(values, info=None):
    print(json.dumps({"values": values, "info": info or {}}))
