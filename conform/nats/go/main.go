// The conformance cases with nats.go. Prints one line of JSON per case; `cargo xtask conform nats` reads them.
// The same rules as in ../python/rig.py, so that the same case gives the same answer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience is how long an event may take that must come.
const patience = 10 * time.Second

type object = map[string]any
type list = []any

// entry is a case: its name, and what it observes.
type entry struct {
	name string
	run  func(*rig) any
}

// rig is one case's view of the server.
type rig struct {
	url, stem string
	nc        *nats.Conn
	js        jetstream.JetStream
	open      []*nats.Conn
	made      []string
	ctx       context.Context
	restart   func() bool
}

// must turns an error that a case does not expect into the end of the case.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func have[T any](value T, err error) T {
	must(err)
	return value
}

func (r *rig) connect(options ...nats.Option) *nats.Conn {
	options = append([]nats.Option{nats.MaxReconnects(200), nats.ReconnectWait(50 * time.Millisecond), nats.Timeout(patience)}, options...)
	nc := have(nats.Connect(r.url, options...))
	r.open = append(r.open, nc)
	return nc
}

// stream that captures NAME.>.
func (r *rig) stream(change func(*jetstream.StreamConfig)) jetstream.Stream {
	config := jetstream.StreamConfig{Name: r.stem, Subjects: []string{r.stem + ".>"}, Storage: jetstream.MemoryStorage}
	if change != nil {
		change(&config)
	}
	r.made = append(r.made, config.Name)
	return have(r.js.CreateStream(r.ctx, config))
}

func (r *rig) fill(count int, subjects string) {
	for number := range count {
		subject := r.stem + "." + string(subjects[number%len(subjects)])
		have(r.js.Publish(r.ctx, subject, fmt.Append(nil, number)))
	}
}

func (r *rig) close() {
	for _, name := range r.made {
		_ = r.js.DeleteStream(r.ctx, name) // it may be gone already
	}
	for _, nc := range r.open {
		nc.Close()
	}
}

// code is the number of a JetStream error, "ok", or a word for what went wrong.
func code(err error) any {
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return int(refused.ErrorCode)
	case errors.Is(err, nats.ErrNoResponders):
		return "no responders"
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return err.Error()
	}
}

func text(messages []jetstream.Msg) list {
	found := list{}
	for _, message := range messages {
		found = append(found, string(message.Data()))
	}
	return found
}

// until looks again and again whether something has happened.
func until(happened func() bool) {
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic("late")
		}
	}
}

// restart has the server restarted; false if nobody knows how.
func restart() bool {
	fmt.Println(`{"ask": "restart"}`)
	var said string
	_, err := fmt.Scanln(&said)
	return err == nil && said == "done"
}

func main() {
	url := flag.String("url", "", "nats://host:port")
	flag.String("server", "", "not used")
	flag.String("tls", "", "not used")
	only := flag.String("only", "", "only these cases, comma separated")
	flag.Parse()
	for _, entry := range slices.Concat(core, streams, buckets) {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), entry.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
		stem := fmt.Sprintf("%s-go-%x", entry.name, time.Now().UnixMicro())
		answer := run(entry, &rig{url: *url, stem: stem, ctx: ctx, restart: restart})
		cancel()
		fmt.Println(string(have(json.Marshal(object{"case": entry.name, "answer": answer}))))
	}
}

// run one case; a case that breaks is an answer that differs.
func run(entry entry, rig *rig) (answer any) {
	defer func() {
		if broken := recover(); broken != nil {
			fmt.Fprintln(os.Stderr, entry.name, broken)
			answer = object{"broken": fmt.Sprint(broken)}
		}
		rig.close()
	}()
	rig.nc = rig.connect()
	rig.js = have(jetstream.New(rig.nc))
	return entry.run(rig)
}
