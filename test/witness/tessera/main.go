// Command tessera runs a log of github.com/transparency-dev/tessera whose checkpoints are published only when the witnesses of a
// policy have cosigned them, and verifies notes with golang.org/x/mod and github.com/transparency-dev/formats. It reads one JSON
// request a line and answers each with one line.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

type request struct {
	// Kind is `add`, `checkpoint` or `verify`.
	Kind string `json:"kind"`
	// Entries to add, each published with a cosigned checkpoint before the answer; their content.
	Count  int    `json:"count"`
	Prefix string `json:"prefix"`
	// Verify: a note, the key of its log, and those of witnesses, each of which must have signed.
	Note      string   `json:"note"`
	Log       string   `json:"log"`
	Witnesses []string `json:"witnesses"`
}

type answer struct {
	Error      string   `json:"error,omitempty"`
	Checkpoint string   `json:"checkpoint,omitempty"`
	Size       uint64   `json:"size,omitempty"`
	Names      []string `json:"names,omitempty"`
	Times      []uint64 `json:"times,omitempty"`
}

func main() {
	generate := flag.String("generate", "", "print a new key pair for this origin, and end")
	directory := flag.String("directory", "", "where the log lies")
	key := flag.String("key", "", "private key of the log")
	policy := flag.String("policy", "", "file with the policy; without one there are no witnesses")
	timeout := flag.Duration("timeout", 10*time.Second, "for entries to be published")
	flag.Parse()
	if *generate != "" {
		private, public, err := note.GenerateKey(rand.Reader, *generate)
		exitOn(err)
		exitOn(json.NewEncoder(os.Stdout).Encode(map[string]string{"private": private, "public": public}))
		return
	}
	log, err := open(*directory, *key, *policy, *timeout)
	exitOn(err)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		exitOn(json.Unmarshal(lines.Bytes(), &asked))
		told, err := log.handle(asked)
		if err != nil {
			told = answer{Error: err.Error()}
		}
		exitOn(out.Encode(told))
	}
}

func exitOn(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type witnessedLog struct {
	appender *tessera.Appender
	reader   tessera.LogReader
	awaiter  *tessera.PublicationAwaiter
	timeout  time.Duration
}

func open(directory, key, policyFile string, timeout time.Duration) (*witnessedLog, error) {
	if directory == "" {
		return &witnessedLog{}, nil
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	driver, err := posix.New(ctx, posix.Config{Path: directory})
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(256, 50*time.Millisecond)
	if policyFile != "" {
		text, err := os.ReadFile(policyFile)
		if err != nil {
			return nil, err
		}
		group, err := tessera.NewWitnessGroupFromPolicy(text)
		if err != nil {
			return nil, err
		}
		options = options.WithWitnesses(group, &tessera.WitnessOptions{Timeout: 5 * time.Second})
	}
	appender, _, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	return &witnessedLog{appender, reader, awaiter, timeout}, nil
}

func (log *witnessedLog) handle(asked request) (answer, error) {
	switch asked.Kind {
	case "add":
		return log.add(asked.Count, asked.Prefix)
	case "checkpoint":
		checkpoint, err := log.reader.ReadCheckpoint(context.Background())
		return answer{Checkpoint: string(checkpoint)}, err
	case "verify":
		return verify(asked)
	}
	return answer{}, errors.New("unknown kind")
}

func (log *witnessedLog) add(count int, prefix string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), log.timeout)
	defer cancel()
	futures := make([]tessera.IndexFuture, count)
	for i := range futures {
		futures[i] = log.appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s %d", prefix, i)))
	}
	var checkpoint []byte
	for _, future := range futures {
		var err error
		if _, checkpoint, err = log.awaiter.Await(ctx, future); err != nil {
			return answer{}, err
		}
	}
	return answer{Checkpoint: string(checkpoint)}, nil
}

func verify(asked request) (answer, error) {
	logKey, err := note.NewVerifier(asked.Log)
	if err != nil {
		return answer{}, err
	}
	var keys []note.Verifier
	for _, vkey := range asked.Witnesses {
		key, err := f_note.NewVerifier(vkey)
		if err != nil {
			return answer{}, fmt.Errorf("%s: %w", vkey[:min(len(vkey), 40)], err)
		}
		keys = append(keys, key)
	}
	checkpoint, _, opened, err := f_log.ParseCheckpoint([]byte(asked.Note), logKey.Name(), logKey, keys...)
	if err != nil {
		return answer{}, err
	}
	if len(opened.Sigs) != 1+len(keys) {
		return answer{}, fmt.Errorf("expected %d known signatures, got %d", 1+len(keys), len(opened.Sigs))
	}
	told := answer{Size: checkpoint.Size}
	for _, signature := range opened.Sigs {
		told.Names = append(told.Names, signature.Name)
		if signature.Name == logKey.Name() {
			continue
		}
		at, err := f_note.CoSigV1Timestamp(signature)
		if err != nil {
			// A cosignature of another kind has its time elsewhere.
			continue
		}
		told.Times = append(told.Times, uint64(at.Unix()))
	}
	return told, nil
}
