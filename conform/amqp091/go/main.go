// The conformance cases that amqp091-go can express. Prints one line of JSON per case; `cargo xtask conform amqp091` reads them.
// The same rules as in ../pika/rig.py, so that the same case gives the same answer.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

type entry struct {
	name string
	run  func(*rig) any
}

func main() {
	url := flag.String("url", "", "amqp://user:password@host:port/")
	tlsURL := flag.String("tls-url", "", "amqps://…")
	authority := flag.String("ca", "", "the authority's certificate as PEM")
	only := flag.String("only", "", "only these cases, comma separated")
	flag.Parse()
	for _, entry := range append(definitions, messages...) {
		asked := *only == "" || strings.Contains(","+*only+",", ","+entry.name+",")
		if !asked || (*tlsURL == "" && strings.HasPrefix(entry.name, "tls_")) {
			continue
		}
		answer := run(entry, &rig{name: entry.name, url: *url, tlsURL: *tlsURL, authority: *authority})
		fmt.Println(line(object{"case": entry.name, "answer": answer}))
	}
}

// run one case; a case that breaks is an answer that differs.
func run(entry entry, rig *rig) (answer any) {
	defer rig.close()
	defer func() {
		if broken := recover(); broken != nil {
			fmt.Fprintln(os.Stderr, entry.name, broken)
			answer = object{"broken": fmt.Sprint(broken)}
		}
	}()
	return entry.run(rig)
}
