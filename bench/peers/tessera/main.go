// Command tessera-bench measures how fast Tessera's POSIX driver takes, sequences and publishes entries.
//
// Two figures come from one run: every writer waits for its index before it adds the next entry, and the clock of
// "sequenced" stops with the last index, that of "published" with the checkpoint that covers the last entry. With
// -await publication each writer waits for the checkpoint of each of its entries instead.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

type value struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Better string  `json:"better"`
	Value  float64 `json:"value"`
}

type answer struct {
	Values []value        `json:"values"`
	Info   map[string]any `json:"info"`
}

func main() {
	directory := flag.String("directory", "", "where the log is made")
	eventsFile := flag.String("events", "", "one entry a line")
	entries := flag.Int("entries", 100_000, "entries measured")
	warmUp := flag.Int("warm-up", 5_000, "entries added before the clock starts")
	writers := flag.Int("writers", 1_000, "concurrent writers")
	batch := flag.Uint("batch", 1_000, "entries of one batch")
	batchAge := flag.Duration("batch-age", 50*time.Millisecond, "age at which a smaller batch is taken")
	interval := flag.Duration("interval", 100*time.Millisecond, "checkpoint interval; 100ms is the driver's minimum")
	await := flag.String("await", "index", "what each writer waits for: index or publication")
	flag.Parse()
	klog.LogToStderr(true)

	if err := run(*directory, *eventsFile, *entries, *warmUp, *writers, *batch, *batchAge, *interval, *await); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(directory, eventsFile string, entries, warmUp, writers int, batch uint, batchAge, interval time.Duration, await string) error {
	lines, err := readLines(eventsFile)
	if err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(rand.Reader, "bench.example/tessera")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: directory})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(interval).
		WithBatching(batch, batchAge))
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 5*time.Millisecond)

	// add returns when `count` entries have what the writers wait for, with the last index given out.
	add := func(count int) (uint64, error) {
		var next atomic.Int64
		var last atomic.Uint64
		var failure atomic.Pointer[error]
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				for {
					n := next.Add(1) - 1
					if n >= int64(count) || failure.Load() != nil {
						return
					}
					future := appender.Add(ctx, tessera.NewEntry(lines[int(n)%len(lines)]))
					var index tessera.Index
					var err error
					if await == "publication" {
						index, _, err = awaiter.Await(ctx, future)
					} else {
						index, err = future()
					}
					if err != nil {
						failure.CompareAndSwap(nil, &err)
						return
					}
					for {
						seen := last.Load()
						if index.Index <= seen || last.CompareAndSwap(seen, index.Index) {
							break
						}
					}
				}
			})
		}
		group.Wait()
		if err := failure.Load(); err != nil {
			return 0, *err
		}
		return last.Load(), nil
	}
	published := func(index uint64) ([]byte, error) {
		_, checkpoint, err := awaiter.Await(ctx, func() (tessera.Index, error) { return tessera.Index{Index: index}, nil })
		return checkpoint, err
	}

	if warmUp > 0 {
		last, err := add(warmUp)
		if err != nil {
			return err
		}
		if _, err := published(last); err != nil {
			return err
		}
	}

	started := time.Now()
	last, err := add(entries)
	if err != nil {
		return err
	}
	sequenced := time.Since(started).Seconds()
	checkpoint, err := published(last)
	if err != nil {
		return err
	}
	elapsed := time.Since(started).Seconds()

	if last != uint64(entries+warmUp-1) {
		return fmt.Errorf("last index is %d, expected %d", last, entries+warmUp-1)
	}
	if _, err := note.Open(checkpoint, note.VerifierList(verifier)); err != nil {
		return fmt.Errorf("checkpoint does not verify: %w", err)
	}
	if err := shutdown(ctx); err != nil {
		return err
	}

	result := answer{Info: map[string]any{"writers": writers, "batch": batch, "checkpointInterval": interval.String()}}
	if await == "publication" {
		result.Values = []value{{"", "entries/s", "higher", float64(entries) / elapsed}}
	} else {
		result.Values = []value{
			{"published", "entries/s", "higher", float64(entries) / elapsed},
			{"sequenced", "entries/s", "higher", float64(entries) / sequenced},
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func readLines(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines [][]byte
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		lines = append(lines, append([]byte(nil), scanner.Bytes()...))
	}
	return lines, scanner.Err()
}
