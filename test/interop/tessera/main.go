// Command interop reads a tlog-tiles log with Tessera's own client, and makes a log with Tessera's POSIX driver for others to read.
//
//	interop read  -url URL -vkey VKEY [-old FILE]...   inclusion of every entry, consistency with older checkpoints
//	interop write -directory DIR -origin NAME -entries N [-before N]   adds entries until there are N; prints the vkey
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

func main() {
	klog.LogToStderr(true)
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("expected read or write")
	}
	switch args[0] {
	case "read":
		return read(ctx, args[1:])
	case "write":
		return write(ctx, args[1:])
	}
	return fmt.Errorf("expected read or write, got %q", args[0])
}

type files []string

func (f *files) String() string         { return fmt.Sprint(*f) }
func (f *files) Set(value string) error { *f = append(*f, value); return nil }

type answer struct {
	Origin      string `json:"origin"`
	Size        uint64 `json:"size"`
	Inclusion   int    `json:"inclusion"`
	Consistency int    `json:"consistency"`
}

func read(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("read", flag.ExitOnError)
	location := flags.String("url", "", "where the log is published")
	vkey := flags.String("vkey", "", "its key")
	var old files
	flags.Var(&old, "old", "file with an older checkpoint; may be given again")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := url.Parse(*location)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(*vkey)
	if err != nil {
		return err
	}
	origin := verifier.Name()
	latest, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, origin)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	builder, err := client.NewProofBuilder(ctx, latest.Size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	result := answer{Origin: latest.Origin, Size: latest.Size}
	for first := uint64(0); first < latest.Size; first += 256 {
		bundle, err := client.GetEntryBundle(ctx, fetcher.ReadEntryBundle, first/256, latest.Size)
		if err != nil {
			return err
		}
		for i, entry := range bundle.Entries {
			index := first + uint64(i)
			path, err := builder.InclusionProof(ctx, index)
			if err != nil {
				return fmt.Errorf("inclusion of %d: %w", index, err)
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, latest.Size, leaf, path, latest.Hash); err != nil {
				return fmt.Errorf("inclusion of %d: %w", index, err)
			}
			result.Inclusion++
		}
	}
	for _, name := range old {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		older, _, _, err := log.ParseCheckpoint(raw, origin, verifier)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		path, err := builder.ConsistencyProof(ctx, older.Size, latest.Size)
		if err != nil {
			return fmt.Errorf("consistency with %d: %w", older.Size, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, latest.Size, path, older.Hash, latest.Hash); err != nil {
			return fmt.Errorf("consistency with %d: %w", older.Size, err)
		}
		result.Consistency++
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func write(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("write", flag.ExitOnError)
	directory := flags.String("directory", "", "where the log is")
	origin := flags.String("origin", "", "its origin")
	entries := flags.Int("entries", 0, "entries that it shall have")
	before := flags.Int("before", 0, "entries that it has")
	if err := flags.Parse(args); err != nil {
		return err
	}
	signer, vkey, err := keyOf(*origin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: *directory})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(256, 20*time.Millisecond))
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 5*time.Millisecond)
	var last tessera.IndexFuture
	for i := *before; i < *entries; i++ {
		// Entries of every kind of length, none of which is one of ours.
		last = appender.Add(ctx, tessera.NewEntry(bytes.Repeat([]byte{byte(i), '\n', 0}, i%7*40)))
	}
	if _, _, err := awaiter.Await(ctx, last); err != nil {
		return err
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	fmt.Println(vkey)
	return nil
}

// keyOf gives a note key that is made from its name: the same each time.
func keyOf(name string) (note.Signer, string, error) {
	seed := sha256.Sum256([]byte("tessera interop " + name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	typed := append([]byte{1}, public...)
	id := sha256.Sum256(append([]byte(name+"\n"), typed...))
	hash := hex.EncodeToString(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(id[:4])))
	secret := fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", name, hash, base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...)))
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", err
	}
	return signer, fmt.Sprintf("%s+%s+%s", name, hash, base64.StdEncoding.EncodeToString(typed)), nil
}
