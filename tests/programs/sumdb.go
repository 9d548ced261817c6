// Reads a log with the programs of Go's checksum database: its checkpoint, its tiles, its entries.
//
// sumdb ADDRESS TOKEN KEY [CHECKPOINT], with an empty TOKEN for none: verifies the signature of the newest checkpoint, that the
// log has every entry, and that it begins with the entries of an older checkpoint, a file. Prints the number of entries.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

type server struct{ address, token string }

func (s server) get(path string) []byte {
	request, err := http.NewRequest("GET", s.address+"/"+path, nil)
	check(err)
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	response, err := http.DefaultClient.Do(request)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	if response.StatusCode != 200 {
		log.Fatalf("%s: %s: %s", path, response.Status, body)
	}
	return body
}

func (s server) Height() int { return 8 }

func (s server) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		// Go's paths have the height, and those of C2SP do not.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data = append(data, s.get(path))
	}
	return data, nil
}

func (s server) SaveTiles([]tlog.Tile, [][]byte) {}

// entries returns all entries of a log of this size.
func (s server) entries(size int64) (all [][]byte) {
	for number := int64(0); number*width < size; number++ {
		tile := tlog.Tile{H: 8, L: 0, N: number, W: width}
		if rest := size - number*width; rest < width {
			tile.W = int(rest)
		}
		data := s.get(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1))
		for len(data) > 0 {
			length := 2 + int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:length])
			data = data[length:]
		}
	}
	if int64(len(all)) != size {
		log.Fatalf("%d entries instead of %d", len(all), size)
	}
	return all
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// open returns the tree of a checkpoint that the key signed.
func open(message []byte, key string) tlog.Tree {
	verifier, err := note.NewVerifier(key)
	check(err)
	opened, err := note.Open(message, note.VerifierList(verifier))
	check(err)
	var tree tlog.Tree
	var origin, hash string
	_, err = fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &tree.N, &hash)
	check(err)
	tree.Hash, err = tlog.ParseHash(hash)
	check(err)
	return tree
}

func main() {
	log.SetFlags(0)
	s, key := server{os.Args[1], os.Args[2]}, os.Args[3]
	checkpoint := s.get("checkpoint")
	tree := open(checkpoint, key)
	hashes := tlog.TileHashReader(tree, s)
	root, err := tlog.TreeHash(tree.N, hashes)
	check(err)
	if root != tree.Hash {
		log.Fatalf("the tiles have the root %v, the checkpoint has %v", root, tree.Hash)
	}
	for number, entry := range s.entries(tree.N) {
		proof, err := tlog.ProveRecord(tree.N, int64(number), hashes)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(number), tlog.RecordHash(entry)))
		if !bytes.HasPrefix(entry, []byte("rspm-log/1 ")) {
			log.Fatalf("entry %d: %q", number, entry)
		}
	}
	if len(os.Args) > 4 {
		message, err := os.ReadFile(os.Args[4])
		check(err)
		old := open(message, key)
		if old.N >= tree.N {
			log.Fatalf("the older checkpoint has %d entries, the newest one %d", old.N, tree.N)
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}
	fmt.Println(tree.N)
}
