"""Train under the eyes of a benchmark: one update at a time, each when it is asked for.

    python _stepper.py WARM ARGUMENTS...    (of fairseq-train)

Runs under any fairseq, so it uses nothing but its public names and imports nothing from here. Before each update after
the first ``WARM`` ones it says ``ready`` and waits for a line; at the end it prints one JSON object.
"""

import json
import resource
import sys
import time


def main() -> None:
    """Train, and report words, CPU seconds per update and the largest resident set in MB (10**6 bytes)."""
    warm = int(sys.argv[1])
    # The protocol has the real output to itself.
    channel, sys.stdout = sys.stdout, sys.stderr
    sys.argv = ["fairseq-train", *sys.argv[2:]]
    from fairseq.trainer import Trainer

    plain, words, seconds, last, count = Trainer.train_step, [], [], [0.0], [0]

    def train_step(self, samples, *args, **kwargs):
        if count[0] > warm:
            # Everything since the update before, so that reading data and writing logs count.
            seconds.append(time.process_time() - last[0])
        if count[0] >= warm:
            words.append(sum(int(sample["ntokens"]) for sample in samples))
            print("ready", file=channel, flush=True)
            sys.stdin.readline()
            last[0] = time.process_time()
        count[0] += 1
        return plain(self, samples, *args, **kwargs)

    Trainer.train_step = train_step
    from fairseq_cli.train import cli_main

    cli_main()
    # What follows the last update is the end of the run, not of an update; so that one is not counted.
    found = {
        "words": words[: len(seconds)],
        "cpu": seconds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6,
    }
    print(json.dumps(found), file=channel, flush=True)


main()
