// The conformance cases that Go's clients can express. Prints one line of JSON per case; `cargo xtask conform kafka` reads them.
// The same rules as in ../python/rig.py, so that the same case gives the same answer.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// patience is how long an event may take that must come.
const patience = 20 * time.Second

type object = map[string]any
type list = []any

// record as it is sent or was read.
type record struct {
	key, value string
	partition  int32
	offset     int64
	millis     int64
}

// settings of a producer.
type settings struct {
	codec      string
	idempotent bool
	partition  int32
}

// member of a group.
type member interface {
	// take what has come by now, waiting a little.
	take() []record
	assignment() []int32
	commit(topic string, partition int32, offset int64) error
	close()
}

// client puts one face on three libraries.
type client interface {
	name() string
	// create and the other verbs of an administrator answer with Kafka's number of the error, 0 for none.
	create(topic string, partitions int32, configs map[string]string) int
	remove(topic string) int
	grow(topic string, total int32) int
	// partitions that have a leader; 0 without such a topic.
	partitions(topic string) int
	topics() []string
	// produce gives offsets, or an object with a code for a record that was refused.
	produce(topic string, records []record, settings settings) list
	read(topic string, partition int32, start int64, count int) []record
	// ends are the first and the next offset.
	ends(topic string) list
	// atTime is the first offset at or after a time, -1 if there is none.
	atTime(topic string, millis int64) int64
	join(group, topic, strategy string) member
	strategies() []string
	// group gives its state and how many members it has.
	group(group string) (string, int)
	removeGroup(group string) int
	committed(group, topic string) object
	// login with no mechanism only connects; trust is nil where nothing is encrypted.
	login(address, mechanism, user, password string, trust *tls.Config) int
}

// connect makes a client that encrypts if it is told whom to trust.
type connect func(bootstrap string, trust *tls.Config) client

// options say where the broker is: plainly, where a login is wanted, and both again with TLS, under an authority.
type options struct {
	bootstrap, sasl, tls, saslTLS, authority string
}

// rig is one case's view of the broker.
type rig struct {
	client
	stem    string
	options options
	connect connect
	made    []string
	members []member
}

// unable ends a case that a library cannot express.
type unable struct{}

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

// topic that is ready to be used.
func (r *rig) topic(partitions int32, configs map[string]string) string {
	topic := r.expect(r.stem)
	if code := r.create(topic, partitions, configs); code != 0 {
		panic(fmt.Sprint(topic, " could not be created: ", code))
	}
	until(func() bool { return r.partitions(topic) == int(partitions) })
	return topic
}

func (r *rig) expect(topic string) string {
	r.made = append(r.made, topic)
	return topic
}

func (r *rig) member(group, topic, strategy string) member {
	joined := r.join(group, topic, strategy)
	r.members = append(r.members, joined)
	return joined
}

func (r *rig) close() {
	for _, member := range r.members {
		member.close()
	}
	for _, topic := range r.made {
		r.remove(topic)
	}
}

// until looks again and again whether something has happened.
func until(happened func() bool) {
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic("late")
		}
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "conform franz-go|sarama|segmentio --bootstrap HOST:PORT [--sasl HOST:PORT] [--tls HOST:PORT --sasl-tls HOST:PORT --ca FILE] [--only case,case]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("conform", flag.ExitOnError)
	var options options
	flags.StringVar(&options.bootstrap, "bootstrap", "", "host:port")
	flags.StringVar(&options.sasl, "sasl", "", "host:port where a login is wanted")
	flags.StringVar(&options.tls, "tls", "", "host:port with TLS")
	flags.StringVar(&options.saslTLS, "sasl-tls", "", "host:port with TLS where a login is wanted")
	flags.StringVar(&options.authority, "ca", "", "file of the authority of both")
	only := flags.String("only", "", "only these cases, comma separated")
	must(flags.Parse(os.Args[2:]))
	connect := map[string]connect{"franz-go": newFranz, "sarama": newSarama, "segmentio": newSegmentio}[os.Args[1]]
	client := connect(options.bootstrap, nil)
	for _, entry := range cases {
		asked := *only == "" || slices.Contains(strings.Split(*only, ","), entry.name)
		needs, isNeeded := map[string]string{"sasl": options.sasl, "tls": options.tls}[strings.Split(entry.name, "_")[0]]
		if !asked || (isNeeded && needs == "") {
			continue
		}
		stem := fmt.Sprintf("%s-%s-%x", entry.name, client.name(), time.Now().UnixMilli())
		if seen, ok := run(entry, &rig{client: client, stem: stem, options: options, connect: connect}); ok {
			fmt.Println(string(have(json.Marshal(seen))))
		}
	}
}

// run one case; a case that breaks is an answer that differs.
func run(entry entry, rig *rig) (seen object, ok bool) {
	defer rig.close()
	defer func() {
		switch broken := recover().(type) {
		case nil:
		case unable:
			ok = false
		default:
			seen = object{"case": entry.name, "answer": object{"broken": fmt.Sprint(broken)}, "why": string(debug.Stack())}
			ok = true
		}
	}()
	if library, ok := rig.client.(interface{ flaky() []string }); ok && slices.Contains(library.flaky(), entry.name) {
		panic(unable{})
	}
	return object{"case": entry.name, "answer": entry.run(rig)}, true
}
