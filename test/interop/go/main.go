// Answers for the interop test of Tallystick: one JSON request a line on stdin, one JSON answer a line on stdout. Each
// answer is what golang.org/x/mod and the transparency-dev modules say about bytes that Tallystick made, or altered.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	fmtlog "github.com/transparency-dev/formats/log"
	fmtnote "github.com/transparency-dev/formats/note"
	fmtproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// request holds the union of what the kinds need. Byte slices travel as base64.
type request struct {
	Kind     string   `json:"kind"`
	Bytes    []byte   `json:"bytes"`
	Vkeys    []string `json:"vkeys"`
	Origin   string   `json:"origin"`
	Text     string   `json:"text"`
	Index    uint64   `json:"index"`
	OldSize  uint64   `json:"oldSize"`
	Size     uint64   `json:"size"`
	LeafHash []byte   `json:"leafHash"`
	OldRoot  []byte   `json:"oldRoot"`
	Root     []byte   `json:"root"`
	Proof    [][]byte `json:"proof"`
	Leaves   [][]byte `json:"leaves"`
}

type answer struct {
	Accept bool   `json:"accept"`
	Error  string `json:"error,omitempty"`
	// Told only when accepted, and only by the kinds that know it.
	Text  string   `json:"text,omitempty"`
	Names []string `json:"names,omitempty"`
	Times []uint64 `json:"times,omitempty"`
	Size  uint64   `json:"size,omitempty"`
	Root  []byte   `json:"root,omitempty"`
	KeyID uint32   `json:"keyId,omitempty"`
	Bytes []byte   `json:"bytes,omitempty"`
}

var kinds = map[string]func(request) (answer, error){
	"vkey":        answerVkey,
	"note":        answerNote,
	"checkpoint":  answerCheckpoint,
	"inclusion":   answerInclusion,
	"consistency": answerConsistency,
	"root":        answerRoot,
	"proof":       answerProof,
	"policy":      answerPolicy,
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	reader := bufio.NewReader(in)
	writer := bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return writer.Flush()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		handle, ok := kinds[r.Kind]
		if !ok {
			return fmt.Errorf("unknown kind %q", r.Kind)
		}
		a, err := handle(r)
		if err != nil {
			a = answer{Error: err.Error()}
		} else {
			a.Accept = true
		}
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
}

func answerVkey(r request) (answer, error) {
	v, err := fmtnote.NewVerifier(string(r.Bytes))
	if err != nil {
		return answer{}, err
	}
	return answer{Names: []string{v.Name()}, KeyID: v.KeyHash()}, nil
}

func verifiers(vkeys []string) ([]note.Verifier, error) {
	var list []note.Verifier
	for _, vkey := range vkeys {
		v, err := fmtnote.NewVerifier(vkey)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func answerNote(r request) (answer, error) {
	list, err := verifiers(r.Vkeys)
	if err != nil {
		return answer{}, err
	}
	n, err := note.Open(r.Bytes, note.VerifierList(list...))
	if err != nil {
		return answer{}, err
	}
	a := answer{Text: n.Text}
	for _, s := range n.Sigs {
		a.Names = append(a.Names, s.Name)
		time, err := timeOf(s, r.Vkeys)
		if err != nil {
			return answer{}, err
		}
		a.Times = append(a.Times, time)
	}
	return a, nil
}

// timeOf is the time of a cosignature, 0 for the other types.
func timeOf(s note.Signature, vkeys []string) (uint64, error) {
	prefix := fmt.Sprintf("%s+%08x+", s.Name, s.Hash)
	for _, vkey := range vkeys {
		key64, ok := strings.CutPrefix(vkey, prefix)
		if !ok {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(key64)
		if err != nil {
			return 0, err
		}
		if key[0] != 4 && key[0] != 6 {
			return 0, nil
		}
		t, err := fmtnote.CoSigV1Timestamp(s)
		return uint64(t.Unix()), err
	}
	return 0, nil
}

func answerCheckpoint(r request) (answer, error) {
	list, err := verifiers(r.Vkeys)
	if err != nil {
		return answer{}, err
	}
	c, rest, _, err := fmtlog.ParseCheckpoint(r.Bytes, r.Origin, list[0], list[1:]...)
	if err != nil {
		return answer{}, err
	}
	return answer{Text: string(rest), Size: c.Size, Root: c.Hash}, nil
}

func answerInclusion(r request) (answer, error) {
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, r.Index, r.Size, r.LeafHash, r.Proof, r.Root)
	other := checkRecord(r)
	if (err == nil) != (other == nil) {
		return answer{}, fmt.Errorf("the two Go modules disagree: %v, %v", err, other)
	}
	return answer{}, err
}

func answerConsistency(r request) (answer, error) {
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, r.OldSize, r.Size, r.Proof, r.OldRoot, r.Root)
	// An old size of 0 is an error to one module and trivially consistent to the other.
	if other := checkTree(r); r.OldSize > 0 && (err == nil) != (other == nil) {
		return answer{}, fmt.Errorf("the two Go modules disagree: %v, %v", err, other)
	}
	return answer{}, err
}

func checkRecord(r request) error {
	hashes, err := toHashes(append([][]byte{r.Root, r.LeafHash}, r.Proof...))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes[2:], int64(r.Size), hashes[0], int64(r.Index), hashes[1])
}

func checkTree(r request) error {
	hashes, err := toHashes(append([][]byte{r.Root, r.OldRoot}, r.Proof...))
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes[2:], int64(r.Size), hashes[0], int64(r.OldSize), hashes[1])
}

func toHashes(list [][]byte) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, b := range list {
		if len(b) != tlog.HashSize {
			return nil, fmt.Errorf("a hash of %d bytes", len(b))
		}
		hashes = append(hashes, tlog.Hash(b))
	}
	return hashes, nil
}

func answerRoot(r request) (answer, error) {
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	tree := factory.NewEmptyRange(0)
	for _, leaf := range r.Leaves {
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf), nil); err != nil {
			return answer{}, err
		}
	}
	root, err := tree.GetRootHash(nil)
	if err == nil && root == nil {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	return answer{Root: root}, err
}

func answerProof(r request) (answer, error) {
	var p fmtproof.TLogProof
	if err := p.Unmarshal(r.Bytes); err != nil {
		return answer{}, err
	}
	list, err := verifiers(r.Vkeys)
	if err != nil {
		return answer{}, err
	}
	c, _, _, err := fmtlog.ParseCheckpoint(p.Checkpoint, r.Origin, list[0], list[1:]...)
	if err != nil {
		return answer{}, err
	}
	var hashes [][]byte
	for _, h := range p.Hashes {
		hashes = append(hashes, bytes.Clone(h[:]))
	}
	err = proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, c.Size, r.LeafHash, hashes, c.Hash)
	return answer{Bytes: p.Marshal(), Size: c.Size, Root: c.Hash}, err
}

// answerPolicy says whether the note in Bytes satisfies the quorum of the policy in Text.
func answerPolicy(r request) (answer, error) {
	group, err := witness.ParsePolicy([]byte(r.Text))
	if err != nil {
		return answer{}, err
	}
	if !group.Satisfied(r.Bytes) {
		return answer{}, errors.New("the quorum is not reached")
	}
	return answer{}, nil
}
